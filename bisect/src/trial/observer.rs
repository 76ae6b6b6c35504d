//! Follows a machine: what it prints and passes becomes evidence.

use vmm::{ConsoleLine, Ending, Milestone, Summary};

use super::crashes::{Crashes, Seen};
use super::facts::Facts;
use super::kernel_log::{Shown, UnseenLog};
use super::{Job, Outcome, SeenCrash, Target, TrialEvent, TrialReport};
use crate::crash::{Crash, Event, Phase, Scanner};

/// Whether the machine has anything left to say that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It has.
    GoOn,
    /// Only the rest of a report.
    FinishReport,
    /// Nothing: what the trial says is decided.
    Stop,
}

/// Follows one machine.
#[derive(Debug)]
pub(super) struct Observer<'a> {
    job: &'a Job,
    scanner: Scanner,
    facts: Facts,
    milestones: Vec<(Milestone, u64)>,
    crashes: Crashes,
    now_us: u64,
    shown: Shown,
    /// The kernel's time when the workload was started.
    workload_us: Option<u64>,
}

impl<'a> Observer<'a> {
    /// An observer of the machine that runs `job`.
    pub(super) fn new(job: &'a Job) -> Observer<'a> {
        Observer {
            job,
            scanner: Scanner::new(),
            facts: Facts::default(),
            milestones: Vec::new(),
            crashes: Crashes::default(),
            now_us: 0,
            shown: Shown::default(),
            workload_us: None,
        }
    }

    /// Takes in a line of the console.
    pub(super) fn line(&mut self, line: ConsoleLine, on_event: &mut dyn FnMut(TrialEvent)) -> Flow {
        self.now_us = line.at_us;
        if self.phase() == Phase::Boot {
            self.facts.observe(&line.text);
        }
        self.shown.push(&line.text);
        let mut events = self.scanner.push(line.text.as_bytes());
        events.extend(self.scanner.push(b"\n"));
        on_event(TrialEvent::Line(line));
        let complete = events.iter().any(|event| matches!(event, Event::Crash(_)));
        self.take_in(events, on_event);
        let goes_on = self.job.goes_on || self.job.target == Target::NoBoot;
        match self.crashes.kept.is_empty() || goes_on {
            true => Flow::GoOn,
            false if complete => Flow::Stop,
            false => Flow::FinishReport,
        }
    }

    /// Takes in a milestone.
    pub(super) fn milestone(
        &mut self,
        milestone: Milestone,
        at_us: u64,
        on_event: &mut dyn FnMut(TrialEvent),
    ) -> Flow {
        self.now_us = at_us;
        self.milestones.push((milestone, at_us));
        if milestone == Milestone::WorkloadStarted {
            self.workload_us = Some(self.shown.last_us());
        }
        on_event(TrialEvent::Milestone { milestone, at_us });
        match self.job.target {
            Target::NoBoot if milestone >= Milestone::InitReached => Flow::Stop,
            _ => Flow::GoOn,
        }
    }

    /// Takes in the end.
    pub(super) fn end(
        mut self,
        summary: Summary,
        on_event: &mut dyn FnMut(TrialEvent),
    ) -> TrialReport {
        let events = self.scanner.finish();
        self.take_in(events, on_event);
        // The first in the log is the first that happened, whichever got its title first.
        self.crashes.kept.sort_by_key(|seen| seen.seen.crash.start);
        let unseen_log = self.read_log(&summary, on_event);
        self.facts.agent(&summary.facts);
        self.facts.memory(summary.pv_spinlocks);
        let Facts { cpus_online, pv_spinlocks } = self.facts;
        let (crashes, crashes_seen, titles) = self.crashes.finish();
        let report = TrialReport {
            // Decided below, from all the rest.
            outcome: Outcome::Clean,
            crashes,
            crashes_seen,
            titles,
            machine: Some(summary),
            milestones: self.milestones,
            cpus_online,
            pv_spinlocks,
            unseen_log,
            overhead: None,
        };
        TrialReport { outcome: report.decide(self.job, &report.crashes, None), ..report }
    }

    /// Takes in what the kernel's own log has that the console has not.
    fn read_log(
        &mut self,
        summary: &Summary,
        on_event: &mut dyn FnMut(TrialEvent),
    ) -> Option<UnseenLog> {
        let tells_all = matches!(summary.ending, Ending::Exit { .. } | Ending::AgentFailed { .. });
        let log = match summary.kernel_log.as_ref()? {
            Ok(log) => log,
            Err(problem) => {
                let log = UnseenLog { problem: Some(*problem), ..UnseenLog::default() };
                return (!tells_all).then_some(log);
            }
        };
        let (crashes, lines) = self.shown.unseen(log);
        let found = !crashes.is_empty();
        for unseen in crashes {
            let after = self.workload_us.is_some_and(|start| unseen.time_us > start);
            let phase = if after { Phase::Workload } else { Phase::Boot };
            let seen = SeenCrash { phase, at_us: summary.wall_us, crash: unseen.crash };
            self.crashes.count(&seen.crash.title);
            self.keep(Seen { time_us: unseen.time_us, seen }, on_event);
        }
        // The kernel's clock is all that tells in which order it happened.
        self.crashes.kept.sort_by_key(|seen| seen.time_us);
        (found || !tells_all).then_some(UnseenLog {
            source: Some(log.source),
            problem: None,
            lines,
        })
    }

    fn phase(&self) -> Phase {
        let started = |(milestone, _): &(Milestone, u64)| *milestone == Milestone::WorkloadStarted;
        if self.milestones.iter().any(started) { Phase::Workload } else { Phase::Boot }
    }

    fn take_in(&mut self, events: Vec<Event>, on_event: &mut dyn FnMut(TrialEvent)) {
        for event in events {
            match event {
                Event::Sighted(crash) => self.crash(crash, on_event),
                Event::Crash(crash) => {
                    self.crashes.count(&crash.title);
                    self.crash(crash, on_event);
                }
                Event::Panic { since, at } => {
                    let kept = self.crashes.kept.iter_mut();
                    kept.for_each(|seen| seen.seen.crash.note_panic(since, at));
                }
            }
        }
    }

    /// A crash that is new is announced; one that is known was only cut short before.
    fn crash(&mut self, crash: Crash, on_event: &mut dyn FnMut(TrialEvent)) {
        let mut kept = self.crashes.kept.iter_mut();
        match kept.find(|known| known.seen.crash.start == crash.start) {
            Some(known) => known.seen.crash = crash,
            None => {
                let seen = SeenCrash { phase: self.phase(), at_us: self.now_us, crash };
                self.keep(Seen { time_us: self.shown.last_us(), seen }, on_event);
            }
        }
    }

    fn keep(&mut self, new: Seen, on_event: &mut dyn FnMut(TrialEvent)) {
        let event = TrialEvent::Crash(Box::new(new.seen.clone()));
        if self.crashes.keep(new) {
            on_event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm::{ConsoleLine, Ending, Milestone, Summary};

    use super::{Flow, Observer};
    use crate::crash::Phase;
    use crate::trial::tests::{WARNING, job};
    use crate::trial::{Job, Outcome, Target, TrialEvent, TrialReport};

    struct Run {
        flows: Vec<Flow>,
        events: Vec<TrialEvent>,
        report: TrialReport,
    }

    fn run(job: &Job, boot: &str, workload: &str, ending: Ending) -> Run {
        let (mut flows, mut events) = (Vec::new(), Vec::new());
        let mut observer = Observer::new(job);
        let mut sink = |event| events.push(event);
        let line = |text: &str| ConsoleLine { at_us: 5, text: text.into() };
        for text in boot.lines() {
            flows.push(observer.line(line(text), &mut sink));
        }
        if !workload.is_empty() {
            flows.push(observer.milestone(Milestone::InitReached, 6, &mut sink));
            flows.push(observer.milestone(Milestone::WorkloadStarted, 7, &mut sink));
        }
        for text in workload.lines() {
            flows.push(observer.line(line(text), &mut sink));
        }
        let report = observer.end(Summary::new(ending), &mut sink);
        Run { flows, events, report }
    }

    const BOOT: &str = "kvm-guest: PV spinlocks enabled\nsmp: Brought up 1 node, 4 CPUs\n";

    #[test]
    fn a_hit_is_let_finish_and_then_stopped() {
        let run = run(&job(), BOOT, WARNING, Ending::Stopped);
        assert_eq!(run.report.outcome, Outcome::Hit { title: "WARNING in kvm_wait".into() });
        assert_eq!(run.report.crashes.len(), 1);
        assert_eq!(run.report.crashes[0].phase, Phase::Workload);
        assert!(run.flows.contains(&Flow::FinishReport));
        let announced = |event: &&TrialEvent| matches!(event, TrialEvent::Crash(_));
        assert_eq!(run.events.iter().filter(announced).count(), 1);
    }

    #[test]
    fn a_crash_that_the_console_did_not_show_is_found_in_the_log() {
        use vmm::forensics::{KernelLog, LogRecord, LogSource};

        let record = |sequence, text: &str| LogRecord {
            sequence,
            time_ns: sequence * 1_000_000_000,
            level: 4,
            text: text.into(),
        };
        let texts = ["smp: Brought up 1 node, 4 CPUs"].into_iter().chain(WARNING.lines());
        let records = (1..).zip(texts).map(|(sequence, text)| record(sequence, text)).collect();
        let kernel_log = Some(Ok(KernelLog { source: LogSource::Search, records }));
        let ended = |console: &str| {
            let job = job();
            let mut observer = Observer::new(&job);
            for text in console.lines() {
                observer.line(ConsoleLine { at_us: 5, text: text.into() }, &mut |_| {});
            }
            observer.milestone(Milestone::WorkloadStarted, 7, &mut |_| {});
            let summary = Summary::new(Ending::Exit { status: 0 });
            observer.end(Summary { kernel_log: kernel_log.clone(), ..summary }, &mut |_| {})
        };
        let boot = "[    0.5] kvm-guest: PV spinlocks enabled\n[    1.000000] smp: Brought up 1 node, 4 CPUs\n";
        let quiet = ended(boot);
        assert_eq!(quiet.outcome, Outcome::Hit { title: "WARNING in kvm_wait".into() });
        assert_eq!(quiet.crashes[0].phase, Phase::Workload);
        assert_eq!(quiet.unseen_log.map(|log| log.lines.len()), Some(WARNING.lines().count()));
        // On the console as well, it is one crash.
        let stamped = |(second, line)| format!("[{second:5}.000000] {line}\n");
        let warning: String = (2..).zip(WARNING.lines()).map(stamped).collect();
        let loud = ended(&format!("{boot}{warning}"));
        assert_eq!((loud.crashes.len(), loud.unseen_log), (1, None));
    }

    #[test]
    fn a_quiet_workload_is_clean_and_its_words_are_no_facts() {
        let clean = run(&job(), BOOT, "done\n", Ending::Exit { status: 0 });
        assert_eq!(clean.report.outcome, Outcome::Clean);
        assert_eq!(clean.report.cpus_online, Some(4));
        assert_eq!(clean.report.pv_spinlocks, Some(true));
        assert!(clean.flows.iter().all(|flow| *flow == Flow::GoOn));
        let liar = run(&job(), "Linux version 6.1\n", BOOT, Ending::Exit { status: 0 });
        assert!(matches!(liar.report.outcome, Outcome::Invalid { .. }));
    }

    #[test]
    fn a_job_that_goes_on_meets_whatever_follows_and_says_the_same() {
        let going_on = Job { goes_on: true, ..job() };
        let (vfs, late) =
            ("VFS: Close: file count is 0\n", "kernel BUG at lib/x.c:1!\nRIP: 0010:f+0x1/0x2\n");
        let workload = format!("{vfs}{}{late}done\n", WARNING.repeat(200));
        let run = run(&going_on, BOOT, &workload, Ending::Exit { status: 0 });
        assert!(run.flows.iter().all(|flow| *flow == Flow::GoOn));
        let titles: Vec<_> = run.report.crashes.iter().map(|seen| &*seen.crash.title).collect();
        let first = "VFS: Close: file count is zero (use-after-free)";
        assert_eq!(titles[..2], [first, "WARNING in kvm_wait"]);
        assert_eq!(titles.len(), 100, "and no more are kept");
        assert_eq!(titles[99], "kernel BUG in f", "but the first of each title is");
        assert_eq!(run.report.crashes_seen, 202);
        let counts = run.report.titles.iter().map(|it| (&*it.title, it.count));
        let counts: Vec<_> = counts.collect();
        assert_eq!(counts[0], ("WARNING in kvm_wait", 200));
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert_eq!(run.report.outcome, Outcome::Foreign { title: first.into() });
    }

    #[test]
    fn a_crash_in_boot_does_not_end_the_search_for_a_boot() {
        let no_boot = Job { target: Target::NoBoot, ..job() };
        let boot = format!("{BOOT}{WARNING}");
        let run = run(&no_boot, &boot, "x", Ending::Stopped);
        assert_eq!(run.report.outcome, Outcome::Clean);
        assert_eq!(run.report.crashes[0].phase, Phase::Boot);
        assert_eq!(run.flows.iter().position(|flow| *flow == Flow::Stop), Some(14));
    }
}
