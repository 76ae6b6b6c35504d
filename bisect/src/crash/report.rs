//! The lines of one report.

use std::ops::Range;

use super::{
    line::{Context, Line},
    trace,
};

/// The longest report that is kept; what follows is counted but not stored.
const LIMIT: usize = 1 << 20;

/// The lines of one report, without what the console put before them.
#[derive(Debug)]
pub(super) struct Report {
    /// Who printed it.
    pub(super) context: Context,
    /// Offset in the log of its first line.
    pub(super) start: u64,
    /// Offset behind its last line.
    pub(super) end: u64,
    text: String,
    lines: Vec<Span>,
    /// How many of the lines are its own; further ones are of the report that broke in.
    own: Option<usize>,
}

#[derive(Clone, Debug)]
struct Span {
    range: Range<usize>,
    questionable: bool,
}

impl Report {
    /// A report that begins with `line` at `start`.
    pub(super) fn new(line: Line<'_>, start: u64, end: u64) -> Report {
        let mut report = Report {
            context: line.context,
            start,
            end,
            text: String::new(),
            lines: Vec::new(),
            own: None,
        };
        report.push(line, end);
        report
    }

    /// Adds a line, which ends at `end` in the log.
    pub(super) fn push(&mut self, line: Line<'_>, end: u64) {
        if self.text.len() + line.text.len() > LIMIT {
            return;
        }
        let from = self.text.len();
        self.text.push_str(&String::from_utf8_lossy(line.text));
        self.lines.push(Span {
            range: from..self.text.len(),
            questionable: trace::is_questionable(line.text),
        });
        self.text.push('\n');
        if self.own.is_none() {
            self.end = end;
        }
    }

    /// Another report begins in the middle of this one: further lines are looked at, as the stack
    /// of the one is that of the other, but do not belong to it.
    pub(super) fn break_in(&mut self) {
        self.own.get_or_insert(self.lines.len());
    }

    /// Whether another report has begun in the middle of this one.
    pub(super) fn is_broken(&self) -> bool {
        self.own.is_some()
    }

    /// The lines, without frames that the unwinder is not sure of.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(|span| !span.questionable)
            .filter_map(|span| self.text.get(span.range.clone()))
    }

    /// The report as people read it.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        let own = self.lines.iter().take(self.own.unwrap_or(usize::MAX));
        for span in own.filter(|span| !span.questionable) {
            text.push_str(self.text.get(span.range.clone()).unwrap_or_default());
            text.push('\n');
        }
        text
    }
}
