//! The loop: as many runs at a time as there are jobs, until there is a reason to stop.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Seen, Tally};
use crate::cancel::Cancel;
use crate::trial::{
    Job, KeptConsole, LaunchError, Launcher, Target, TrialEvent, TrialReport, with_causes,
};

/// Failures of the host in a row, without a run that told something between them, after which
/// another try is no use.
const HOST_FAILURES: u32 = 3;

/// Longest time without a word from the loop.
const PULSE: Duration = Duration::from_secs(1);

/// When a loop stops.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// After this many runs, those that the host failed not counted.
    pub runs: Option<u64>,
    /// After this time: what runs then is let finish, since a run that is cut short would be missing
    /// from the count, and long ones more often.
    pub time: Option<Duration>,
    /// When a title shows that is one of these; `*` stands for any text.
    pub until: Vec<String>,
    /// Or one that is likely to be the same bug, seen another way; see [`crate::crash::family`].
    pub accept_family: bool,
}

/// Why a loop stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// There were enough runs.
    Runs,
    /// The time was up.
    Time,
    /// What was waited for has shown.
    Crash(String),
    /// The user asked to stop.
    Interrupted,
    /// The host failed again and again; the last reason.
    Host(String),
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its number, counted from 1 in the order in which runs began.
    pub number: u64,
    /// What it showed.
    pub seen: Seen,
    /// All that was seen.
    pub report: TrialReport,
    /// The end of what its console printed.
    pub console: String,
}

/// What a loop says while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A run is over.
    Finished {
        /// The run.
        finished: &'a Finished,
        /// Whether it showed what none before it did.
        new: bool,
        /// All so far, this run included.
        tally: &'a Tally,
    },
    /// The place where a run took place was lost; the run begins again.
    Restarted {
        /// Its number.
        number: u64,
        /// What happened.
        reason: &'a str,
    },
    /// Nothing happened for a while.
    Pulse(&'a Tally),
}

enum Message {
    Restarted { number: u64, reason: String },
    Finished(Box<Finished>),
    Failed(LaunchError),
}

/// Hands out the numbers of runs until there are enough of them.
struct Tickets {
    /// The number of the last run that began.
    last: u64,
    /// Runs that may still begin.
    left: u64,
    /// Numbers whose runs the host failed: they are to begin again.
    again: Vec<u64>,
    deadline: Option<Instant>,
}

impl Tickets {
    fn take(&mut self) -> Option<u64> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        if let Some(number) = self.again.pop() {
            return Some(number);
        }
        self.left = self.left.checked_sub(1)?;
        self.last += 1;
        Some(self.last)
    }

    /// Whether all that were to be have begun, and told something.
    fn are_used_up(&self) -> bool {
        self.left == 0 && self.again.is_empty()
    }
}

fn lock(tickets: &Mutex<Tickets>) -> MutexGuard<'_, Tickets> {
    tickets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `job` over and over on `launcher`, `jobs` at a time, and hands over what happens on this
/// thread, until one of `limits` is reached, `cancel` says so, or the listener breaks off.
///
/// `job`'s target is replaced by [`Target::AnyCrash`].
///
/// # Errors
/// Fails if the first run already can't be made as asked.
pub fn run(
    launcher: &dyn Launcher,
    job: &Job,
    jobs: NonZeroUsize,
    limits: &Limits,
    cancel: &Cancel,
    mut on_progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(Tally, Stop), LaunchError> {
    let job = Job { target: Target::AnyCrash, ..job.clone() };
    let stop = Cancel::new();
    let stopper = stop.clone();
    let _passed_on = cancel.on_cancel(move || stopper.cancel());
    let deadline = limits.time.and_then(|time| Instant::now().checked_add(time));
    let left = limits.runs.unwrap_or(u64::MAX);
    let tickets = Mutex::new(Tickets { last: 0, left, again: Vec::new(), deadline });
    let mut fold = Fold {
        tally: Tally::default(),
        host_failures: 0,
        until: match limits.accept_family {
            true => Target::CrashFamily(limits.until.clone()),
            false => Target::Crash(limits.until.clone()),
        },
    };
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let workers = usize::try_from(left).unwrap_or(usize::MAX).min(jobs.get());
        for _ in 0..workers {
            let (sender, tickets, job, stop) = (sender.clone(), &tickets, &job, &stop);
            scope.spawn(move || work(launcher, job, tickets, &sender, stop));
        }
        drop(sender);
        let stopped = loop {
            match receiver.recv_timeout(PULSE) {
                Ok(message) => match fold.take_in(message, &mut on_progress) {
                    Ok(None) => {}
                    Ok(Some(stopped)) => break Ok(stopped),
                    Err(error) => break Err(error),
                },
                Err(RecvTimeoutError::Timeout) => {
                    if on_progress(Progress::Pulse(&fold.tally)).is_break() {
                        break Ok(Stop::Interrupted);
                    }
                }
                // Nothing runs any more.
                Err(RecvTimeoutError::Disconnected) if cancel.is_cancelled() => {
                    break Ok(Stop::Interrupted);
                }
                Err(RecvTimeoutError::Disconnected) if lock(&tickets).are_used_up() => {
                    break Ok(Stop::Runs);
                }
                Err(RecvTimeoutError::Disconnected) => break Ok(Stop::Time),
            }
        };
        // The runs that are still under way tell nothing that is waited for.
        stop.cancel();
        stopped
    })
    .map(|stopped| (fold.tally, stopped))
}

/// One worker's life: one run after the other.
fn work(
    launcher: &dyn Launcher,
    job: &Job,
    tickets: &Mutex<Tickets>,
    sender: &Sender<Message>,
    stop: &Cancel,
) {
    loop {
        // The lock is not held while it runs.
        let ticket = lock(tickets).take();
        let Some(number) = ticket.filter(|_| !stop.is_cancelled()) else { return };
        let job = Job { id: number, ..job.clone() };
        let mut console = KeptConsole::default();
        let mut on_event = |event: TrialEvent| match event {
            TrialEvent::Line(line) => console.push(&line),
            TrialEvent::Restarted { reason } => {
                console = KeptConsole::default();
                let _ = sender.send(Message::Restarted { number, reason });
            }
            TrialEvent::Output { .. }
            | TrialEvent::Milestone { .. }
            | TrialEvent::Crash(_)
            | TrialEvent::Done(_) => {}
        };
        let message = match launcher.run(&job, &mut on_event, stop) {
            Ok(report) => {
                console.end(&report);
                let (seen, console) = (Seen::of(&report), console.text());
                if let Seen::Infra(_) = seen {
                    lock(tickets).again.push(number);
                }
                Message::Finished(Box::new(Finished { number, seen, report, console }))
            }
            Err(LaunchError::Cancelled) => return,
            Err(error) => Message::Failed(error),
        };
        let over = matches!(message, Message::Failed(_));
        // Nobody listens any more only when the loop has stopped.
        if sender.send(message).is_err() || over {
            return;
        }
    }
}

/// What has become of the runs so far.
struct Fold {
    tally: Tally,
    /// In a row.
    host_failures: u32,
    until: Target,
}

impl Fold {
    /// Takes in a message; `Some` is a reason to stop.
    fn take_in(
        &mut self,
        message: Message,
        on_progress: &mut impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Stop>, LaunchError> {
        let finished = match message {
            Message::Finished(finished) => finished,
            Message::Restarted { number, reason } => {
                let flow = on_progress(Progress::Restarted { number, reason: &reason });
                return Ok(flow.is_break().then_some(Stop::Interrupted));
            }
            Message::Failed(error) if self.tally.counted() == 0 => return Err(error),
            Message::Failed(error) => return Ok(Some(Stop::Host(with_causes(&error)))),
        };
        let new = self.tally.take_in(&finished);
        let progress = Progress::Finished { finished: &finished, new, tally: &self.tally };
        if on_progress(progress).is_break() {
            return Ok(Some(Stop::Interrupted));
        }
        let Finished { seen, report, .. } = *finished;
        match seen {
            Seen::Infra(reason) => {
                self.host_failures += 1;
                let enough = self.host_failures == HOST_FAILURES;
                return Ok(enough.then_some(Stop::Host(reason)));
            }
            Seen::Title(title) if self.shows(&report, &title) => {
                return Ok(Some(Stop::Crash(title)));
            }
            Seen::Nothing | Seen::Title(_) | Seen::Invalid(_) => self.host_failures = 0,
        }
        Ok(None)
    }

    /// Whether what a run showed is what the loop waits for.
    fn shows(&self, report: &TrialReport, title: &str) -> bool {
        match report.crashes.first() {
            Some(first) => self.until.matches(&first.crash),
            None => self.until.matches_title(title),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Tickets;

    #[test]
    fn what_the_host_failed_begins_again_unless_the_time_is_up() {
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        let mut tickets = Tickets { last: 7, left: 1, again: vec![5], deadline: Some(now + hour) };
        assert_eq!([tickets.take(), tickets.take(), tickets.take()], [Some(5), Some(8), None]);
        assert!(tickets.are_used_up());
        let mut late = Tickets { last: 7, left: 0, again: vec![5], deadline: Some(now) };
        assert_eq!(late.take(), None);
        assert!(!late.are_used_up(), "it is the time that ended them");
    }
}
