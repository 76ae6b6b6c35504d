//! Lists of names with `*` in them.

use regex_automata::{meta::Regex, util::syntax};

/// A list of names, in which `*` stands for any text.
#[derive(Debug)]
pub(super) struct Names(Regex);

impl Names {
    /// The names in a text: words, with `#` at the start of a line that is a comment.
    pub(super) fn parse(text: &str) -> Names {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Names::new(lines.flat_map(str::split_ascii_whitespace))
    }

    /// These names.
    #[expect(clippy::expect_used, reason = "quoted names are regular expressions")]
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
        let names: Vec<String> = names.into_iter().map(quote).collect();
        let pattern = format!("^(?:{})$", names.join("|"));
        let regex = Regex::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .configure(Regex::config().utf8_empty(false))
            .build(if names.is_empty() { "[^\\s\\S]" } else { &pattern })
            .expect("a list of names");
        Names(regex)
    }

    /// Whether a name is in the list.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn quote(name: &str) -> String {
    name.chars().fold(String::new(), |mut pattern, c| {
        match c {
            '*' => pattern.push_str(".*"),
            c if c.is_ascii_alphanumeric() || c == '_' => pattern.push(c),
            c => {
                pattern.push('\\');
                pattern.push(c);
            }
        }
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn stars_stand_for_anything() {
        let names = Names::parse("# a comment: no_name\nfoo* *_bar\narch/*/mm/* a.b");
        for name in ["foo", "food", "x_bar", "arch/x86/mm/fault.c", "a.b"] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["", "fo", "bar", "x_bark", "arch/mm/x", "axb", "no_name", "xfoo"] {
            assert!(!names.contains(name), "{name}");
        }
        assert!(!Names::new([]).contains(""));
    }
}
