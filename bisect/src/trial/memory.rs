//! What a machine costs in memory beyond the guest's own.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Resident memory of the process that ran a machine, without the guest's pages, at its highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overhead {
    /// All of it in KiB, the program's own text included, which its other instances share.
    pub rss_kib: u64,
    /// The part that is nobody else's and backed by no file, in KiB.
    pub anonymous_kib: u64,
}

/// Looks at this process until it is asked for the result.
///
/// The kernel's own high-water mark (VmHWM) can't be used: it has the guest's pages in it, and
/// decompressing a kernel peaks before they are there.
#[derive(Debug)]
pub(super) struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Overhead>,
}

impl Sampler {
    /// Starts to look; `guest_bytes` is the size of the guest's memory.
    pub(super) fn start(guest_bytes: u64) -> io::Result<Sampler> {
        let (stop, stopped) = mpsc::channel();
        let sample = move || {
            let mut peak = Overhead::default();
            loop {
                let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
                let now = overhead(&smaps, guest_bytes / 1024);
                peak.rss_kib = peak.rss_kib.max(now.rss_kib);
                peak.anonymous_kib = peak.anonymous_kib.max(now.anonymous_kib);
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return peak;
                }
            }
        };
        let thread = thread::Builder::new().name("memory sampler".into()).spawn(sample)?;
        Ok(Sampler { stop, thread })
    }

    /// The highest that was seen.
    pub(super) fn finish(self) -> Option<Overhead> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

/// Sums up /proc/PID/smaps (proc(5)) but for the guest's memory: the smallest mapping that can hold
/// it, since mappings that touch may have become one.
fn overhead(smaps: &str, guest_kib: u64) -> Overhead {
    let mut mappings: Vec<(u64, Overhead)> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let kib = value.parse().unwrap_or_default();
        match (name, mappings.last_mut()) {
            ("Size:", _) => mappings.push((kib, Overhead::default())),
            ("Rss:", Some((_, mapping))) => mapping.rss_kib = kib,
            ("Anonymous:", Some((_, mapping))) => mapping.anonymous_kib = kib,
            _ => {}
        }
    }
    let fits = mappings.iter().enumerate().filter(|(_, (size, _))| *size >= guest_kib);
    let guest = fits.min_by_key(|(_, (size, _))| *size).map(|(index, _)| index);
    let others = mappings.iter().enumerate().filter(|(index, _)| Some(*index) != guest);
    others.fold(Overhead::default(), |sum, (_, (_, mapping))| Overhead {
        rss_kib: sum.rss_kib + mapping.rss_kib,
        anonymous_kib: sum.anonymous_kib + mapping.anonymous_kib,
    })
}

#[cfg(test)]
mod tests {
    use super::{Overhead, Sampler, overhead};

    #[test]
    fn the_guest_is_left_out() {
        let smaps = "\
55d0-55d1 r-xp 00000000 08:01 123 /usr/bin/vmbisect
Size:               2000 kB
KernelPageSize:        4 kB
Rss:                1500 kB
Anonymous:             0 kB
7f00-7f10 rw-p 00000000 00:00 0
Size:             262144 kB
Rss:               90000 kB
Anonymous:         90000 kB
7f10-7f20 rw-p 00000000 00:00 0 [heap]
Size:                500 kB
Rss:                 400 kB
Anonymous:           300 kB
";
        let expected = Overhead { rss_kib: 1900, anonymous_kib: 300 };
        assert_eq!(overhead(smaps, 262_144), expected);
        assert_eq!(overhead("", 1), Overhead::default());
    }

    #[test]
    fn this_process_has_memory() {
        let seen = Sampler::start(1 << 40).unwrap().finish().unwrap();
        assert!(seen.rss_kib >= seen.anonymous_kib && seen.anonymous_kib > 0, "{seen:?}");
    }
}
