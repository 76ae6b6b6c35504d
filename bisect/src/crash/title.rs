//! From a report to its title: the rule's template, filled in and made stable.

use super::{
    frames,
    report::Report,
    rules::{Find, Groups, RuleSet, Stack, groups},
    trace,
};

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) title: String,
    pub(super) alts: Vec<String>,
    pub(super) frame: Option<String>,
    pub(super) corrupted: Option<String>,
}

/// Stands in titles for a function that could not be found.
const NO_FRAME: &str = "corrupted";

/// Judges a report by the rule that its first line is of.
pub(super) fn judge(
    set: &RuleSet,
    rule: usize,
    header: &Groups,
    report: &Report,
) -> Option<Verdict> {
    let compiled = set.get(rule)?;
    let rule = compiled.rule;
    let mut known = header.clone();
    let mut corrupted = None;
    let mut lost = false;
    let mut at = 1;
    for pattern in compiled.more() {
        let mut captures = pattern.create_captures();
        let found = report.lines(false).enumerate().skip(at).find(|(_, line)| {
            pattern.captures(line.as_bytes(), &mut captures);
            captures.is_match()
        });
        match found {
            Some((index, line)) => {
                at = index;
                known.extend(groups(pattern, &captures, line.as_bytes()));
            }
            None => {
                lost = true;
                corrupted = Some("a line that such a report has is missing".to_owned());
            }
        }
    }
    let mut frame = None;
    if !rule.frame.is_empty() && corrupted.is_none() {
        frame = guilty(compiled, header, report, false);
        if frame.is_none() && report.context.is_known() {
            frame = guilty(compiled, header, report, true);
        }
        if frame.is_none() {
            corrupted = Some("no function to blame".to_owned());
        }
    }
    if rule.stack == Stack::Corrupted {
        corrupted = Some("the line that names the crash is damaged".to_owned());
    }
    if corrupted.is_none() && rule.stack == Stack::Needed {
        corrupted = damage(report);
    }
    let name = frame.as_deref().map(frames::canonical);
    let fill = |template: &str| fill(template, name.as_deref().unwrap_or(NO_FRAME), &known);
    if lost {
        // Too little is left for the title: the line itself must do.
        let line = report.lines(true).next().unwrap_or_default();
        let from = line.find("KASAN:").or_else(|| line.find(rule.header)).unwrap_or(0);
        let from =
            if line.contains("WARNING:") { line.find("WARNING:").unwrap_or(0) } else { from };
        let title = stable(line.get(from..).unwrap_or_default());
        return Some(Verdict { title, alts: Vec::new(), frame: None, corrupted });
    }
    let title = fill(rule.title);
    let mut alts: Vec<String> = rule.alts.iter().map(|alt| fill(alt)).collect();
    if let (Some(raw), Some(name)) = (&frame, &name)
        && raw != name
    {
        for template in std::iter::once(&rule.title).chain(rule.alts) {
            alts.push(self::fill(template, raw, &known));
        }
    }
    alts.retain(|alt| *alt != title);
    alts.sort_unstable();
    alts.dedup();
    Some(Verdict { title, alts, frame: name, corrupted })
}

fn fill(template: &str, frame: &str, known: &Groups) -> String {
    let mut title = template.replace("{frame}", frame);
    for (name, value) in known {
        let value = value.trim();
        if title.contains('{') {
            title = title.replace(&format!("{{{name}}}"), &stable(value));
        }
    }
    title
}

/// A text without what differs from one crash to the next: addresses and numbers.
fn stable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word: &str = &rest
            [..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
        if word.is_empty() {
            if first.is_ascii() && !first.is_ascii_control() {
                out.push(first);
            }
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let hex = word.strip_prefix("0x").unwrap_or(word);
        if word.bytes().all(|b| b.is_ascii_digit()) {
            out.push_str("NUM");
        } else if hex.len() >= 6
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && hex.bytes().any(|b| b.is_ascii_digit())
        {
            out.push_str("ADDR");
        } else {
            out.push_str(word);
        }
        rest = &rest[word.len()..];
    }
    out.truncate(120);
    out
}

type Compiled = super::rules::Compiled;

fn guilty(
    compiled: &Compiled,
    header: &Groups,
    report: &Report,
    questionable: bool,
) -> Option<String> {
    let ok = |function: &str| {
        !frames::is_innocent(function) && !frames::is_in(function, compiled.rule.skip)
    };
    let stack = damage(report).is_none();
    for (find, pattern) in compiled.finds() {
        let found = match find {
            Find::Header | Find::More => header
                .iter()
                .find(|(name, _)| name == "func")
                .map(|(_, f)| f.clone())
                .filter(|f| ok(f)),
            Find::Line(_) => report
                .lines(questionable)
                .skip(1)
                .find_map(|line| {
                    let pattern = pattern?;
                    let mut captures = pattern.create_captures();
                    pattern.captures(line.as_bytes(), &mut captures);
                    let held = groups(pattern, &captures, line.as_bytes());
                    captures
                        .is_match()
                        .then(|| held.into_iter().find(|(n, _)| n == "func").map(|(_, f)| f))
                })
                .flatten()
                .filter(|f| ok(f)),
            Find::Pointer => {
                report.lines(questionable).find_map(pointer).filter(|f| ok(f)).map(str::to_owned)
            }
            Find::Trace => {
                trace_frames(report, questionable, is_trace).find(|f| ok(f)).map(str::to_owned)
            }
            Find::TraceAfter(_) => {
                let begins = |line: &str| pattern.is_some_and(|p| p.is_match(line.as_bytes()));
                trace_frames(report, questionable, begins).find(|f| ok(f)).map(str::to_owned)
            }
            Find::Stalled => stalled(report, questionable),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The function in a line that shows the instruction pointer.
fn pointer(line: &str) -> Option<&str> {
    const WORDS: &[&str] = &["RIP: ", "EIP: ", "pc : ", "PC is at ", "epc : ", "NIP [", "RIP "];
    let line = line.trim_start();
    let mut rest = WORDS.iter().find_map(|word| line.strip_prefix(word))?;
    if let Some((segment, behind)) = rest.split_once(':')
        && segment.len() == 4
        && segment.bytes().all(|b| b.is_ascii_hexdigit())
    {
        rest = behind;
    }
    trace::parse(rest.trim_start()).map(|frame| frame.function)
}

/// Whether a line says that a stack trace follows.
fn is_trace(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("Call Trace:")
        || line.starts_with("Call trace:")
        || line.starts_with("[<") && line.contains(" from [<")
        || line.eq_ignore_ascii_case("backtrace:")
}

/// Whether a line ends the stack trace before it.
fn is_other(line: &str) -> bool {
    [
        "Allocated by",
        "Freed by",
        "Last potentially",
        "The buggy address",
        "Showing all locks",
        "---[ end",
        "Kernel panic",
        "Uninit was",
        "Memory state",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

fn trace_frames(
    report: &Report,
    questionable: bool,
    begins: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &str> {
    let mut lines = report.lines(questionable);
    let mut first = None;
    for line in lines.by_ref() {
        if begins(line) {
            first = Some(line);
            break;
        }
    }
    first
        .into_iter()
        .chain(lines)
        .take_while(|line| !is_other(line))
        .filter_map(|line| pointer(line).or_else(|| trace::parse(line).map(|frame| frame.function)))
}

/// The function by which to call a CPU that hangs: what its stack was before the interrupt that
/// found out, from the innermost function to the one that something was dispatched to.
fn stalled(report: &Report, questionable: bool) -> Option<String> {
    let interrupted = |line: &str| line.contains("apic_timer_interrupt");
    entry(trace_frames(report, questionable, interrupted))
        .or_else(|| entry(trace_frames(report, questionable, is_trace)))
}

fn entry<'a>(trace: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut below: Option<&str> = None;
    for function in trace {
        if function.starts_with("smp_call_function") {
            return Some(function.to_owned());
        }
        if frames::is_dispatcher(function) {
            if let Some(below) = below {
                return Some(below.to_owned());
            }
            continue;
        }
        if !frames::is_innocent(function) {
            below = Some(function);
        }
    }
    below.map(str::to_owned)
}

/// What is wrong with the stack of a report that should have one.
fn damage(report: &Report) -> Option<String> {
    if report.lines(true).any(|line| line.contains("(stack is not available)")) {
        return None;
    }
    let mut any = false;
    for line in report.lines(true) {
        any |= trace::parse(line).is_some();
    }
    (!any).then(|| "no stack trace in the report".to_owned())
}
