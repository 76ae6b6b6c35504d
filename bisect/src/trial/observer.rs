//! Follows a machine: what it prints and passes becomes evidence.

use vmm::{ConsoleLine, Milestone, Summary};

use super::facts::Facts;
use super::outcome::{Evidence, decide};
use super::{Job, SeenCrash, Target, TrialEvent, TrialReport};
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
    crashes: Vec<SeenCrash>,
    now_us: u64,
}

impl<'a> Observer<'a> {
    /// An observer of the machine that runs `job`.
    pub(super) fn new(job: &'a Job) -> Observer<'a> {
        Observer {
            job,
            scanner: Scanner::new(),
            facts: Facts::default(),
            milestones: Vec::new(),
            crashes: Vec::new(),
            now_us: 0,
        }
    }

    /// Takes in a line of the console.
    pub(super) fn line(&mut self, line: ConsoleLine, on_event: &mut dyn FnMut(TrialEvent)) -> Flow {
        self.now_us = line.at_us;
        if self.phase() == Phase::Boot {
            self.facts.observe(&line.text);
        }
        let mut events = self.scanner.push(line.text.as_bytes());
        events.extend(self.scanner.push(b"\n"));
        on_event(TrialEvent::Line(line));
        let complete = events.iter().any(|event| matches!(event, Event::Crash(_)));
        self.take_in(events, on_event);
        match self.crashes.is_empty() || self.job.target == Target::NoBoot {
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
        self.crashes.sort_by_key(|seen| seen.crash.start);
        self.facts.agent(&summary.facts);
        self.facts.memory(summary.pv_spinlocks);
        let Facts { cpus_online, pv_spinlocks } = self.facts;
        let outcome = decide(&Evidence {
            target: &self.job.target,
            crashes: &self.crashes,
            ending: &summary.ending,
            reached: self.milestones.iter().map(|(milestone, _)| *milestone).max(),
            vcpus: self.job.vcpus,
            cpus_online,
            require_pv_spinlocks: self.job.require_pv_spinlocks,
            pv_spinlocks,
        });
        TrialReport {
            outcome,
            crashes: self.crashes,
            machine: Some(summary),
            milestones: self.milestones,
            cpus_online,
            pv_spinlocks,
            overhead: None,
        }
    }

    fn phase(&self) -> Phase {
        let started = |(milestone, _): &(Milestone, u64)| *milestone == Milestone::WorkloadStarted;
        if self.milestones.iter().any(started) { Phase::Workload } else { Phase::Boot }
    }

    fn take_in(&mut self, events: Vec<Event>, on_event: &mut dyn FnMut(TrialEvent)) {
        for event in events {
            match event {
                Event::Sighted(crash) | Event::Crash(crash) => self.crash(crash, on_event),
                Event::Panic { since, at } => {
                    let of_this_boot =
                        |seen: &&mut SeenCrash| (since..=at).contains(&seen.crash.start);
                    self.crashes
                        .iter_mut()
                        .filter(of_this_boot)
                        .for_each(|s| s.crash.panicked = true);
                }
            }
        }
    }

    /// A crash that is new is announced; one that is known was only cut short before.
    fn crash(&mut self, crash: Crash, on_event: &mut dyn FnMut(TrialEvent)) {
        match self.crashes.iter_mut().find(|seen| seen.crash.start == crash.start) {
            Some(known) => known.crash = crash,
            None => {
                let seen = SeenCrash { phase: self.phase(), at_us: self.now_us, crash };
                on_event(TrialEvent::Crash(Box::new(seen.clone())));
                self.crashes.push(seen);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm::{ConsoleLine, Ending, Milestone, Summary};

    use super::{Flow, Observer};
    use crate::crash::Phase;
    use crate::trial::tests::job;
    use crate::trial::{Job, Outcome, Target, TrialEvent, TrialReport};

    const WARNING: &str = "\
------------[ cut here ]------------
raw_local_irq_restore() called with IRQs enabled
WARNING: CPU: 1 PID: 42 at kernel/locking/irqflag-debug.c:10 warn_bogus_irq_restore+0x1d/0x20
CPU: 1 PID: 42 Comm: spin Not tainted 6.1.192 #1
RIP: 0010:warn_bogus_irq_restore+0x1d/0x20
Call Trace:
 <TASK>
 kvm_wait+0x34/0x40
 __pv_queued_spin_lock_slowpath+0x278/0x2a0
 _raw_spin_lock+0x2a/0x30
 </TASK>
---[ end trace 0000000000000000 ]---
";

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
    fn a_crash_in_boot_does_not_end_the_search_for_a_boot() {
        let no_boot = Job { target: Target::NoBoot, ..job() };
        let boot = format!("{BOOT}{WARNING}");
        let run = run(&no_boot, &boot, "x", Ending::Stopped);
        assert_eq!(run.report.outcome, Outcome::Clean);
        assert_eq!(run.report.crashes[0].phase, Phase::Boot);
        assert_eq!(run.flows.iter().position(|flow| *flow == Flow::Stop), Some(14));
    }
}
