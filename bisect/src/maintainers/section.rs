//! The sections of MAINTAINERS.

use regex::{Regex, RegexBuilder};

use super::pattern::Pattern;

/// The largest compiled expression, in bytes: MAINTAINERS is part of whatever tree is looked at.
const REGEX_LIMIT: usize = 1 << 20;

/// One section: who looks after what.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// What it is called.
    title: String,
    maintainers: Vec<String>,
    reviewers: Vec<String>,
    lists: Vec<String>,
    files: Vec<Pattern>,
    excluded: Vec<Pattern>,
    /// Of paths.
    names: Vec<Regex>,
    /// Of what is in a file.
    keywords: Vec<Regex>,
}

/// How special a section is for a file that holds one of its keywords: less than any other.
const KEYWORD: i64 = -2;

/// Reads MAINTAINERS: a title, lines of `X:\tvalue`, an empty line. The lines before the sections
/// that explain the file look like one, but no path fits them.
pub(super) fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // Whether the last line was an entry, so that what is none begins a section.
    let mut begun = false;
    for line in text.lines() {
        let entry = line
            .split_once(':')
            .filter(|(key, _)| key.len() == 1 && key.bytes().all(|byte| byte.is_ascii_uppercase()));
        let Some((key, value)) = entry else {
            let title = line.trim();
            if begun || title.is_empty() || sections.is_empty() {
                begun = false;
                sections.push(Section::default());
            }
            if let (Some(section), false) = (sections.last_mut(), title.is_empty()) {
                section.title = title.to_owned();
            }
            continue;
        };
        begun = true;
        if let Some(section) = sections.last_mut() {
            section.entry(key, value.trim());
        }
    }
    sections.retain(|section| !section.title.is_empty());
    sections
}

impl Section {
    fn entry(&mut self, key: &str, value: &str) {
        // As the script has it: white space in an expression is not part of it.
        let regex = || {
            let mut builder = RegexBuilder::new(value);
            builder.ignore_whitespace(true).size_limit(REGEX_LIMIT).build().ok()
        };
        match key {
            "M" => self.maintainers.push(value.to_owned()),
            "R" => self.reviewers.push(value.to_owned()),
            "L" => self.lists.push(value.to_owned()),
            "F" => self.files.push(Pattern::new(value)),
            "X" => self.excluded.push(Pattern::new(value)),
            "N" => self.names.extend(regex()),
            "K" => self.keywords.extend(regex()),
            _ => {}
        }
    }

    /// How special the section is for a file, if it is about it.
    pub(super) fn depth(&self, path: &str, text: &str) -> Option<i64> {
        if self.excluded.iter().any(|pattern| pattern.matches(path)) {
            return None;
        }
        let files = self.files.iter().filter(|pattern| pattern.matches(path));
        let names = self.names.iter().filter(|name| name.is_match(path)).map(|_| 0);
        let by_path = files.map(Pattern::depth).chain(names).max();
        let by_text = || self.keywords.iter().any(|word| word.is_match(text)).then_some(KEYWORD);
        by_path.or_else(by_text)
    }

    /// Whether it is about everything: its people are told of what nobody else looks after.
    fn is_the_rest(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|pattern| pattern.depth() < 0)
    }

    /// The maintainers, and why.
    pub(super) fn people(&self) -> impl Iterator<Item = (&str, String)> {
        let people = self.maintainers.iter().filter(|_| !self.is_the_rest());
        people.map(|it| (it.as_str(), format!("maintainer of {}", self.title)))
    }

    /// The reviewers, and why.
    pub(super) fn reviewers(&self) -> impl Iterator<Item = (&str, String)> {
        self.reviewers.iter().map(|it| (it.as_str(), format!("reviewer for {}", self.title)))
    }

    /// The lists that take mail from anybody, and why.
    pub(super) fn lists(&self) -> impl Iterator<Item = (&str, String)> {
        let open = self.lists.iter().filter(|list| !list.contains("subscribers-only"));
        open.map(|it| (it.as_str(), format!("list of {}", self.title)))
    }
}
