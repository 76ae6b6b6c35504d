//! The rules, compiled: one search for all headers, one automaton for all lines.

use std::{
    collections::HashSet,
    sync::{LazyLock, OnceLock},
};

use memchr::memmem::Finder;
use regex_automata::{
    Input,
    meta::Regex,
    util::{primitives::PatternID, syntax},
};

use crate::crash::names::Names;

use super::{Find, Rule, all, harmless, pattern, prefilter::Prefilter};

/// The rules, compiled.
#[derive(Debug)]
pub(in crate::crash) struct RuleSet {
    headers: Prefilter,
    lines: Regex,
    harmless: Regex,
    rules: Vec<Compiled>,
}

/// A rule with its patterns, which are compiled when they are first needed.
#[derive(Debug)]
pub(in crate::crash) struct Compiled {
    /// The rule.
    pub(in crate::crash) rule: &'static Rule,
    line: OnceLock<Option<Regex>>,
    more: OnceLock<Vec<Regex>>,
    frame: OnceLock<Vec<Option<Regex>>>,
    origin: OnceLock<Vec<Option<Regex>>>,
    skip: OnceLock<Names>,
}

/// A line that begins a report.
#[derive(Debug)]
pub(in crate::crash) struct Hit {
    /// Which rule it is.
    pub(in crate::crash) rule: usize,
    /// What the named groups of the rule's line hold.
    pub(in crate::crash) groups: Groups,
}

/// Named groups and what they hold.
pub(in crate::crash) type Groups = Vec<(String, String)>;

impl RuleSet {
    /// The rules of this program.
    pub(in crate::crash) fn standard() -> &'static RuleSet {
        static STANDARD: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::new(all().collect()));
        &STANDARD
    }

    /// The rules, and `times - 1` times as many with other words. It is never freed.
    pub(in crate::crash) fn enlarged(times: usize) -> &'static RuleSet {
        let further = (1..times).flat_map(|time| {
            all().map(move |rule| -> &'static Rule {
                let header = format!("{time:02}{}", rule.header);
                let line = format!("{header}.*(?:{})", rule.line.trim_start_matches('^'));
                Box::leak(Box::new(Rule { header: header.leak(), line: line.leak(), ..*rule }))
            })
        });
        Box::leak(Box::new(RuleSet::new(all().chain(further).collect())))
    }

    fn new(rules: Vec<&'static Rule>) -> RuleSet {
        let headers: HashSet<&str> =
            rules.iter().map(|rule| rule.header).chain([PANIC, BOOT]).collect();
        let lines: Vec<String> = rules.iter().map(|rule| needed(rule.line)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        RuleSet {
            headers: Prefilter::new(headers),
            lines: compile(&lines, LINE_BEGINS),
            harmless: compile(harmless(), ""),
            rules: rules
                .into_iter()
                .map(|rule| Compiled {
                    rule,
                    line: OnceLock::new(),
                    more: OnceLock::new(),
                    frame: OnceLock::new(),
                    origin: OnceLock::new(),
                    skip: OnceLock::new(),
                })
                .collect(),
        }
    }

    /// Offsets in `text` where something stands that may begin a report.
    pub(in crate::crash) fn candidates<'a>(
        &'a self,
        text: &'a [u8],
    ) -> impl Iterator<Item = usize> + 'a {
        self.headers.find(text)
    }

    /// The rule whose report this line begins.
    pub(in crate::crash) fn find(&self, text: &str) -> Option<Hit> {
        let found = self.lines.search_half(&Input::new(text))?;
        let rule = found.pattern().as_usize();
        let compiled = self.rules.get(rule)?;
        if compiled.rule.vague && self.harmless.is_match(text) {
            return None;
        }
        Some(Hit { rule, groups: compiled.groups(text) })
    }

    /// A rule by its number.
    pub(in crate::crash) fn get(&self, rule: usize) -> Option<&Compiled> {
        self.rules.get(rule)
    }
}

/// What the kernel says first.
pub(in crate::crash) const BOOT: &str = "Linux version ";

/// What the kernel says last.
const PANIC: &str = "Kernel panic - not syncing";

/// Whether a line says that the kernel gives up.
pub(in crate::crash) fn is_panic(line: &str) -> bool {
    static FINDER: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(PANIC));
    FINDER.find(line.as_bytes()).is_some()
}

/// What must be read of a line to know that a pattern matches: where any text may follow, nothing of
/// it.
fn needed(pattern: &str) -> String {
    match pattern.strip_suffix(".*)") {
        Some(before) => format!("{before})"),
        None => pattern.strip_suffix(".*").unwrap_or(pattern).to_owned(),
    }
}

/// Where the pattern of a rule's line may begin to match.
const LINE_BEGINS: &str = r"\b";

impl Compiled {
    /// What the named groups of the rule's line hold in `text`.
    fn groups(&self, text: &str) -> Groups {
        let line = self.line.get_or_init(|| {
            self.rule.uses_groups().then(|| compile(&[self.rule.line], LINE_BEGINS))
        });
        line.as_ref().map(|line| groups(line, text)).unwrap_or_default()
    }

    /// The patterns of the further lines.
    pub(in crate::crash) fn more(&self) -> &[Regex] {
        self.more.get_or_init(|| self.rule.more.iter().map(|line| compile(&[line], "")).collect())
    }

    /// Functions that are not to blame in this kind of report.
    pub(in crate::crash) fn skip(&self) -> &Names {
        self.skip.get_or_init(|| Names::new(self.rule.skip.iter().copied()))
    }

    /// The places where the guilty function may be, with their patterns.
    pub(in crate::crash) fn frame(&self) -> impl Iterator<Item = (Find, Option<&Regex>)> {
        places(self.rule.frame, &self.frame)
    }

    /// The places where the function may be that the crash goes back to.
    pub(in crate::crash) fn origin(&self) -> impl Iterator<Item = (Find, Option<&Regex>)> {
        places(self.rule.origin, &self.origin)
    }
}

fn places<'a>(
    finds: &'static [Find],
    patterns: &'a OnceLock<Vec<Option<Regex>>>,
) -> impl Iterator<Item = (Find, Option<&'a Regex>)> {
    let patterns = patterns.get_or_init(|| {
        let pattern = |find: &Find| match find {
            Find::Line(line) | Find::NamedLine(line) | Find::TraceAfter(line) => {
                Some(compile(&[line], ""))
            }
            _ => None,
        };
        finds.iter().map(pattern).collect()
    });
    finds.iter().copied().zip(patterns.iter().map(Option::as_ref))
}

/// What the named groups of a match hold.
pub(in crate::crash) fn groups(regex: &Regex, text: &str) -> Groups {
    let input = Input::new(text);
    let info = regex.group_info();
    if info.group_len(PatternID::ZERO) < 2 {
        return Groups::new();
    }
    let mut captures = regex.create_captures();
    regex.search_captures(&input, &mut captures);
    let names = info.pattern_names(PatternID::ZERO);
    names
        .zip(captures.iter())
        .filter_map(|(name, span)| {
            let held = input.haystack().get(span?.range())?;
            Some((name?.to_owned(), String::from_utf8_lossy(held).into_owned()))
        })
        .collect()
}

/// How many bytes an automaton may take up, which grows with what is met in the lines it reads: one
/// that has to begin anew all the time is slower than none.
const CACHE: usize = 16 << 20;

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test compiles each")]
fn compile(patterns: &[&str], before: &str) -> Regex {
    let whole = |text: &&str| match text.strip_prefix('^') {
        Some(rest) => format!("^(?:{})", pattern::expand(rest)),
        None => format!("{before}(?:{})", pattern::expand(text)),
    };
    let patterns: Vec<String> = patterns.iter().map(whole).collect();
    Regex::builder()
        .configure(Regex::config().utf8_empty(false).hybrid_cache_capacity(CACHE))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build_many(&patterns)
        .expect("a rule's pattern is a regular expression")
}

#[cfg(test)]
mod tests {
    use super::RuleSet;

    #[test]
    fn every_pattern_compiles() {
        for compiled in &RuleSet::standard().rules {
            compiled.more();
            compiled.frame().count();
            compiled.origin().count();
        }
    }
}
