//! The reports that are open: which line belongs to which, and when one is complete.

use std::borrow::Cow;

use memchr::memrchr;

use super::{
    Crash, Event, guilty,
    line::{self, Context, Line},
    report::Report,
    rules::{self, BOOT, Groups, Hit, Joins, RuleSet},
    title, trace,
};

/// How far behind the last line of a report the log may go on before the report is taken for
/// complete.
const PATIENCE: u64 = 256 << 10;

/// How many reports may be open at once; a machine has no more CPUs that die at the same moment.
const MOST_OPEN: usize = 16;

/// How many lines before the first one of a report are kept with it, and how many where they are
/// known to be of the same task.
const BEFORE: usize = 5;
const BEFORE_TASK: usize = 50;

/// How much of the log is searched for these lines, and how long one may be.
const BEFORE_BYTES: usize = 8 << 10;
const BEFORE_LINE: usize = 2 << 10;

/// Where a line is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// What is known of the log before it.
    pub(super) past: &'a [u8],
    /// Offset in the log of its first byte.
    pub(super) start: u64,
    /// Offset behind its newline.
    pub(super) end: u64,
}

/// The reports that are open.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    set: &'static RuleSet,
    open: Vec<Open>,
    events: Vec<Event>,
    /// Whether the log begins with a boot, so that the first one is none that came unexpectedly.
    boots: Option<bool>,
    /// Where the last report ended, or the current boot began.
    reported: u64,
    /// Where the current boot began.
    booted: u64,
    /// Whether colours may be in the lines that come.
    coloured: bool,
}

/// A report that still grows.
#[derive(Clone, Debug)]
struct Open {
    rule: usize,
    groups: Groups,
    report: Report,
    panicked: bool,
    /// What it said when that was certain, which has been told of, and how many bytes it had then.
    sighted: Option<(Crash, usize)>,
    /// How many bytes it must have before that is tried again: twice as many each time, so that a
    /// report that never becomes certain costs no more than its length.
    sight_at: usize,
    /// Whether other CPUs were asked for their stacks, so that their lines belong to it too.
    all_cpus: bool,
}

impl Tracker {
    /// No report yet.
    pub(super) fn new(set: &'static RuleSet) -> Tracker {
        Tracker {
            set,
            open: Vec::new(),
            events: Vec::new(),
            boots: None,
            reported: 0,
            booted: 0,
            coloured: false,
        }
    }

    /// Whether no report is open, so that only lines matter that may begin one.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// What has become certain since the last time.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The open reports, as they would be if the log ended here.
    pub(super) fn pending(&self) -> Vec<Crash> {
        self.open.iter().filter_map(|open| judge(self.set, open)).collect()
    }

    /// Looks at what the next lines are in, as a whole: at the log's first words, and for colours.
    pub(super) fn lines_of(&mut self, text: &[u8]) {
        self.coloured = line::is_coloured(text);
        if self.boots.is_none() {
            let mut lines = text.split(|&byte| byte == b'\n');
            let first = lines.find(|line| !line.trim_ascii().is_empty());
            self.boots = first.map(rules::is_boot);
        }
    }

    /// Looks at a line, maybe cut.
    pub(super) fn line(&mut self, raw: &str, place: Place<'_>, may_begin: bool) {
        let Place { past, start, end } = place;
        let raw = if self.coloured { line::plain(raw) } else { Cow::Borrowed(raw) };
        let mut line = line::parse(&raw);
        let is_over = |open: &Open| start.saturating_sub(open.report.last) > PATIENCE;
        while self.open.first().is_some_and(is_over) {
            self.close_first();
        }
        if !may_begin {
            return self.append(line, end);
        }
        let mut hit = self.set.find(line.text);
        if hit.is_none() && line.text.len() < raw.len() {
            // What stands before the stamp may be no prefix, but a line that another one broke into.
            let whole = line::unstamped(&raw);
            hit = self.set.find(whole.text);
            line = if hit.is_some() { whole } else { line };
        }
        let panic = rules::is_panic(line.text);
        if panic {
            self.open.iter_mut().for_each(|open| open.panicked = true);
            self.events.push(Event::Panic { since: self.booted, at: start });
        }
        if line.text.starts_with(BOOT) {
            self.close_all();
            self.booted = start;
            self.reported = start;
        }
        match hit {
            // A symbolized report has its first line once for each function inlined there; the last
            // one is the function that was called.
            Some(hit) if self.repeats(&hit, line.context) => {
                if let Some(open) = self.open.last_mut() {
                    open.groups = hit.groups;
                    open.report.push(line, end);
                }
            }
            Some(hit) if !self.continues(&hit, line.context) => {
                self.close_context(line.context);
                let mut report = Report::new(line, start, end);
                let since =
                    usize::try_from(start.saturating_sub(self.reported)).unwrap_or(usize::MAX);
                let from = past.len().saturating_sub(since);
                report.set_before(before(past.get(from..).unwrap_or_default(), line.context));
                self.begin(hit, report, panic);
            }
            _ => self.append(line, end),
        }
    }

    /// Closes all reports.
    pub(super) fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close_first();
        }
    }

    /// Whether a line that could begin a report is part of one that has begun, or begins nothing.
    fn continues(&mut self, hit: &Hit, context: Context) -> bool {
        let Some(compiled) = self.set.get(hit.rule) else { return true };
        let rule = compiled.rule;
        if rule.reboot && self.boots.replace(false) == Some(true) {
            return true;
        }
        let mut same = self.open.iter().filter(|open| open.report.context == context);
        same.any(|open| match rule.joins {
            Joins::None => false,
            Joins::Same => open.rule == hit.rule,
            Joins::Announced => {
                let announced = self.set.get(open.rule).is_some_and(|c| c.rule.kind == rule.kind);
                announced && open.rule != hit.rule
            }
            Joins::Any => true,
        })
    }

    /// Whether a line is the one before once more.
    fn repeats(&self, hit: &Hit, context: Context) -> bool {
        self.open.last().is_some_and(|open| {
            let mut lines = open.report.lines();
            open.rule == hit.rule
                && open.report.context == context
                && lines.all(|line| line.contains(" [inline]"))
        })
    }

    /// Makes room for a new report of a context: whatever of it is open ends here.
    fn close_context(&mut self, context: Context) {
        for open in self.open.iter_mut().filter(|open| open.report.context == context) {
            // Where all lines are of one task, as far as can be told, a report that has not said enough yet
            // was broken off by what happened next, and may find its stack there.
            if context != Context::Stamped
                && !open.report.is_broken()
                && open.sighted.is_none()
                && name(self.set, open).is_some_and(|crash| crash.corrupted.is_some())
            {
                open.report.break_in();
            } else {
                open.report.is_complete = true;
            }
        }
        self.close_complete();
    }

    fn begin(&mut self, hit: Hit, report: Report, panicked: bool) {
        let certain = self.set.get(hit.rule).is_some_and(|rule| rule.rule.is_one_line());
        let Hit { rule, groups } = hit;
        let context = report.context;
        if self.open.len() >= MOST_OPEN {
            self.close_first();
        }
        self.open.push(Open {
            rule,
            groups,
            report,
            panicked,
            sighted: None,
            sight_at: 0,
            all_cpus: false,
        });
        if certain {
            self.sight(context);
        }
    }

    fn append(&mut self, line: Line<'_>, end: u64) {
        for open in &mut self.open {
            let other_cpu = open.all_cpus && matches!(line.context, Context::Cpu(_));
            if open.report.context == line.context || other_cpu {
                open.all_cpus |= line.text.starts_with("Sending NMI from CPU");
                open.report.push(line, end);
            }
        }
        if trace::ends_stack(line.text) {
            self.sight(line.context);
        }
    }

    /// Tells of the report of this context, once, if its title is certain.
    fn sight(&mut self, context: Context) {
        for open in self.open.iter_mut().filter(|open| open.report.context == context) {
            if open.sighted.is_some() || open.report.size() < open.sight_at {
                continue;
            }
            open.sight_at = 2 * open.report.size();
            let Some(crash) = judge(self.set, open) else { continue };
            if crash.corrupted.is_none() {
                self.events.push(Event::Sighted(crash.clone()));
                open.sighted = Some((crash, open.report.size()));
            }
        }
    }

    /// Closes the complete reports that no open one stands before, so that crashes come in order.
    fn close_complete(&mut self) {
        while self.open.first().is_some_and(|open| open.report.is_complete) {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        if !self.open.is_empty() {
            let mut open = self.open.remove(0);
            self.reported = self.reported.max(open.report.end);
            let crash = match open.sighted.take() {
                // Nothing has been added since.
                Some((crash, size)) if size == open.report.size() => {
                    Some(Crash { end: open.report.end, panicked: open.panicked, ..crash })
                }
                Some((crash, _)) => Some(fill(self.set, &open, crash)),
                None => judge(self.set, &open),
            };
            self.events.extend(crash.map(Event::Crash));
        }
    }
}

/// The last lines of `past` that are of this context, as text.
fn before(past: &[u8], context: Context) -> String {
    let most = if matches!(context, Context::Task(_)) { BEFORE_TASK } else { BEFORE };
    let mut lines = Vec::new();
    let mut end = past.len();
    while end > 0 && past.len() - end < BEFORE_BYTES && lines.len() < most {
        // `end` is behind a newline.
        let above = past.get(..end - 1).unwrap_or_default();
        let start = memrchr(b'\n', above).map_or(0, |newline| newline + 1);
        if end - start > BEFORE_LINE {
            break;
        }
        let raw = String::from_utf8_lossy(past.get(start..end).unwrap_or_default());
        let line = line::parse(&raw);
        if line.context == context && !line.text.is_empty() && !trace::is_questionable(line.text) {
            lines.push(line.text.to_owned());
        }
        end = start;
    }
    lines.iter().rev().flat_map(|line| [line, "\n"]).collect()
}

/// The crash as far as its report has been printed.
fn judge(set: &RuleSet, open: &Open) -> Option<Crash> {
    let crash = match &open.sighted {
        // What was certain stays so.
        Some((crash, _)) => crash.clone(),
        None => name(set, open)?,
    };
    Some(fill(set, open, crash))
}

/// A crash of which no more is known than what its rule says of the report.
fn name(set: &RuleSet, open: &Open) -> Option<Crash> {
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
        executor: None,
        start: open.report.start,
        end: open.report.end,
        report: String::new(),
        corrupted: verdict.corrupted,
        suppressed: compiled.rule.suppressed,
        panicked: false,
    })
}

/// The crash with what the report says now, which may have grown.
fn fill(set: &RuleSet, open: &Open, crash: Crash) -> Crash {
    let is_stall = set.get(open.rule).is_some_and(|compiled| compiled.rule.is_stall());
    let runner = open.report.runner();
    Crash {
        guilty_file: guilty::file(&open.report, is_stall),
        task: runner.task,
        cpu: runner.cpu,
        executor: runner.executor,
        end: open.report.end,
        report: open.report.text(),
        panicked: open.panicked,
        ..crash
    }
}
