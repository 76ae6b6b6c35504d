//! Lists of names with `*` in them.

use regex::bytes::{Regex, RegexBuilder};

/// A list of names, in which `*` stands for any text.
///
/// A lookup is one run of an automaton over the name, whatever the length of the list.
#[derive(Debug)]
pub(crate) struct Names(Option<Regex>);

impl Names {
    /// The names in a text: words, with `#` at the start of a line that is a comment.
    pub(crate) fn parse(text: &str) -> Names {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Names::new(lines.flat_map(str::split_ascii_whitespace))
    }

    /// These names.
    pub(crate) fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Names {
        let patterns: Vec<String> = list.into_iter().map(pattern).collect();
        Names((!patterns.is_empty()).then(|| compile(&patterns.join("|"))))
    }

    /// Whether a name is in the list.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.is_match(name.as_bytes()))
    }
}

/// A name as a regular expression.
fn pattern(name: &str) -> String {
    // Where any text may begin or end a name, nothing is left to be looked at there.
    let (start, name) = name.strip_prefix('*').map_or(("^", name), |rest| ("", rest));
    let (name, end) = name.strip_suffix('*').map_or((name, "$"), |rest| (rest, ""));
    format!("{start}(?:{}){end}", regex::escape(name).replace(r"\*", ".*"))
}

#[expect(clippy::expect_used, reason = "the lists are constants, and tests compile each")]
fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .expect("an escaped name is a regular expression")
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn stars_stand_for_anything() {
        let names =
            Names::parse("# a comment: no_name\nfoo* foobar* *_bar *mid*\narch/*/mm/* a.b do*ne");
        for name in [
            "foo",
            "food",
            "foobart",
            "x_bar",
            "arch/x86/mm/fault.c",
            "a.b",
            "amidst",
            "mid",
            "done",
        ] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["", "fo", "bar", "x_bark", "arch/mm/x", "axb", "no_name", "xfoo", "mi", "don"]
        {
            assert!(!names.contains(name), "{name}");
        }
        assert!(!Names::new([]).contains(""));
    }
}
