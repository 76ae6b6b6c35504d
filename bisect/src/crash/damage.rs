//! Reports that have lost lines, or hold lines that are not theirs.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    blame,
    report::Report,
    trace::{self, Frame},
};

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

/// Which sort of stack a line announces, by what it begins with behind blanks.
fn sort(line: &str) -> Option<usize> {
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
    for line in report.lines().skip(1) {
        let start = line.trim_ascii_start();
        if start.starts_with("(stack is not available)") {
            return None;
        }
        if let Some(sort) = sort(start) {
            if wanted.is_some() {
                return Some("a stack trace is missing".to_owned());
            }
            wanted = seen.get(sort).is_some_and(|seen| !seen).then_some(NEAR);
            if let Some(seen) = seen.get_mut(sort) {
                *seen = true;
            }
            continue;
        }
        // Behind the first frame of a stack, the others tell nothing more.
        if wanted.is_some() && trace::parse(line).is_some() {
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
    let any = any || report.lines().skip(1).any(|line| trace::parse(line).is_some());
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
    for line in report.lines().skip(1) {
        let frame = trace::parse(line);
        if is_intrusion(line, frame) {
            return true;
        }
        frames += usize::from(frame.is_some());
        if frames == 4 {
            break;
        }
    }
    false
}

/// Whether a line is of something harmless that another task prints, or a frame of its stack.
pub(super) fn is_intrusion(line: &str, frame: Option<Frame<'_>>) -> bool {
    frame.map_or_else(|| is_intruder(line), |frame| blame::is_injection(frame.function))
}
