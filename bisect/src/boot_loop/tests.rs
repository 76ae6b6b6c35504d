//! The loop, on a launcher that follows a script.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vmm::{ConsoleLine, Ending, Milestone, Summary as MachineSummary};

use super::{Limits, Progress, Stop, Tally, run};
use crate::cancel::Cancel;
use crate::crash::Phase;
use crate::trial::tests::{crash, job};
use crate::trial::{
    Job, LaunchError, Launcher, Outcome, SeenCrash, Target, TrialEvent, TrialReport,
};

/// What the run of a number does.
enum Act {
    Pass,
    Crash(&'static str),
    Infra,
    Refuse,
    /// Runs until it is cancelled.
    Wait,
}

struct Script<F> {
    act: F,
    runs: AtomicU64,
    targets: Mutex<Vec<Target>>,
}

impl<F: Fn(u64, u64) -> Act + Send + Sync> Launcher for Script<F> {
    fn describe(&self) -> String {
        "a script".into()
    }

    fn capacity(&self, _: u64, per_cpu: NonZeroUsize, _: &Cancel) -> usize {
        per_cpu.get()
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        let nth = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.targets.lock().unwrap().push(job.target.clone());
        let line = ConsoleLine { at_us: 1, text: format!("run {}", job.id) };
        on_event(TrialEvent::Line(line));
        let (outcome, titles): (_, &[&str]) = match (self.act)(job.id, nth) {
            Act::Pass => (Outcome::Clean, &[]),
            Act::Crash(title) => (Outcome::Hit { title: title.into() }, &[title]),
            Act::Infra => (Outcome::Infra { reason: "ENOMEM".into() }, &[]),
            Act::Refuse => {
                let (reason, hint) = ("no kernel".into(), "give one".into());
                return Err(LaunchError::Refused { reason, hint });
            }
            Act::Wait => {
                let (sender, receiver) = std::sync::mpsc::channel();
                let _guard = cancel.on_cancel(move || sender.send(()).unwrap());
                receiver.recv().unwrap();
                return Err(LaunchError::Cancelled);
            }
        };
        let crashes = titles.iter().map(|title| SeenCrash {
            phase: Phase::Workload,
            at_us: 2,
            crash: crash(title),
        });
        Ok(TrialReport {
            crashes: crashes.collect(),
            machine: Some(MachineSummary::new(Ending::Exit { status: 0 })),
            milestones: vec![(Milestone::InitReached, job.id * 10)],
            ..TrialReport::without_machine(outcome)
        })
    }
}

/// `act` is given the number of a run and how many have begun so far.
fn go(
    limits: Limits,
    jobs: usize,
    act: impl Fn(u64, u64) -> Act + Send + Sync,
    on_progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(Tally, Stop, u64), LaunchError> {
    let script = Script { act, runs: AtomicU64::new(0), targets: Mutex::default() };
    let jobs = NonZeroUsize::new(jobs).unwrap();
    let result = run(&script, &job(), jobs, &limits, &Cancel::new(), on_progress);
    let targets = script.targets.into_inner().unwrap();
    assert!(targets.iter().all(|target| *target == Target::AnyCrash));
    result.map(|(tally, stop)| (tally, stop, script.runs.into_inner()))
}

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn runs(runs: u64) -> Limits {
    Limits { runs: Some(runs), ..Limits::default() }
}

#[test]
fn every_run_is_counted_once_whatever_the_jobs() {
    for jobs in [1, 3, 100] {
        let act = |number, _| match number {
            3 | 9 => Act::Crash("WARNING in foo"),
            4 => Act::Crash("BUG: bar"),
            _ => Act::Pass,
        };
        let mut new = Vec::new();
        let mut consoles = Vec::new();
        let on_progress = |progress: Progress<'_>| {
            if let Progress::Finished { finished, new: is_new, .. } = progress {
                consoles.push(finished.console.clone());
                if is_new {
                    new.push(finished.seen.clone());
                }
            }
            ControlFlow::Continue(())
        };
        let (tally, stop, begun) = go(runs(20), jobs, act, on_progress).unwrap();
        assert_eq!((stop, begun), (Stop::Runs, 20));
        assert_eq!((tally.passed(), tally.failed()), (17, 3));
        consoles.sort();
        consoles.dedup();
        assert_eq!(consoles.len(), 20, "each has its own console");
        assert_eq!(new.len(), 2);
        let summary = tally.summary();
        assert_eq!(summary.titles[0].shown.title, "WARNING in foo");
        assert_eq!(summary.titles[0].shown.count, 2);
        assert!((summary.rate - 0.15).abs() < 1e-12);
        assert_eq!(summary.to_init_us.unwrap().max, 200);
    }
}

#[test]
fn it_stops_at_the_title_that_it_waits_for_and_not_at_another() {
    let limits = Limits { until: vec!["WARNING in *".into()], ..Limits::default() };
    let act = |number, _| match number {
        2 => Act::Crash("BUG: bar"),
        5 => Act::Crash("WARNING in foo"),
        6 => Act::Wait,
        _ => Act::Pass,
    };
    let (tally, stop, begun) = go(limits, 1, act, go_on).unwrap();
    assert_eq!(stop, Stop::Crash("WARNING in foo".into()));
    assert_eq!((tally.counted(), tally.failed()), (5, 2));
    assert!(begun <= 6, "one more may have begun, and was stopped");
}

#[test]
fn it_stops_at_a_relative_only_where_that_is_asked_for() {
    let act = |_, _| Act::Crash("kernel BUG in foo");
    for (accept_family, wanted) in
        [(true, Stop::Crash("kernel BUG in foo".into())), (false, Stop::Runs)]
    {
        let until = vec!["WARNING in foo".into()];
        let limits = Limits { runs: Some(2), until, accept_family, ..Limits::default() };
        assert_eq!(go(limits, 1, act, go_on).unwrap().1, wanted);
    }
}

#[test]
fn what_the_host_fails_is_tried_again_and_not_counted() {
    let act = |_, nth| if nth == 2 { Act::Infra } else { Act::Pass };
    let (tally, stop, begun) = go(runs(3), 1, act, go_on).unwrap();
    assert_eq!((stop, begun, tally.counted()), (Stop::Runs, 4, 3));
    assert_eq!(tally.summary().infra["ENOMEM"], 1);

    let act = |number, _| if number == 2 { Act::Infra } else { Act::Pass };
    let (tally, stop, begun) = go(runs(9), 1, act, go_on).unwrap();
    assert_eq!(stop, Stop::Host("ENOMEM".into()));
    assert_eq!((begun >= 4, tally.counted()), (true, 1));
}

#[test]
fn what_can_not_run_is_an_error_first_and_a_reason_to_stop_later() {
    let error = go(runs(3), 2, |_, _| Act::Refuse, go_on).unwrap_err();
    assert!(matches!(error, LaunchError::Refused { .. }), "{error:?}");
    let act = |number, _| if number == 3 { Act::Refuse } else { Act::Pass };
    let (tally, stop, _) = go(runs(9), 1, act, go_on).unwrap();
    assert!(matches!(&stop, Stop::Host(reason) if reason.contains("no kernel")), "{stop:?}");
    assert_eq!(tally.passed(), 2);
}

#[test]
fn no_run_begins_when_the_time_is_up() {
    let limits = Limits { time: Some(Duration::ZERO), ..Limits::default() };
    let (tally, stop, begun) = go(limits, 2, |_, _| Act::Pass, go_on).unwrap();
    assert_eq!((stop, tally.counted(), begun), (Stop::Time, 0, 0));
}

#[test]
fn a_cancelled_loop_ends_its_runs_and_keeps_its_count() {
    let cancel = Cancel::new();
    let act = |number, _| if number > 2 { Act::Wait } else { Act::Pass };
    let script = Script { act, runs: AtomicU64::new(0), targets: Mutex::default() };
    let on_progress = |progress: Progress<'_>| {
        if let Progress::Finished { tally, .. } = progress
            && tally.counted() == 2
        {
            cancel.cancel();
        }
        ControlFlow::Continue(())
    };
    let two = NonZeroUsize::new(2).unwrap();
    let (tally, stop) = run(&script, &job(), two, &runs(100), &cancel, on_progress).unwrap();
    assert_eq!((stop, tally.passed()), (Stop::Interrupted, 2));
}

#[test]
fn a_listener_can_break_off() {
    let on_progress = |progress: Progress<'_>| match progress {
        Progress::Finished { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let (tally, stop, _) = go(runs(100), 1, |_, _| Act::Pass, on_progress).unwrap();
    assert_eq!((stop, tally.passed()), (Stop::Interrupted, 1));
}
