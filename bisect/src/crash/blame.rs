//! Which function is to blame: the places where a report names functions, and the first one there
//! that is no mere messenger.

use regex_automata::meta::Regex;

use super::{
    damage, frames,
    report::Report,
    rules::{Compiled, Find, WARNING, groups},
    title::Known,
    trace::{self, Frame},
};

/// The first function in these places that may be to blame.
pub(super) fn frame<'a>(
    compiled: &Compiled,
    places: impl Iterator<Item = (Find, Option<&'a Regex>)>,
    known: &Known<'_>,
    report: &Report,
) -> Option<String> {
    let may_be =
        |function: &&str| !frames::is_innocent(function) && !compiled.skip().contains(function);
    for (find, pattern) in places {
        let matches = |line: &str| pattern.is_some_and(|regex| regex.is_match(line.as_bytes()));
        let found = match find {
            Find::Known => known.named("func").find(may_be).map(str::to_owned),
            Find::Named => known.named("func").next().map(str::to_owned),
            Find::Line(_) => {
                let mut lines = report.lines().skip(1);
                lines.find_map(|line| function_in(line, pattern?).filter(|f| may_be(&&**f)))
            }
            Find::NamedLine(_) => {
                report.lines().skip(1).find_map(|line| function_in(line, pattern?))
            }
            Find::Pointer => report.lines().find_map(pointer).filter(may_be).map(str::to_owned),
            Find::Trace => stack(report, is_trace).find(may_be).map(str::to_owned),
            Find::TraceAfter(_) => stack(report, matches).find(may_be).map(str::to_owned),
            Find::Interrupted => {
                let stack = stack(report, is_interrupt);
                entry(stack.skip_while(|function| is_interrupt(function)), may_be)
            }
            Find::Running => {
                entry(stack(report, |line| is_trace(line) || pointer(line).is_some()), may_be)
            }
            Find::Waiting => {
                let queue = stack(report, is_trace).find(|f| frames::crowd(f).is_some());
                queue.or_else(|| stack(report, is_trace).find(may_be)).map(str::to_owned)
            }
            Find::Entry => entry(stack(report, is_trace), may_be),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The guilty function of a report into which something else was printed. The places follow one
/// another down the report, and where a line of the other's is met, the search for the next one
/// goes on behind it.
pub(super) fn frame_among_others(compiled: &Compiled, report: &Report) -> Option<String> {
    let mut lines = report.lines().skip(1).map(|line| (line, trace::parse(line)));
    let mut frames = Vec::new();
    // Warnings may have a stack only.
    let at_pointer =
        compiled.rule.header != WARNING && compiled.rule.frame.contains(&Find::Pointer);
    let announcements: &[bool] = if at_pointer { &[true, false] } else { &[false] };
    for &is_pointer in announcements {
        for (line, frame) in lines.by_ref() {
            let found = pointer(line).filter(|_| is_pointer);
            frames.extend(found);
            let is_there = found.is_some() || !is_pointer && announces_trace(line);
            if is_there || damage::is_intrusion(line, frame) {
                break;
            }
        }
    }
    let stack = lines
        .take_while(|(line, frame)| !announces_trace(line) && !damage::is_intrusion(line, *frame))
        .filter_map(|(_, frame)| outlined(frame?));
    frames.extend(stack);
    let may_be =
        |function: &&str| !frames::is_innocent(function) && !compiled.skip().contains(function);
    frames.into_iter().find(may_be).map(str::to_owned)
}

/// The group `func` of a match.
fn function_in(line: &str, pattern: &Regex) -> Option<String> {
    if line.ends_with("[inline]") {
        return None;
    }
    if !pattern.is_match(line.as_bytes()) {
        return None;
    }
    groups(pattern, line).into_iter().find(|(name, _)| name == "func").map(|(_, function)| function)
}

/// The function in a line that shows the instruction pointer.
fn pointer(line: &str) -> Option<&str> {
    const WORDS: &[&str] = &[
        "RIP: ",       // x86
        "RIP ",        // the same again, behind an oops of 4.x
        "EIP: ",       // 32 bits
        "IP: ",        // 4.x
        "pc : ",       // arm64
        "PC is at ",   // arm
        "epc : ",      // riscv
        "epc   : ",    // mips
        "NIP ",        // powerpc
        "Krnl PSW : ", // s390
        "ERA: ",       // loongarch
    ];
    if let Some(rest) = line.strip_prefix("--- interrupt: ") {
        return trace::parse(rest.split_once(" at ")?.1).map(|frame| frame.function);
    }
    let line = line.trim_ascii_start();
    // Most lines are told apart by their first byte.
    if !matches!(line.as_bytes().first()?, b'R' | b'E' | b'I' | b'p' | b'P' | b'e' | b'N' | b'K') {
        return None;
    }
    let (word, mut rest) = WORDS.iter().find_map(|&word| Some((word, line.strip_prefix(word)?)))?;
    // The code segment: a user's is of no interest here, and has no symbols anyway.
    if let Some((segment, behind)) = rest.split_once(':')
        && segment.len() == 4
        && segment.bytes().all(|b| b.is_ascii_hexdigit())
    {
        rest = behind;
    }
    rest = rest.trim_ascii_start();
    match word {
        // Words of the processor's state, and the symbol in parentheses.
        "Krnl PSW : " => rest = rest.split_once('(')?.1,
        "epc   : " | "ERA: " => rest = rest.split_once(' ')?.1,
        _ => {}
    }
    outlined(trace::parse(rest)?)
}

/// The function of a stack frame, unless it was inlined into the next one: titles are the same
/// whether a report was symbolized or not.
fn outlined(frame: Frame<'_>) -> Option<&str> {
    (!frame.inlined).then_some(frame.function)
}

/// Whether a line says that the stack follows that led to the crash.
fn announces_trace(line: &str) -> bool {
    let line = line.trim_ascii();
    match line.as_bytes().first() {
        Some(b'C') => line.starts_with("Call Trace:") || line.starts_with("Call trace:"),
        Some(b'b' | b'B') => line.eq_ignore_ascii_case("backtrace:"),
        _ => false,
    }
}

/// Whether a line says that the stack follows that led to the crash, or is its first frame, which
/// the arm unwinder prints without saying so.
fn is_trace(line: &str) -> bool {
    announces_trace(line) || line.starts_with("[<") && line.contains(" from [<")
}

/// Whether a line is the frame of an interrupt, behind which the stack of what it interrupted
/// begins.
pub(super) fn is_interrupt(line: &str) -> bool {
    const ENTRIES: &[&str] =
        &["apic_timer_interrupt", "el1_irq", "el1h_64_irq", "__irq_svc", "handle_exception"];
    ENTRIES.iter().any(|entry| line.contains(entry))
}

/// Whether a line ends the stack trace before it.
fn ends_trace(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "Allocated by",
        "Freed by",
        "Last potentially",
        "The buggy address",
        "Showing all locks",
        "---[ end",
        "Kernel panic",
        "Uninit was",
        "Memory state",
    ];
    !line.starts_with(' ') && STARTS.iter().any(|start| line.starts_with(start))
}

/// What the fault injection's functions begin with.
pub(super) const INJECTION: &str = "should_fail";

/// Whether a function is of the fault injection, which prints stacks of its own.
pub(super) fn is_injection(function: &str) -> bool {
    function.starts_with(INJECTION)
}

/// The functions of the first stack behind a line, from the innermost outwards.
fn stack(report: &Report, begins: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut lines = report.lines();
    let first = lines.find(|line| begins(line));
    first
        .into_iter()
        .chain(lines.take_while(|line| !ends_trace(line)))
        .filter_map(|line| trace::parse(line).map_or_else(|| pointer(line), outlined))
        .take_while(|function| !is_injection(function))
}

/// What something hangs or recurses in: the stack's function just below the innermost one that only
/// hands work on. A stack without one is cut, and what it begins with may be anything.
fn entry<'a>(
    stack: impl Iterator<Item = &'a str>,
    may_be: impl Fn(&&'a str) -> bool,
) -> Option<String> {
    let mut below: Option<&str> = None;
    for function in stack {
        if frames::call_of_cpus(function).is_some() {
            return Some(function.to_owned());
        }
        if frames::is_dispatcher(function) {
            return Some(below.unwrap_or(function).to_owned());
        }
        if may_be(&function) {
            below = Some(function);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn pointers_of_all_architectures() {
        for line in [
            "RIP: 0010:f+0x1/0x2",
            "RIP: 0010:[<ffffffff81000000>]  [<ffffffff81000000>] f+0x1/0x2",
            "RIP  [<ffffffff81000000>] f+0x1/0x2",
            "EIP: f+0x1/0x2",
            "EIP: 0060:f+0x1/0x2",
            "IP: f+0x1/0x2",
            "pc : f+0x1/0x2",
            "PC is at f+0x1/0x2",
            "epc : f+0x1/0x2",
            "epc   : 80100000 f+0x1/0x2",
            "NIP [c000000000b0] f+0x1/0x2",
            "Krnl PSW : 0704c00180000000 000003ff80000000 (f+0x1/0x2 [mod])",
            "  ERA: 9000000000200000 f+0x1/0x2",
            "--- interrupt: 900 at f+0x1/0x2",
        ] {
            assert_eq!(pointer(line), Some("f"), "{line}");
        }
        for line in ["RIP: 0033:0x7f0000", "RIP: 0010:0x0", "NIP:  c000000000b LR: c0", "RIPE: f"] {
            assert_eq!(pointer(line), None, "{line}");
        }
    }
}
