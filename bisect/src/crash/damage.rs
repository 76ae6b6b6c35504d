//! Reports that have lost lines, or hold lines that are not theirs.

use super::{blame, report::Report, trace};

/// How many lines below the line that announces a stack its first frame may be: what is between is
/// a few registers at most.
const NEAR: usize = 15;

/// What is wrong with the stacks of a report that should have one.
pub(super) fn find(report: &Report) -> Option<String> {
    let mut any = false;
    let mut wanted = None;
    for line in report.lines().skip(1) {
        if line.contains("(stack is not available)") {
            return None;
        }
        if announces_stack(line) {
            if wanted.is_some() {
                return Some("a stack trace is missing".to_owned());
            }
            wanted = Some(NEAR);
            continue;
        }
        if let Some(frame) = trace::parse(line) {
            any = true;
            wanted = None;
            if blame::is_injection(frame.function) {
                return Some("the stack of an injected fault is mixed in".to_owned());
            }
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

/// Whether a line says that a stack follows.
fn announces_stack(line: &str) -> bool {
    const WORDS: &[&str] = &["Allocated by", "Allocated:", "Freed by", "Freed:"];
    blame::announces_trace(line) || WORDS.iter().any(|word| line.starts_with(word))
}
