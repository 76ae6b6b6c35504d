//! The lines of one report.

use std::{ops::Range, sync::LazyLock};

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::{
    line::{Context, Line},
    rules::is_panic,
    trace,
};

/// The longest report that is kept; what follows is counted but not stored.
const LIMIT: usize = 1 << 20;

/// The lines of one report, without what the console put before them.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// Who printed it.
    pub(super) context: Context,
    /// Offset in the log of its first line.
    pub(super) start: u64,
    /// Offset behind its last line.
    pub(super) end: u64,
    /// Offset behind the last line that was looked at for it.
    pub(super) last: u64,
    /// Whether it grows no more.
    pub(super) is_complete: bool,
    before: String,
    text: String,
    lines: Vec<Span>,
    /// How many of the lines are no questionable frames.
    certain: usize,
    /// Whether the rest only repeats it.
    is_cut: bool,
    /// How many of the lines are its own; further ones are of the report that broke in.
    own: Option<usize>,
}

/// The test process of a fuzzer, which its task's name tells: `syz.2.690`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executor {
    /// Which of the processes that ran at the same time.
    pub proc: u32,
    /// Which program it was that the process ran.
    pub id: u64,
}

/// What ran when a crash happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Runner {
    /// The task, `name/pid`.
    pub(super) task: Option<String>,
    /// The CPU that it ran on.
    pub(super) cpu: Option<u32>,
    /// The test process that it is.
    pub(super) executor: Option<Executor>,
}

/// Reads a line `CPU: 0 UID: 0 PID: 1 Comm: init Not tainted 6.1.0 #1`.
fn runner(line: &str) -> Runner {
    static ENDS: LazyLock<[Finder<'_>; 2]> =
        LazyLock::new(|| [" Not tainted", " Tainted: "].map(Finder::new));
    let (mut cpu, mut pid) = (None, None);
    let mut rest = line;
    // Words and their values, in pairs, up to the task's name, which may be anything.
    while let Some((word, behind)) = rest.split_once(' ')
        && word != "Comm:"
    {
        let (value, behind) = behind.split_once(' ').unwrap_or((behind, ""));
        match word {
            "CPU:" => cpu = value.parse().ok(),
            "PID:" => pid = value.parse::<u32>().ok().and(Some(value)),
            _ => {}
        }
        rest = behind;
    }
    let name = rest.strip_prefix("Comm: ");
    let end = name.and_then(|name| ENDS.iter().find_map(|end| end.find(name.as_bytes())));
    let name = name.zip(end).and_then(|(name, end)| name.get(..end)).map(str::trim_end);
    let task = name.zip(pid).map(|(name, pid)| [name, "/", pid].concat());
    Runner { task, cpu, executor: name.and_then(executor) }
}

fn executor(task: &str) -> Option<Executor> {
    let (proc, id) = task.strip_prefix("syz.")?.split_once('.')?;
    Some(Executor { proc: proc.parse().ok()?, id: id.parse().ok()? })
}

#[derive(Clone, Debug)]
struct Span {
    range: Range<usize>,
    questionable: bool,
}

/// The length of a report that is neither short nor long.
const TYPICAL: usize = 4 << 10;

/// How many lines are enough of a report for it to be cut at a panic: what follows repeats it, or is
/// about what follows from it. KMSAN's are short.
const ENOUGH: usize = 22;
const ENOUGH_KMSAN: usize = 16;

impl Report {
    /// A report that begins with `line` at `start`.
    pub(super) fn new(line: Line<'_>, start: u64, end: u64) -> Report {
        let mut report = Report {
            context: line.context,
            start,
            end,
            last: end,
            is_complete: false,
            before: String::new(),
            text: String::with_capacity(TYPICAL),
            lines: Vec::with_capacity(TYPICAL / 64),
            certain: 0,
            own: None,
            is_cut: false,
        };
        report.push(line, end);
        report
    }

    /// Lines of the same context that stand before the first: what the warning is about, a line of
    /// `=`.
    pub(super) fn set_before(&mut self, before: String) {
        self.before = before;
    }

    /// Adds a line, which ends at `end` in the log.
    pub(super) fn push(&mut self, line: Line<'_>, end: u64) {
        self.last = end;
        if self.is_complete {
            return;
        }
        if self.certain > ENOUGH_KMSAN {
            let enough = if self.text.starts_with("BUG: KMSAN") { ENOUGH_KMSAN } else { ENOUGH };
            self.is_cut |= self.certain > enough && is_panic(line.text);
        }
        if self.is_cut
            || self.text.len() + line.text.len() > LIMIT
            || line.text.starts_with("Disabling lock debugging due to kernel taint")
        {
            return;
        }
        let from = self.text.len();
        self.text.push_str(line.text);
        let questionable = !self.lines.is_empty() && trace::is_questionable(line.text);
        self.lines.push(Span { range: from..self.text.len(), questionable });
        self.certain += usize::from(!questionable);
        self.text.push('\n');
        if self.own.is_none() {
            self.end = end;
        }
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> usize {
        self.text.len()
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

    /// What ran, from the line that every oops and warning has: `CPU: 0 PID: 1 Comm: init Not
    /// tainted`.
    pub(super) fn runner(&self) -> Runner {
        let line = self.lines().find(|line| line.starts_with("CPU: "));
        line.map(runner).unwrap_or_default()
    }

    /// Whether words stand anywhere in it.
    pub(super) fn holds(&self, words: &Finder<'_>) -> bool {
        words.find(self.text.as_bytes()).is_some()
    }

    /// The number of the first line that is like this, as [`Report::places`] counts them.
    pub(super) fn position(&self, is_it: impl Fn(&str) -> bool) -> Option<usize> {
        self.lines.iter().position(|span| {
            !span.questionable && self.text.get(span.range.clone()).is_some_and(&is_it)
        })
    }

    /// The lines in which a place in a source file may stand, as `f.c:12` does, with their numbers.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, &str)> {
        let bytes = self.text.as_bytes();
        let mut last = None;
        // Reports have fewer dots than colons.
        memchr::memchr_iter(b'.', bytes).filter_map(move |at| {
            let is_place = matches!(
                bytes.get(at + 1..)?,
                [b'c' | b'h' | b'S', b':', b'0'..=b'9', ..] | [b'r', b's', b':', b'0'..=b'9', ..]
            );
            if !is_place {
                return None;
            }
            let number = self.lines.partition_point(|span| span.range.end <= at);
            let span = self.lines.get(number).filter(|span| !span.questionable)?;
            let line = self.text.get(span.range.clone())?;
            (last.replace(number) != Some(number)).then_some((number, line))
        })
    }

    /// The report as people read it.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.before.len() + self.text.len());
        text.push_str(&self.before);
        let own = self.lines.get(..self.own.unwrap_or(usize::MAX)).unwrap_or(&self.lines);
        for lines in own.split(|span| span.questionable) {
            if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                // With the last one's newline.
                let lines = first.range.start..last.range.end + 1;
                text.push_str(self.text.get(lines).unwrap_or_default());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Executor, Runner, runner};

    #[test]
    fn what_ran_is_read() {
        let ran = runner("CPU: 3 UID: 0 PID: 5599 Comm: syz.0.104 Not tainted 6.10.0 #20");
        assert_eq!(
            ran,
            Runner {
                task: Some("syz.0.104/5599".into()),
                cpu: Some(3),
                executor: Some(Executor { proc: 0, id: 104 }),
            }
        );
        let ran = runner("CPU: 0 PID: 1 Comm: my task Tainted: G        W          6.1.0 #1");
        assert_eq!((ran.task.as_deref(), ran.executor), (Some("my task/1"), None));
        assert_eq!(runner("CPU: x PID: Comm: syz.a.b Not tainted"), Runner::default());
    }
}
