//! What kernels print when they die, as data.
//!
//! Each way to die is one [`Rule`]: which line begins it, what makes its title, where the function
//! to blame is found, and an example that is also its test. The tables are in the files beside this
//! one, by subject.
//!
//! # Adding a rule
//!
//! 1. Find the `printk()` in the kernel and pick the table that it belongs to.
//! 2. `line` is a regular expression on the line that begins the report, without timestamp and
//!    caller. It may use the words of [`pattern::SHORTHANDS`], such as `{func}` for a function with
//!    or without its offset. The rule whose match begins first wins; among equals the first in
//!    the table, so special rules stand before general ones.
//! 3. `header` is a literal that every such line holds. Logs are searched for these literals alone
//!    until one is met, so it should be as rare as possible, and at least five bytes long.
//! 4. `more` are lines further down that the title needs, in order. Where one is missing, the
//!    report is corrupted.
//! 5. `title` is what the crash is called: `{frame}` is the guilty function, any other `{name}` a
//!    group `(?P<name>…)` of `line` or `more`.
//! 6. `frame` lists the places where the guilty function may be found, the best first; functions
//!    in the lists of [`crate::crash::frames`] and in the rule's own `skip` are passed over.
//! 7. Write the `example`: a log and its title. `cargo test -p vmbisect rules` runs it.

mod hang;
mod kasan;
mod locking;
mod memory;
mod oops;
mod other;
mod panic;
pub(super) mod pattern;
mod prefilter;
mod sanitizers;
mod set;
mod warning;

use super::kind::Kind;

pub(super) use set::{BOOT, Compiled, Groups, Hit, RuleSet, groups, is_panic};
pub(super) use warning::HEADER as WARNING;

/// One way to die.
#[derive(Debug)]
pub(super) struct Rule {
    /// A literal that is in every line that begins such a report.
    pub(super) header: &'static str,
    /// The line that begins the report.
    pub(super) line: &'static str,
    /// Further lines that the title needs, in this order.
    pub(super) more: &'static [&'static str],
    /// What is left where one of `more` is missing.
    pub(super) lost: Lost,
    /// The title.
    pub(super) title: &'static str,
    /// Other titles that the same bug may be known by; `{origin}` is the function found by `origin`.
    pub(super) alts: &'static [&'static str],
    /// Where the guilty function is found, the best place first. Empty: the title names none.
    pub(super) frame: &'static [Find],
    /// Where the function is found that `{origin}` stands for.
    pub(super) origin: &'static [Find],
    /// Functions that are not to blame in this kind of report, besides those that never are.
    pub(super) skip: &'static [&'static str],
    /// Whether such a report has a stack trace, without which it is corrupted.
    pub(super) stack: Stack,
    /// The kind: the first whose words are in the title.
    pub(super) kind: &'static [(&'static str, Kind)],
    /// Whether this is no bug of the kernel: no memory left, a broken host.
    pub(super) suppressed: bool,
    /// Whether the line may say anything, also what is harmless: see [`harmless`].
    pub(super) vague: bool,
    /// Whether such a line is normal where a kernel boots, and a crash only behind another kernel.
    pub(super) reboot: bool,
    /// To which report that is open such a line belongs, if there is one, instead of beginning one.
    pub(super) joins: Joins,
    /// Logs and their titles; the tests of the rule.
    #[cfg_attr(not(test), expect(dead_code, reason = "examples are the tests of the rules"))]
    pub(super) examples: &'static [Example],
}

impl Rule {
    /// What a table entry starts from.
    pub(super) const NEW: Rule = Rule {
        header: "",
        line: "",
        more: &[],
        lost: Lost::Title,
        title: "",
        alts: &[],
        frame: &[],
        origin: &[],
        skip: &[],
        stack: Stack::Needed,
        kind: &[("", Kind::Unknown)],
        suppressed: false,
        vague: false,
        reboot: false,
        joins: Joins::None,
        examples: &[],
    };

    /// Whether the title needs no more than the line that begins the report.
    pub(super) fn is_one_line(&self) -> bool {
        self.frame.is_empty() && self.more.is_empty() && self.stack == Stack::Optional
    }

    /// Whether anything is made of the named groups of its line.
    pub(super) fn uses_groups(&self) -> bool {
        let known = |find: &Find| matches!(find, Find::Known | Find::Named);
        let fills =
            |template: &str| template.replace("{frame}", "").replace("{origin}", "").contains('{');
        self.frame.iter().chain(self.origin).any(known)
            || std::iter::once(&self.title).chain(self.alts).any(|template| fills(template))
    }

    /// Whether a CPU hangs.
    pub(super) fn is_stall(&self) -> bool {
        self.frame.iter().any(|find| matches!(find, Find::Interrupted | Find::Running))
    }

    /// The kind of a crash with this title.
    pub(super) fn kind(&self, title: &str) -> Kind {
        let known = self.kind.iter().find(|(words, _)| title.contains(words));
        known.map_or(Kind::Unknown, |(_, kind)| *kind)
    }
}

/// A log and the title that it has.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "examples are the tests of the rules"))]
pub(super) struct Example {
    /// The title.
    pub(super) title: &'static str,
    /// The log.
    pub(super) log: &'static str,
}

/// A place where the guilty function may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// The group `func` of the rule's `line` or `more`.
    Known,
    /// The same, even if it is one that is never to blame.
    Named,
    /// The group `func` of the first line of the report that matches.
    Line(&'static str),
    /// The same, even if it is one that is never to blame.
    NamedLine(&'static str),
    /// The instruction pointer: `RIP: 0010:f+0x1/0x2`, `pc : f+0x1/0x2`, `PC is at f`.
    Pointer,
    /// The first stack trace, from its innermost function outwards.
    Trace,
    /// The stack that begins at the first line that matches.
    TraceAfter(&'static str),
    /// For a CPU that hangs: the stack below the interrupt that found out. Not the innermost
    /// function, which is wherever the CPU happened to be, but the one that it was sent into by a
    /// system call, an interrupt or a worker.
    Interrupted,
    /// The same, of the stack that begins at the first instruction pointer.
    Running,
    /// The same, of the first stack.
    Entry,
    /// For a task that waits: what it queues for, if many do, else the first function of the first
    /// stack that may be to blame.
    Waiting,
}

/// What is left of a report where a line is missing that its title needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The title, without what the line would have said.
    Title,
    /// The line that begins the report, as its title.
    Line,
    /// Nothing: it was no report.
    Nothing,
}

/// To which report that is open a line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joins {
    /// To none: it begins a report.
    None,
    /// To one of its own rule: the detector lists all that it has found.
    Same,
    /// To one of another rule for the same kinds, which announces it.
    Announced,
    /// To any.
    Any,
}

/// Whether a report has a stack trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// It has: one without is corrupted.
    Needed,
    /// It may have one or not.
    Optional,
    /// The line was printed by a kernel that could say no more: the title is not to be trusted.
    Corrupted,
}

/// Every rule, in order of precedence.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    [
        kasan::RULES,
        sanitizers::RULES,
        memory::RULES,
        locking::RULES,
        hang::RULES,
        oops::RULES,
        warning::RULES,
        panic::RULES,
        other::RULES,
    ]
    .into_iter()
    .flatten()
}

/// What a log begins with that begins with a boot: words of the firmware, the boot loader, the
/// decompressor or the kernel.
pub(super) fn is_boot(line: &[u8]) -> bool {
    let line = line.get(..256).unwrap_or(line);
    other::BOOT.iter().any(|words| memchr::memmem::find(line, words.as_bytes()).is_some())
}

/// Lines that look like the beginning of a report and are none, unless a rule knows more of them than
/// what they begin with.
pub(super) fn harmless() -> &'static [&'static str] {
    other::HARMLESS
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::crash::classify;

    #[test]
    fn every_rule_passes_its_examples() {
        let mut wrong = Vec::new();
        for example in all().flat_map(|rule| rule.examples) {
            let crashes = classify(example.log.as_bytes());
            let got: Vec<_> =
                crashes.iter().map(|crash| (&*crash.title, &crash.corrupted)).collect();
            if got != [(example.title, &None)] {
                wrong.push(format!("{got:?} is not {:?}:\n{}", example.title, example.log));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_header_is_in_each_line_of_its_rule() {
        for example in all().flat_map(|rule| rule.examples.iter().map(move |ex| (rule, ex))) {
            assert!(example.1.log.contains(example.0.header), "{:?}", example.0);
        }
    }
}
