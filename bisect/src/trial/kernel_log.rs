//! What the kernel's own log says that its console did not show.
//!
//! The log is read from memory when the machine has ended. Most of it has been on the console; a line
//! is known again by the kernel's time and its text, so that nothing is taken for a second crash.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use vmm::forensics::{KernelLog, LogError, LogSource};

use crate::crash::{Crash, classify};

/// Lines of the console that are remembered, the last ones: more than a kernel's log holds, which is
/// the last lines as well.
const MOST_SHOWN: usize = 1 << 18;

/// Unseen lines that are handed on, the last ones.
const MOST_UNSEEN: usize = 400;

/// What the kernel's log says that its console did not show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenLog {
    /// How the log was found in memory; none if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<LogSource>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<LogError>,
    /// The last of the lines that were not on the console, oldest first: at most 400.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// What the console has shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    lines: HashSet<u64>,
    /// The same, in the order they were shown.
    order: VecDeque<u64>,
    last_us: u64,
}

/// A crash that is in the log alone.
#[derive(Debug)]
pub(super) struct Unseen {
    /// When its first line was printed, in microseconds of the kernel's clock.
    pub(super) time_us: u64,
    pub(super) crash: Crash,
}

impl Shown {
    /// Takes in a line of the console.
    pub(super) fn push(&mut self, line: &str) {
        if let Some((time_us, text)) = parse(line) {
            self.last_us = time_us;
            let key = key(time_us, text);
            if self.lines.insert(key) {
                self.order.push_back(key);
            }
            if self.order.len() > MOST_SHOWN
                && let Some(oldest) = self.order.pop_front()
            {
                self.lines.remove(&oldest);
            }
        }
    }

    /// The kernel's time on the last line that had one, in microseconds.
    pub(super) fn last_us(&self) -> u64 {
        self.last_us
    }

    fn has(&self, line: &str) -> bool {
        parse(line).is_some_and(|(time_us, text)| self.lines.contains(&key(time_us, text)))
    }

    /// The crashes in `log` whose first line was not shown, and the lines that were not.
    pub(super) fn unseen(&self, log: &KernelLog) -> (Vec<Unseen>, Vec<String>) {
        let lines: Vec<String> =
            log.records.iter().flat_map(vmm::forensics::LogRecord::lines).collect();
        let mut text = String::new();
        let starts: Vec<u64> = lines
            .iter()
            .map(|line| {
                let start = text.len() as u64;
                text.push_str(line);
                text.push('\n');
                start
            })
            .collect();
        let crashes = classify(text.as_bytes()).into_iter().filter_map(|crash| {
            let index = starts.partition_point(|start| *start <= crash.start).checked_sub(1)?;
            let first = lines.get(index).filter(|line| !self.has(line))?;
            let (time_us, _) = parse(first)?;
            Some(Unseen { time_us, crash })
        });
        let crashes = crashes.collect();
        let mut unseen: Vec<String> = lines.into_iter().filter(|line| !self.has(line)).collect();
        unseen.drain(..unseen.len().saturating_sub(MOST_UNSEEN));
        (crashes, unseen)
    }
}

fn key(time_us: u64, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (time_us, text).hash(&mut hasher);
    hasher.finish()
}

/// The kernel's time in microseconds, and the text behind it: `[   12.345678] text`, with whatever
/// stood on the console before it, and with the caller (`[    T1]`) between them or not.
fn parse(line: &str) -> Option<(u64, &str)> {
    let mut rest = line;
    loop {
        let (_, inside) = rest.split_once('[')?;
        if let Some((stamp, text)) = inside.split_once(']')
            && let Some(time_us) = micros(stamp)
        {
            return Some((time_us, without_caller(text).trim()));
        }
        rest = inside;
    }
}

fn micros(stamp: &str) -> Option<u64> {
    let (seconds, micros) = stamp.trim_start().split_once('.')?;
    if micros.len() != 6 || !micros.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)
}

fn without_caller(text: &str) -> &str {
    let behind = || {
        let (caller, behind) = text.trim_start().strip_prefix('[')?.split_once(']')?;
        let number = caller.trim_start().strip_prefix(['T', 'C'])?;
        (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(behind)
    };
    behind().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use vmm::forensics::{KernelLog, LogRecord, LogSource};

    use super::{MOST_SHOWN, Shown, parse};

    fn log(lines: &[(u64, &str)]) -> KernelLog {
        let record = |(sequence, (time_us, text)): (usize, &(u64, &str))| LogRecord {
            sequence: sequence as u64,
            time_ns: time_us * 1000 + 7,
            level: 4,
            text: (*text).to_owned(),
        };
        let records = lines.iter().enumerate().map(record).collect();
        KernelLog { source: LogSource::Search, records }
    }

    #[test]
    fn lines_are_known_by_time_and_text() {
        assert_eq!(parse("[    0.500000] hello"), Some((500_000, "hello")));
        assert_eq!(parse("login: [   12.000001][    T1] hello\r"), Some((12_000_001, "hello")));
        assert_eq!(parse("[x] [    1.000000][ C12] [a] b"), Some((1_000_000, "[a] b")));
        assert_eq!(parse("no stamp [here]"), None);
        assert_eq!(parse("[1.5] too short"), None);
    }

    #[test]
    fn what_was_shown_is_no_second_crash_and_what_was_not_is_one() {
        let seen = [(1_000_000, "Linux version 6.1"), (2_000_000, "VFS: Close: file count is 0")];
        let log = log(&[seen[0], seen[1], (3_000_000, "VFS: Close: file count is 0")]);
        let mut shown = Shown::default();
        for (time_us, text) in seen {
            shown.push(&format!("[{:5}.{:06}][    T1] {text}", time_us / 1_000_000, 0));
        }
        assert_eq!(shown.last_us(), 2_000_000);
        let (crashes, lines) = shown.unseen(&log);
        assert_eq!(lines, ["[    3.000000] VFS: Close: file count is 0"]);
        let times: Vec<_> = crashes.iter().map(|unseen| unseen.time_us).collect();
        assert_eq!(times, [3_000_000]);
        let (crashes, lines) = Shown::default().unseen(&log);
        assert_eq!((crashes.len(), lines.len()), (2, 3));
    }

    #[test]
    fn of_a_flood_the_last_lines_are_known() {
        let mut shown = Shown::default();
        let text = "VFS: Close: file count is 0";
        let count = MOST_SHOWN as u64 + 2;
        for time_us in 0..count {
            let stamp = format!("[{:5}.{:06}]", time_us / 1_000_000, time_us % 1_000_000);
            shown.push(&format!("{stamp} {text}"));
            shown.push(&format!("{stamp} {text}"));
        }
        let (crashes, lines) = shown.unseen(&log(&[(count - 2, text), (count - 1, text)]));
        assert_eq!((crashes.len(), lines), (0, vec![]));
        assert_eq!((shown.lines.len(), shown.order.len()), (MOST_SHOWN, MOST_SHOWN));
        // The kernel's log does not reach back so far.
        assert_eq!(shown.unseen(&log(&[(0, text)])).1.len(), 1);
    }
}
