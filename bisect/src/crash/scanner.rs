//! Bytes in, crashes out, while the log still arrives.

use std::collections::VecDeque;

use memchr::{memchr, memrchr};

use super::{
    Crash,
    line::{self, Context, Line},
    report::Report,
    rules::{Groups, Hit, RuleSet},
    title, trace,
};

/// Longer lines are cut.
const LONGEST_LINE: usize = 16 << 10;

/// How far behind the last line of a report the log may go on before the report is taken for
/// complete.
const PATIENCE: u64 = 256 << 10;

/// What the scanner has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A crash as far as it has been printed: its title is certain, its report may still grow. The
    /// same crash follows as [`Event::Crash`].
    Sighted(Crash),
    /// A crash, complete.
    Crash(Crash),
    /// The kernel panicked; the offset is that of the line that says so. What crashed before it
    /// and has been reported already panicked after all.
    Panic(u64),
}

/// Finds the crashes in a console log that arrives in pieces.
///
/// The result does not depend on how the log was cut up.
///
/// ```
/// use vmbisect::crash::{Event, Scanner};
///
/// let mut scanner = Scanner::new();
/// let mut events = scanner.push(b"VFS: Close: file count is 0\n");
/// events.extend(scanner.finish());
/// let Some(Event::Crash(crash)) = events.last() else { panic!("{events:?}") };
/// assert_eq!(crash.title, "VFS: Close: file count is zero (use-after-free)");
/// ```
#[derive(Debug)]
pub struct Scanner {
    set: &'static RuleSet,
    /// Offset in the log of the first byte of `partial`.
    position: u64,
    /// A line whose end has not come yet.
    partial: Vec<u8>,
    /// How much of that line was thrown away because it is too long.
    dropped: u64,
    /// Reports whose end has not come yet.
    open: VecDeque<Open>,
    events: Vec<Event>,
    /// Whether a kernel is known to have run already.
    alive: bool,
}

/// A report that still grows.
#[derive(Debug)]
struct Open {
    rule: usize,
    groups: Groups,
    report: Report,
    panicked: bool,
    sighted: bool,
    /// Whether other CPUs were asked for their stacks, so that their lines belong to it too.
    all_cpus: bool,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    /// A scanner at the start of a log.
    pub fn new() -> Scanner {
        Scanner {
            set: RuleSet::standard(),
            position: 0,
            partial: Vec::new(),
            dropped: 0,
            open: VecDeque::new(),
            events: Vec::new(),
            alive: false,
        }
    }

    /// Reads the next piece of the log and gives what has become certain by it.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        if !self.partial.is_empty() || self.dropped > 0 {
            let Some(end) = memchr(b'\n', bytes) else {
                self.keep(bytes);
                return std::mem::take(&mut self.events);
            };
            let (head, tail) = bytes.split_at(end + 1);
            bytes = tail;
            self.keep(head);
            let line = std::mem::take(&mut self.partial);
            let end = self.position + line.len() as u64 + std::mem::take(&mut self.dropped);
            let may_begin = self.set.candidates(&line).next().is_some();
            if may_begin || !self.open.is_empty() {
                self.line(&line, self.position, end, may_begin);
            }
            self.position = end;
            self.partial = line;
            self.partial.clear();
        }
        let complete = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at(complete);
        self.lines(lines);
        self.keep(rest);
        std::mem::take(&mut self.events)
    }

    /// The log has ended: gives what was still open.
    pub fn finish(&mut self) -> Vec<Event> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            let end = self.position + line.len() as u64 + std::mem::take(&mut self.dropped);
            let may_begin = self.set.candidates(&line).next().is_some();
            self.line(&line, self.position, end, may_begin);
            self.position = end;
        }
        while let Some(open) = self.open.pop_front() {
            self.close(open);
        }
        std::mem::take(&mut self.events)
    }

    /// The crashes whose reports have begun and not ended, as they would be if the log ended here.
    pub fn pending(&self) -> Vec<Crash> {
        self.open.iter().filter_map(|open| judge(self.set, open)).collect()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.partial.len()).min(bytes.len());
        self.partial.extend_from_slice(&bytes[..room]);
        self.dropped += (bytes.len() - room) as u64;
    }

    /// Whole lines, of which most begin nothing.
    fn lines(&mut self, bytes: &[u8]) {
        let set = self.set;
        let base = self.position;
        let mut candidates = set.candidates(bytes).peekable();
        let mut at = 0;
        while at < bytes.len() {
            if self.open.is_empty() {
                // Nothing open: go to the line of the next candidate.
                let Some(&candidate) = candidates.peek() else { break };
                at = memrchr(b'\n', &bytes[at..candidate]).map_or(at, |end| at + end + 1);
            }
            let end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end + 1);
            let mut may_begin = false;
            while candidates.next_if(|&candidate| candidate < end).is_some() {
                may_begin = true;
            }
            let line = &bytes[at..end.min(at + LONGEST_LINE)];
            self.line(line, base + at as u64, base + end as u64, may_begin);
            at = end;
        }
        self.position = base + bytes.len() as u64;
    }

    fn line(&mut self, raw: &[u8], start: u64, end: u64, may_begin: bool) {
        let line = line::parse(raw);
        while self.open.front().is_some_and(|open| start.saturating_sub(open.report.end) > PATIENCE)
            && let Some(open) = self.open.pop_front()
        {
            self.close(open);
        }
        let hit = if may_begin { self.set.find(line.text) } else { None };
        if may_begin && memchr::memmem::find(line.text, super::rules::PANIC.as_bytes()).is_some() {
            for open in &mut self.open {
                open.panicked = true;
            }
            self.events.push(Event::Panic(start));
        }
        match hit {
            Some(hit) if !self.continues(&hit, line.context) => self.begin(hit, line, start, end),
            _ => self.append(line, end),
        }
    }

    /// Whether a line that could begin a report is part of one that has begun.
    fn continues(&self, hit: &Hit, context: Context) -> bool {
        let Some(compiled) = self.set.get(hit.rule) else { return false };
        compiled.rule.continues && self.open.iter().any(|open| open.report.context == context)
    }

    fn begin(&mut self, hit: Hit, line: Line<'_>, start: u64, end: u64) {
        let mut index = 0;
        while let Some(open) = self.open.get_mut(index) {
            if open.report.context != line.context {
                index += 1;
                continue;
            }
            // Where the lines are known to be of one task, a report that has not said enough yet
            // was broken off by what happened next, and may find its stack there.
            if line.context.is_known()
                && !open.report.is_broken()
                && judge(self.set, open).is_some_and(|crash| crash.corrupted.is_some())
            {
                open.report.break_in();
                index += 1;
                continue;
            }
            if let Some(open) = self.open.remove(index) {
                self.close(open);
            }
        }
        self.open.push_back(Open {
            rule: hit.rule,
            groups: hit.groups,
            report: Report::new(line, start, end),
            panicked: memchr::memmem::find(line.text, super::rules::PANIC.as_bytes()).is_some(),
            sighted: false,
            all_cpus: false,
        });
        let needs_no_more = self.set.get(hit.rule).is_some_and(|rule| rule.rule.is_one_line());
        self.sight(needs_no_more, line.context);
    }

    /// Tells of the report of this context, once, if its title is certain.
    fn sight(&mut self, certain: bool, context: Context) {
        if !certain {
            return;
        }
        for open in self.open.iter_mut().filter(|open| open.report.context == context) {
            if !open.sighted
                && let Some(crash) = judge(self.set, open)
                && crash.corrupted.is_none()
            {
                open.sighted = true;
                self.events.push(Event::Sighted(crash));
            }
        }
    }

    fn append(&mut self, line: Line<'_>, end: u64) {
        for open in &mut self.open {
            let other_cpu = open.all_cpus && matches!(line.context, Context::Cpu(_));
            if open.report.context != line.context && !other_cpu {
                continue;
            }
            open.all_cpus |= memchr::memmem::find(line.text, b"Sending NMI from CPU").is_some();
            open.report.push(line, end);
        }
        self.sight(trace::ends_stack(line.text), line.context);
    }

    fn close(&mut self, open: Open) {
        if let Some(crash) = judge(self.set, &open) {
            self.events.push(Event::Crash(crash));
        }
    }
}

fn judge(set: &RuleSet, open: &Open) -> Option<Crash> {
    let compiled = set.get(open.rule)?;
    let verdict = title::judge(compiled, &open.groups, &open.report)?;
    Some(Crash {
        kind: compiled.rule.kind(&verdict.title),
        title: verdict.title,
        alt_titles: verdict.alts,
        frame: verdict.frame,
        guilty_file: None,
        task: None,
        cpu: None,
        start: open.report.start,
        end: open.report.end,
        report: open.report.text(),
        corrupted: verdict.corrupted,
        suppressed: compiled.rule.suppressed,
        panicked: open.panicked,
    })
}
