//! Reports that have lost lines, or hold lines that are not theirs.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{blame, report::Report, trace};

/// How many lines below the line that announces a stack its first frame may be: what is between is
/// a few registers at most.
const NEAR: usize = 15;

/// Lines that say that a stack follows. Only the first of each sort must be followed by one: further
/// tasks may be listed that can't be looked into.
const SORTS: &[&[&str]] = &[
    &["Call Trace:", "Call trace:"],
    &["Backtrace:", "backtrace:"],
    &["Allocated by", "Allocated:"],
    &["Freed by", "Freed:"],
];

/// Which sort of stack a line announces.
fn sort(line: &str) -> Option<usize> {
    let line = line.trim_ascii_start();
    // Most lines are told apart by their first byte.
    if !matches!(line.as_bytes().first()?, b'A' | b'B' | b'C' | b'F' | b'b') {
        return None;
    }
    SORTS.iter().position(|sort| sort.iter().any(|words| line.starts_with(words)))
}

/// What is wrong with the stacks of a report that should have one.
pub(super) fn find(report: &Report) -> Option<String> {
    let mut any = false;
    let mut seen = [false; SORTS.len()];
    let mut wanted = None;
    for (line, is_frame) in report.lines_and_frames().skip(1) {
        if !is_frame && line.trim_ascii_start().starts_with("(stack is not available)") {
            return None;
        }
        let sort = sort(line);
        if let Some(sort) = sort {
            if wanted.is_some() {
                return Some("a stack trace is missing".to_owned());
            }
            wanted = seen.get(sort).is_some_and(|seen| !seen).then_some(NEAR);
            if let Some(seen) = seen.get_mut(sort) {
                *seen = true;
            }
            continue;
        }
        if is_frame {
            any = true;
            wanted = None;
        }
        wanted = match wanted {
            Some(0) => return Some("a stack trace is missing".to_owned()),
            other => other.map(|left| left - 1),
        };
    }
    if wanted.is_some() {
        return Some("the log ends where a stack trace should be".to_owned());
    }
    (!any).then(|| "there is no stack trace".to_owned())
}

/// What a line begins with by which another task says that it was made to fail.
const FAULT: &str = "FAULT_INJECTION: forcing a failure";

/// What is in a line by which another task says that there is no memory.
static FAILURE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("allocation failure: "));

/// Whether a line is of another task that prints a stack behind it, without a report of its own.
fn is_intruder(line: &str) -> bool {
    line.starts_with(FAULT) || FAILURE.find(line.as_bytes()).is_some()
}

/// Whether a report names such a thing at all; most don't.
fn may_be_mixed(report: &Report) -> bool {
    static OTHERS: LazyLock<[Finder<'_>; 2]> =
        LazyLock::new(|| [Finder::new(FAULT), Finder::new(blame::INJECTION)]);
    report.holds(&FAILURE) || OTHERS.iter().any(|words| report.holds(words))
}

/// Whether the stack of something harmless that went on at the same time is mixed in.
pub(super) fn is_mixed(report: &Report) -> bool {
    if report.context.is_known() || !may_be_mixed(report) {
        return false;
    }
    let mut frames = 0;
    for (line, is_frame) in report.lines_and_frames().skip(1) {
        if frames < 4 && is_intrusion(line, is_frame) {
            return true;
        }
        frames += usize::from(is_frame);
    }
    false
}

/// Whether a line is of something harmless that another task prints, or a frame of its stack.
pub(super) fn is_intrusion(line: &str, is_frame: bool) -> bool {
    if is_frame {
        trace::parse(line).is_some_and(|frame| blame::is_injection(frame.function))
    } else {
        is_intruder(line)
    }
}
