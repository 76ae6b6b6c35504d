//! Lists of names with `*` in them.

use regex::Regex;

/// A list of names, in which `*` stands for any text.
///
/// Most names are whole, or end or begin with the star; a lookup is a binary search for each of
/// these and one run of an automaton for all others, whatever the length of the list.
#[derive(Debug, Default)]
pub(crate) struct Names {
    whole: Vec<String>,
    /// What names begin with, sorted, none of which begins with another.
    starts: Vec<String>,
    /// What names end with, reversed, likewise.
    ends: Vec<String>,
    /// Names with stars elsewhere.
    others: Option<Regex>,
}

impl Names {
    /// The names in a text: words, with `#` at the start of a line that is a comment.
    pub(crate) fn parse(text: &str) -> Names {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Names::new(lines.flat_map(str::split_ascii_whitespace))
    }

    /// These names.
    pub(crate) fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Names {
        let mut names = Names::default();
        let mut others = Vec::new();
        for name in list {
            let parts: Vec<String> = name.split('*').map(str::to_owned).collect();
            match &parts[..] {
                [whole] => names.whole.push(whole.clone()),
                [start, end] if end.is_empty() => names.starts.push(start.clone()),
                [start, end] if start.is_empty() => names.ends.push(reversed(end)),
                _ => others.push(pattern(&parts)),
            }
        }
        names.others = (!others.is_empty()).then(|| compile(&others.join("|")));
        names.whole.sort_unstable();
        minimize(&mut names.starts);
        minimize(&mut names.ends);
        names
    }

    /// Whether a name is in the list.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.whole.binary_search_by(|whole| whole.as_str().cmp(name)).is_ok()
            || begins(&self.starts, name)
            || !self.ends.is_empty() && begins(&self.ends, &reversed(name))
            || self.others.as_ref().is_some_and(|others| others.is_match(name))
    }
}

/// Sorts, and drops what begins with another: that adds nothing.
fn minimize(starts: &mut Vec<String>) {
    starts.sort_unstable();
    starts.dedup_by(|later, earlier| later.starts_with(earlier.as_str()));
}

/// Whether a name begins with one of these. As none of them begins with another, only the last one
/// not behind the name can.
fn begins(starts: &[String], name: &str) -> bool {
    let behind = starts.partition_point(|start| start.as_str() <= name);
    behind
        .checked_sub(1)
        .and_then(|at| starts.get(at))
        .is_some_and(|start| name.starts_with(start.as_str()))
}

fn reversed(name: &str) -> String {
    name.chars().rev().collect()
}

/// What a name is that consists of these texts with anything between them.
fn pattern(parts: &[String]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| regex::escape(part)).collect();
    let pattern = parts.join(".*");
    // Where any text may begin or end a name, nothing is left to be looked at there.
    let start = if pattern.starts_with(".*") { "" } else { "^" };
    let end = if pattern.ends_with(".*") { "" } else { "$" };
    format!("{start}(?:{}){end}", pattern.trim_start_matches(".*").trim_end_matches(".*"))
}

#[expect(clippy::expect_used, reason = "the lists are constants, and tests compile each")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("an escaped name is a regular expression")
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
