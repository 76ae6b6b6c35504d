//! Live work.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::crash_hint::crash_hint;
use super::inert::Inert;
use super::work::{Finished, Message, run_batch};
use super::{Build, BuildFault, BuildOutcome, Fold, FoldError, Hints, Releases, Step};
use crate::cancel::Cancel;
use crate::crash::Crash;
use crate::history::{CommitId, History, HistoryError, Rev, Revert};
use crate::journal::{Event, Journal, JournalError, Record, Stage};
use crate::kernel::BuildError;
use crate::search::Verdict;
use crate::trial::launcher::TcgError;
use crate::trial::{Job, LaunchError, Launcher, Outcome, TrialEvent, TrialReport, with_causes};

/// Consoles kept of the trials of one revision.
const CONSOLES: usize = 8;

/// A bisection at work.
pub struct Session<'a> {
    /// What is known; the records of the journal have been applied.
    pub fold: Fold,
    /// These records.
    pub records: Vec<Record>,
    /// Where the range comes from.
    pub history: &'a History,
    /// What the user suspects, of which the fold knows already.
    pub hints: Hints,
    /// Where no good revision was given: the releases to try next.
    pub releases: Option<Releases>,
    /// Where what happens is kept.
    pub journal: Journal,
    /// Who builds with the configuration asked for.
    pub builder: &'a dyn Build,
    /// Who builds with each baseline, as many as the fold has.
    pub baselines: Vec<&'a dyn Build>,
    /// Who runs trials.
    pub launcher: &'a dyn Launcher,
    /// A trial, but for its kernel and its number.
    pub job: Job,
    /// Whether to stop.
    pub cancel: Cancel,
}

/// What a session is doing, for whoever watches.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A step begins.
    Step(&'a Step),
    /// What the candidates change is being read from the repository.
    Changes,
    /// A build printed a line.
    BuildLine(&'a str),
    /// A trial said something.
    Trial(&'a TrialEvent),
    /// Something was recorded, and is part of what is known.
    Recorded(&'a Record),
}

/// Why a session ended without an answer. What was measured is in the journal.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The journal can't be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal does not belong to these candidates.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The repository can't be read.
    #[error(transparent)]
    History(HistoryError),
    /// The host failed again and again.
    #[error("the host failed {}, three times in a row: {reason}", match stage {
        Stage::Build => "to build",
        Stage::Trial => "to run a trial",
    })]
    Host {
        /// At what.
        stage: Stage,
        /// How, the last time.
        reason: String,
    },
    /// No trial can be run as asked.
    #[error("no trial can be run")]
    Launch(#[source] LaunchError),
    /// A build can't even be tried.
    #[error("can't build {}", commit.short())]
    Build {
        /// The revision.
        commit: CommitId,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<HistoryError> for SessionError {
    fn from(error: HistoryError) -> SessionError {
        match error {
            HistoryError::Cancelled => SessionError::Cancelled,
            error => SessionError::History(error),
        }
    }
}

impl SessionError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            SessionError::Cancelled => "what was measured is kept: go on with --resume".into(),
            SessionError::Journal(error) => error.hint(),
            SessionError::Fold(_) => {
                "the repository or the revisions are not those that the journal was begun with"
                    .into()
            }
            SessionError::History(error) => error.hint(),
            SessionError::Host { .. } => {
                "see to the host (`vmbisect doctor`), then go on with --resume".into()
            }
            SessionError::Launch(error) => error.hint().to_owned(),
            SessionError::Build { source, .. } => match source.downcast_ref::<BuildError>() {
                Some(error) => error.hint(),
                None => "see to it, then go on with --resume".into(),
            },
        }
    }
}

impl Session<'_> {
    /// Works until there is an answer.
    ///
    /// # Errors
    /// Fails if it is cancelled, if the journal can't be written, and if the host fails three
    /// times in a row. It can be resumed from the journal then.
    pub fn run(
        &mut self,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<Verdict, SessionError> {
        loop {
            let verdict = self.search(watch)?;
            let go_on = matches!(verdict, Verdict::GoodTipBad { .. } | Verdict::GoodTipUntestable);
            let older = self.releases.as_mut().filter(|_| go_on).and_then(Iterator::next);
            if let Some(release) = older {
                self.record(Event::Good { commit: release.commit, name: release.name }, watch)?;
                self.begin_at(release.commit)?;
                continue;
            }
            // Releases that are newer than this one were tried with the baseline alone; the range from
            // here is wider than it need be.
            match self.fold.drops_baseline_at_last(&verdict) {
                Some(dropped) => self.record(Event::BaselineDropped(dropped), watch)?,
                None => return Ok(verdict),
            }
        }
    }

    /// Takes another good end. What was measured counts as before.
    fn begin_at(&mut self, good: CommitId) -> Result<(), SessionError> {
        let bad = self.fold.bad_end().map(|end| self.fold.commit(end)).transpose()?;
        let candidates = self.history.candidates(&[good], bad.unwrap_or(good))?;
        let prior = self.hints.prior(self.history, &candidates)?;
        let fold = self.fold.anew(Arc::new(candidates));
        self.fold = match &prior {
            Some(prior) => fold.with_prior(prior),
            None => fold,
        };
        self.records.iter().try_for_each(|record| self.fold.apply(record))?;
        Ok(())
    }

    /// Works until the range has an answer.
    fn search(
        &mut self,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<Verdict, SessionError> {
        let mut inert = Inert::default();
        loop {
            self.take_crash_hint(watch)?;
            self.take_inert(&mut inert, watch)?;
            if self.cancel.is_cancelled() {
                return Err(SessionError::Cancelled);
            }
            let step = self.fold.next();
            watch(&self.fold, Progress::Step(&step));
            match step {
                Step::Plan { rev, trials, purpose } => {
                    let commit = self.fold.commit(rev)?;
                    let title = self.history.title(commit)?;
                    self.record(Event::Planned { commit, trials, purpose, title }, watch)?;
                }
                Step::Skip { rev, base, why } => {
                    let (commit, base) = (self.fold.commit(rev)?, self.fold.commit(base)?);
                    self.record(Event::Skipped { commit, base, why }, watch)?;
                }
                Step::Revert { rev } => {
                    let event = self.revert(rev)?;
                    self.record(event, watch)?;
                }
                Step::DropBaseline(dropped) => {
                    self.record(Event::BaselineDropped(dropped), watch)?;
                    inert = Inert::default();
                }
                Step::Build { rev } => self.build(rev, watch)?,
                Step::Trials { rev, trials } => self.trials(rev, trials, watch)?,
                Step::GiveUp { stage, reason } => return Err(SessionError::Host { stage, reason }),
                Step::Done(verdict) => return Ok(verdict),
            }
        }
    }

    /// Reverts the answer at the newer end of the range. That it can't be done is an answer too.
    fn revert(&self, rev: Rev) -> Result<Event, SessionError> {
        let newest = self.fold.candidates().graph().bad_tip().unwrap_or(rev);
        let (culprit, newest) = (self.fold.commit(rev)?, self.fold.commit(newest)?);
        let (commit, failure) = match self.history.revert(culprit, newest) {
            Ok(Revert::Made(commit)) => (Some(commit), None),
            Ok(Revert::Conflicts(files)) => {
                (None, Some(format!("it conflicts with later changes of {}", files.join(", "))))
            }
            Ok(Revert::Nothing) => (None, Some("nothing of it is left there".into())),
            Err(error) => (None, Some(with_causes(&error))),
        };
        Ok(Event::Reverted { culprit, commit, failure })
    }

    fn build(
        &mut self,
        rev: Rev,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<(), SessionError> {
        let commit = self.fold.commit(rev)?;
        let fold = &self.fold;
        let mut on_line = |line: &str| watch(fold, Progress::BuildLine(line));
        let baseline = fold.baseline_number().and_then(|number| self.baselines.get(number));
        let builder = baseline.unwrap_or(&self.builder);
        let event = match builder.build(commit, &mut on_line, &self.cancel) {
            Ok(BuildOutcome::Image { signature, path: image, compiler, seconds, cached }) => {
                Event::Built { commit, signature, image, compiler, seconds, cached }
            }
            Ok(BuildOutcome::Failed { reason, log, seconds, cached }) => {
                Event::BuildFailed { commit, reason, log, seconds, cached }
            }
            Err(BuildFault::Cancelled) => return Err(SessionError::Cancelled),
            Err(BuildFault::Host(reason)) => Event::Infra { commit, stage: Stage::Build, reason },
            Err(BuildFault::Fatal(source)) => match source.downcast_ref() {
                // A history that was merged in, a driver's for one, begins as something else than a
                // kernel. At the bad end it means that this is another repository.
                Some(error @ BuildError::NotAKernel { .. }) if self.fold.bad_end() != Some(rev) => {
                    let (reason, log) = (error.to_string(), PathBuf::new());
                    Event::BuildFailed { commit, reason, log, seconds: 0.0, cached: false }
                }
                _ => return Err(SessionError::Build { commit, source }),
            },
        };
        self.record(event, watch)
    }

    fn trials(
        &mut self,
        rev: Rev,
        trials: u32,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<(), SessionError> {
        let image = self.fold.of(rev).and_then(|tried| tried.image.clone());
        let Some(image) = image.filter(|image| image.path.exists()) else {
            // The store was emptied since.
            return self.build(rev, watch);
        };
        let count = u64::from(trials.min(self.fold.machines()));
        let first = self.fold.spent();
        let job = self.job.of_image(&image.path);
        let jobs: Vec<Job> = (0..count).map(|n| Job { id: first + n, ..job.clone() }).collect();
        let commit = self.fold.commit(rev)?;
        let (launcher, cancel) = (self.launcher, self.cancel.clone());
        run_batch(launcher, &jobs, &cancel, |message| match message {
            Message::Event(event) => {
                watch(&self.fold, Progress::Trial(&event));
                Ok(())
            }
            Message::Finished(finished) => {
                let event = self.finished(rev, commit, *finished)?;
                self.record(event, watch)
            }
        })
    }

    fn finished(
        &self,
        rev: Rev,
        commit: CommitId,
        finished: Finished,
    ) -> Result<Event, SessionError> {
        let infra = |reason| Event::Infra { commit, stage: Stage::Trial, reason };
        let report = match finished.result {
            Err(LaunchError::Cancelled) => return Err(SessionError::Cancelled),
            Err(_) if self.cancel.is_cancelled() => return Err(SessionError::Cancelled),
            // A revision whose image is none says nothing; others may be fine.
            Err(error @ LaunchError::Kernel { .. }) => {
                TrialReport::without_machine(Outcome::Invalid { reason: with_causes(&error) })
            }
            // No other try would find more room in it.
            Err(source @ LaunchError::Tcg(TcgError::GuestTooLarge { .. })) => {
                return Err(SessionError::Launch(source));
            }
            Err(error @ (LaunchError::Tcg(_) | LaunchError::Remote { .. })) => {
                return Ok(infra(with_causes(&error)));
            }
            Err(source) => return Err(SessionError::Launch(source)),
            Ok(report) if self.cancel.is_cancelled() && was_stopped(&report) => {
                return Err(SessionError::Cancelled);
            }
            Ok(report) => report,
        };
        if let Outcome::Infra { reason } = report.outcome {
            return Ok(infra(reason));
        }
        let number = self.fold.of(rev).map_or(0, |tried| tried.trials.len());
        // Those of a baseline that was dropped are kept, too.
        let of = match self.fold.baseline_number() {
            Some(number) => format!("baseline-{}-", number + 1),
            None => String::new(),
        };
        let name = |what: &str| format!("{of}{}-{number:03}.{what}", commit.short());
        let (mut console, mut kept_report) = (None, None);
        if report.outcome != Outcome::Clean && number < CONSOLES {
            console = Some(self.journal.keep(&name("console"), &finished.console)?);
        }
        if let Some(text) = deciding_report(&report) {
            kept_report = Some(self.journal.keep(&name("report"), text)?);
        }
        // The machine's own time leaves out the outer machine that the first trial starts.
        let seconds =
            report.machine.as_ref().map_or(finished.seconds, |it| it.wall_us as f64 / 1e6);
        Ok(Event::Trial {
            commit,
            crashes: report.crashes.iter().map(|seen| seen.crash.title.clone()).collect(),
            boot: !report
                .milestones
                .iter()
                .any(|(milestone, _)| *milestone == vmm::Milestone::WorkloadStarted),
            outcome: report.outcome,
            seconds,
            console,
            report: kept_report,
        })
    }

    fn record(
        &mut self,
        event: Event,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<(), SessionError> {
        let record = self.journal.append(event)?;
        self.fold.apply(&record)?;
        watch(&self.fold, Progress::Recorded(&record));
        self.records.push(record);
        Ok(())
    }

    /// Lets the crash itself point at candidates, once there is one.
    fn take_crash_hint(
        &mut self,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<(), SessionError> {
        if self.fold.wants_crash_hint()
            && let Some(event) = crash_hint(&self.fold, self.history, self.journal.dir())?
        {
            self.record(event, watch)?;
        }
        Ok(())
    }

    /// Keeps up with which commits can't change the image.
    fn take_inert(
        &mut self,
        inert: &mut Inert,
        watch: &mut dyn FnMut(&Fold, Progress<'_>),
    ) -> Result<(), SessionError> {
        loop {
            let mut begin = || watch(&self.fold, Progress::Changes);
            match inert.event(&self.fold, self.history, &mut begin)? {
                Some(event) => self.record(event, watch)?,
                None => return Ok(()),
            }
        }
    }
}

/// The report of the crash that decided the outcome.
fn deciding_report(report: &TrialReport) -> Option<&str> {
    let (Outcome::Hit { title } | Outcome::Foreign { title }) = &report.outcome else {
        return None;
    };
    let mut crashes = report.crashes.iter().map(|seen| &seen.crash);
    let known_as =
        |crash: &&Crash| crash.title == *title || crash.alt_titles.iter().any(|alt| alt == title);
    crashes.clone().find(known_as).or(crashes.next_back()).map(|crash| crash.report.as_str())
}

/// Whether the machine was stopped before it had shown anything.
fn was_stopped(report: &TrialReport) -> bool {
    let stopped =
        report.machine.as_ref().is_none_or(|machine| machine.ending == vmm::Ending::Stopped);
    stopped && !matches!(report.outcome, Outcome::Hit { .. } | Outcome::Foreign { .. })
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("journal", &self.journal).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
