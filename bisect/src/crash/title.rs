//! From a report to its title: the rule's template, filled in and made stable.

use super::{
    blame, damage, frames,
    line::holds_stamp,
    report::Report,
    rules::{Compiled, Find, Groups, Lost, Rule, Stack, groups},
};

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The title.
    pub(super) title: String,
    /// Other titles, sorted.
    pub(super) alts: Vec<String>,
    /// The guilty function.
    pub(super) frame: Option<String>,
    /// Why the title is not to be trusted.
    pub(super) corrupted: Option<String>,
}

/// What the named groups hold of the lines that a title is made of.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Of the line that begins the report.
    header: &'a Groups,
    /// Of the further ones.
    more: Groups,
}

impl Known<'_> {
    fn all(&self) -> impl Iterator<Item = &(String, String)> {
        self.header.iter().chain(&self.more)
    }

    /// What the groups of this name hold.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all().filter(move |(known, _)| known == name).map(|(_, held)| &**held)
    }
}

/// Stands in titles for a function that could not be found.
const NO_FRAME: &str = "corrupted";

/// The longest title; what is longer is cut.
const LONGEST: usize = 120;

/// How far below the line that begins a report the first line may be that its title needs.
const NEAR: usize = 14;

/// Judges a report by the rule that its first line is of; `None` if it is none after all.
pub(super) fn judge(compiled: &Compiled, header: &Groups, report: &Report) -> Option<Verdict> {
    let rule = compiled.rule;
    let mut known = Known { header, more: Groups::new() };
    if !more(compiled, report, &mut known) {
        let corrupted = Some("a line that such a report has is missing".to_owned());
        let (title, alts) = match rule.lost {
            Lost::Nothing => return None,
            Lost::Line => (line(report, rule.header), Vec::new()),
            Lost::Title => titles(compiled, None, &known),
        };
        return Some(Verdict { title, alts, frame: None, corrupted });
    }
    // A stack that may be another's blames only whom no line of the other's stands before; what the
    // first line says still holds.
    let mixed = damage::is_mixed(report);
    let places = compiled.frame().filter(|(find, _)| !mixed || *find == Find::Known);
    let frame = blame::frame(compiled, places, &known, report)
        .or_else(|| if mixed { blame::frame_among_others(compiled, report) } else { None });
    if let Some(origin) = blame::frame(compiled, compiled.origin(), &known, report) {
        known.more.push(("origin".to_owned(), origin));
    }
    let corrupted = match rule.stack {
        Stack::Corrupted => Some("the line that names the crash is all there is".to_owned()),
        _ if known
            .all()
            .any(|(_, said)| said.trim().is_empty() || holds_stamp(said.as_bytes())) =>
        {
            Some("the line that names the crash is cut, or another one broke into it".to_owned())
        }
        _ if mixed => Some("the stack of something else is mixed in".to_owned()),
        _ if frame.is_none() && !rule.frame.is_empty() => Some("no function to blame".to_owned()),
        Stack::Needed => damage::find(report),
        Stack::Optional => None,
    };
    let (title, alts) = titles(compiled, frame.as_deref(), &known);
    Some(Verdict { title, alts, frame: frame.map(|raw| name(rule, &raw)), corrupted })
}

/// Finds the further lines that the title needs, and takes from them what it names.
fn more(compiled: &Compiled, report: &Report, known: &mut Known<'_>) -> bool {
    let mut lines = report.lines().skip(1);
    for (index, pattern) in compiled.more().iter().enumerate() {
        let limit = if index == 0 { NEAR } else { usize::MAX };
        let found = lines.by_ref().take(limit).find(|line| pattern.is_match(line.as_bytes()));
        let Some(line) = found else { return false };
        known.more.extend(groups(pattern, line));
    }
    true
}

/// The title and the others for a guilty function.
fn titles(compiled: &Compiled, frame: Option<&str>, known: &Known<'_>) -> (String, Vec<String>) {
    let rule = compiled.rule;
    let raw = frame.unwrap_or(NO_FRAME);
    let name = name(rule, raw);
    let title = fill(rule.title, &name, known);
    let mut alts: Vec<String> = rule.alts.iter().map(|alt| fill(alt, &name, known)).collect();
    if raw != name {
        let templates = std::iter::once(&rule.title).chain(rule.alts);
        alts.extend(templates.map(|template| fill(template, raw, known)));
    }
    alts.retain(|alt| *alt != title);
    alts.sort_unstable();
    alts.dedup();
    (title, alts)
}

/// The name by which titles know a function.
fn name(rule: &Rule, raw: &str) -> String {
    let crowd = match rule.frame {
        [Find::Waiting] => frames::crowd(raw),
        _ if rule.is_stall() => frames::call_of_cpus(raw),
        _ => None,
    };
    crowd.map_or_else(|| frames::canonical(raw), str::to_owned)
}

/// The first line as a title, from its header on.
fn line(report: &Report, header: &str) -> String {
    let line = report.lines().next().unwrap_or_default();
    let line = line.find("BUG: ").and_then(|at| line.get(at + 5..)).unwrap_or(line);
    let from = line.find("WARNING: ").or_else(|| line.find(header)).unwrap_or(0);
    stable(line.get(from..).unwrap_or_default())
}

fn fill(template: &str, frame: &str, known: &Known<'_>) -> String {
    let mut title = String::with_capacity(LONGEST);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        title.push_str(before);
        let Some((name, behind)) = behind.split_once('}') else { break };
        rest = behind;
        if name == "frame" {
            title.push_str(frame);
        } else if let Some(value) = known.named(name).next() {
            title.push_str(&stable(value.trim()));
        }
    }
    title.push_str(rest);
    title.truncate(LONGEST);
    title.truncate(title.trim_end().len());
    title
}

/// A text without what differs from one crash to the next: addresses, offsets and numbers. ASCII
/// only.
fn stable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (word, behind) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        if !word.is_empty() {
            rest = push_word(&mut out, word, behind);
        } else if first == '+' && rest.starts_with("+0x") {
            // The offset in a function, and the function's size.
            let offset = |c: char| c.is_ascii_hexdigit() || "+x/".contains(c);
            rest = rest.trim_start_matches(offset);
        } else {
            if first.is_ascii_graphic() || first == ' ' {
                out.push(first);
            }
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// Adds a word, or what stands for it; gives what comes after it.
fn push_word<'a>(out: &mut String, word: &str, behind: &'a str) -> &'a str {
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let hex = word.strip_prefix("0x").unwrap_or(word);
    let is_hex =
        hex.bytes().all(|b| b.is_ascii_hexdigit()) && hex.bytes().any(|b| b.is_ascii_digit());
    if stem == "syzkaller" || stem == "executor" && out.ends_with("syz-") {
        // A fuzzer's processes have numbers: `syz-executor.3/123`.
        out.push_str(stem);
        return without_numbers(behind);
    }
    if stem.is_empty() && out.ends_with(":LINE:") {
        // A column.
        out.pop();
    } else if stem.is_empty() && out.ends_with("CPU#") {
        out.pop();
    } else if stem.is_empty() {
        out.push_str(if out.ends_with(':') { "LINE" } else { "NUM" });
    } else if is_hex && (hex.len() >= 6 || hex.len() < word.len()) {
        out.push_str("ADDR");
    } else if word.len() - stem.len() >= 5 {
        out.push_str(stem);
        out.push_str("NUM");
    } else {
        out.push_str(word);
    }
    behind
}

/// What comes after the numbers of a process: `.3`, `/123`, `:123`.
fn without_numbers(text: &str) -> &str {
    let number = |text: &'_ str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = text;
    for separators in [&['.'][..], &['/', ':']] {
        if let Some(behind) = rest.strip_prefix(separators)
            && number(behind) > 0
        {
            rest = behind.get(number(behind)..).unwrap_or_default();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::stable;

    #[test]
    fn what_differs_goes() {
        assert_eq!(stable("f+0x1a/0x20 at addr ffff8801c4"), "f at addr ADDR");
        assert_eq!(stable("unknown-block(0,12)"), "unknown-block(NUM,NUM)");
        assert_eq!(stable("exitcode=0x0000000b"), "exitcode=ADDR");
        assert_eq!(stable("ip6_xmit f2fs ext4"), "ip6_xmit f2fs ext4");
        assert_eq!(stable("syz-dir264563108"), "syz-dirNUM");
        assert_eq!(stable("caf\u{e9}\u{1b}"), "caf");
        assert_eq!(stable("at lib/f.c:12 g"), "at lib/f.c:LINE g");
        assert_eq!(stable("in lib/f.c:12:34!"), "in lib/f.c:LINE!");
        assert_eq!(stable("mm: 4096, 5 of 7"), "mm: NUM, NUM of NUM");
        assert_eq!(stable("stuck on CPU#3!"), "stuck on CPU!");
        assert_eq!(stable("task syz-executor.3/123 runs"), "task syz-executor runs");
        assert_eq!(stable("syz-executor5: x"), "syz-executor: x");
        assert_eq!(stable("syzkaller123456/7."), "syzkaller.");
    }
}
