//! The source file to blame, where a report names files.

use std::sync::LazyLock;

use super::{blame, names::Names, report::Report};
use crate::source_path::cleaned;

/// Files that are passed over, as their functions are: helpers that do what they were told,
/// dispatchers, and what finds and reports the bug. `*` at the end stands for any rest.
const INNOCENT: &str = include_str!("innocent_files.txt");

/// The source file to blame: the first one in the report that is no helper; and, further out in the
/// stack, one in a directory below its directory, which is more special.
pub(super) fn file(report: &Report, is_stall: bool) -> Option<String> {
    // What found a stall is no part of it.
    let first = is_stall.then(|| report.position(blame::is_interrupt)).flatten();
    let first = first.map_or(0, |at| at + 1);
    let mut guilty: Option<String> = None;
    let lines = report.places().filter(|(number, _)| *number >= first).map(|(_, line)| line);
    for path in suspects(lines) {
        match &guilty {
            None => guilty = Some(path),
            Some(known) => {
                let directory = known.rsplit_once('/').map_or("", |(directory, _)| directory);
                let below = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
                if !directory.is_empty() && below.is_some_and(|rest| rest.contains('/')) {
                    guilty = Some(path);
                }
            }
        }
    }
    guilty
}

/// All files of a report that may be to blame, in their order.
pub(super) fn files(report: &str) -> Vec<String> {
    let mut files = Vec::new();
    for file in suspects(report.lines()) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

/// The files that these lines name and that may be to blame.
fn suspects<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let present = lines.filter(|line| !is_past(line));
    present.filter_map(path).map(cleaned).filter(|path| !is_innocent(path))
}

/// The first `path/file.c:12` of a line, without a leading `./`.
fn path(line: &str) -> Option<&str> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./+".contains(c);
    memchr::memchr_iter(b':', line.as_bytes()).find_map(|at| {
        let (before, behind) = line.as_bytes().split_at_checked(at)?;
        let (b".c" | b".h" | b".S" | b"rs", b'0'..=b'9') =
            (before.get(at.checked_sub(2)?..)?, behind.get(1)?)
        else {
            return None;
        };
        if before.ends_with(b"rs") && !before.ends_with(b".rs") {
            return None;
        }
        let before = line.get(..at)?;
        let path = before.get(before.rfind(|c| !is_path(c)).map_or(0, |at| at + 1)..)?;
        (path.len() > 3).then_some(path)
    })
}

fn is_innocent(path: &str) -> bool {
    static NAMES: LazyLock<Names> = LazyLock::new(|| Names::parse(INNOCENT));
    NAMES.contains(path)
}

/// Whether a line tells of the past: locks that were taken, interrupts that were switched.
fn is_past(line: &str) -> bool {
    let line = line.trim_ascii_start();
    ["#", "hardirqs last", "softirqs last", "Register "].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::{files, is_innocent, path};

    #[test]
    fn paths_in_lines() {
        assert_eq!(path(" f+0x1/0x2 net/core/dev.c:12"), Some("net/core/dev.c"));
        assert_eq!(path("kernel BUG at ./include/linux/mm.h:5!"), Some("./include/linux/mm.h"));
        assert_eq!(path("pc : f drivers/a-b/c.c:1 [inline]"), Some("drivers/a-b/c.c"));
        assert_eq!(path("RIP: 0010:f+0x1/0x2"), None);
        assert_eq!(path("a.c: no line"), None);
    }

    #[test]
    fn files_of_a_report() {
        let report = "WARNING: CPU: 1 PID: 3 at ./include/linux/list.h:3 f+0x1/0x2\n\
                      RIP: 0010:tcp_f+0x1/0x2 net/ipv4/tcp.c:12\n \
                      tcp_g+0x3/0x4 net/ipv4/tcp.c:99\n \
                      sys_h+0x3/0x4 net/unix/af_unix.c:7\n \
                      sys_i+0x3/0x4 net/socket.c:7\n\
                      hardirqs last  enabled at (3): x+0x1/0x2 mm/slub.c:1\n";
        assert_eq!(files(report), ["net/ipv4/tcp.c", "net/unix/af_unix.c"], "no helper's");
    }

    #[test]
    fn helpers_are_passed_over() {
        assert!(is_innocent("include/linux/list.h"));
        assert!(is_innocent("mm/kasan/report.c"));
        assert!(is_innocent("arch/x86/kernel/traps.c"));
        assert!(!is_innocent("net/ipv4/tcp.c"));
    }
}
