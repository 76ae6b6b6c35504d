//! What a bisection is doing, line by line on standard error.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use vmbisect::history::{CommitId, History, Rev};
use vmbisect::journal::{Event, Stage};
use vmbisect::search::{Purpose, Tally};
use vmbisect::session::{self, Dropped, Fold, Skip, Step};
use vmbisect::trial::{Outcome, TrialEvent};

use super::drift::Drift;
use crate::cli::Output;
use crate::cli::output::printable;

/// Share of the probability that the candidates still in question hold.
const HELD: f64 = 0.95;

/// What a bisection is doing, line by line on standard error.
pub(super) struct Progress<'a> {
    output: &'a Output,
    history: &'a History,
    bar: ProgressBar,
    titles: HashMap<CommitId, String>,
    started: Instant,
    drift: Drift,
    /// Whether it was said that the bug shows with a baseline.
    shows_with_baseline: bool,
    /// What is being built or tried, for the line that is redrawn.
    doing: String,
    /// The revision to be built, and why, until it is known that it was not built before.
    to_build: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a Output, history: &'a History, fold: &Fold) -> Progress<'a> {
        let bar = output.progress();
        bar.enable_steady_tick(Duration::from_millis(200));
        let progress = Progress {
            output,
            history,
            bar,
            titles: HashMap::new(),
            started: Instant::now(),
            drift: Drift::default(),
            shows_with_baseline: false,
            doing: String::new(),
            to_build: None,
        };
        progress.note(format!(
            "{} candidates, {} trials at a time",
            fold.candidates().len(),
            fold.machines()
        ));
        progress
    }

    /// Takes the redrawn line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn show(&mut self, fold: &Fold, what: &session::Progress<'_>) {
        match what {
            session::Progress::Step(step) => self.step(fold, step),
            session::Progress::Changes => {
                self.doing = "reading what the candidates change".to_owned();
                self.bar.set_message(self.doing.clone());
            }
            session::Progress::BuildLine(line) => {
                self.builds();
                self.live(line);
            }
            session::Progress::Trial(TrialEvent::Line(line)) => self.live(&line.text),
            session::Progress::Trial(TrialEvent::Restarted { reason }) => {
                self.note(format!("a trial starts again: {reason}"));
            }
            session::Progress::Trial(_) => {}
            session::Progress::Recorded(record) => self.recorded(fold, &record.event),
        }
    }

    fn step(&mut self, fold: &Fold, step: &Step) {
        match step {
            Step::Plan { purpose, .. } if fold.spent() > 0 => {
                self.keeps_baseline(fold, *purpose);
                self.belief(fold);
            }
            Step::Build { rev } => {
                let why = fold.purpose().map_or("", |(_, purpose)| word(purpose));
                let name = self.name(fold, *rev);
                self.doing = format!("building {name}");
                let with = match (fold.purpose(), fold.baseline()) {
                    (Some((_, Purpose::BadTip)), Some(name)) => format!(", with {name}"),
                    _ => String::new(),
                };
                self.to_build = Some(format!("{name}{why}{with}"));
            }
            Step::Trials { rev, trials } => {
                self.doing = format!("{trials} x {}", self.name(fold, *rev));
            }
            _ => {}
        }
        self.bar.set_message(self.doing.clone());
    }

    fn recorded(&mut self, fold: &Fold, event: &Event) {
        match event {
            Event::Built { commit, seconds, cached, .. } => {
                let rev = fold.candidates().rev(*commit);
                let same = rev.map(|rev| fold.same_image(rev)).unwrap_or_default();
                let same = same.first().map_or(String::new(), |other| {
                    format!(", the same image as {}", other.commit.short())
                });
                if *cached {
                    let revision = self.to_build.take().unwrap_or_else(|| commit.short());
                    self.note(format!("{revision}, was built before{same}"));
                } else {
                    self.builds();
                    self.note(format!("{} built in {seconds:.0} s{same}", commit.short()));
                }
            }
            Event::BuildFailed { commit, reason, cached, .. } => {
                let known = self.to_build.take().filter(|_| *cached);
                let revision = known.map_or_else(|| commit.short(), |revision| revision + ",");
                let reason = reason.lines().next().unwrap_or_default();
                self.note(format!("{revision} does not build: {reason}"));
            }
            Event::Trial { commit, outcome, boot, seconds, .. } => {
                let tally = self.drifts(fold, *commit, outcome);
                self.note(format!(
                    "{} {}{}, {seconds:.1} s ({} of {} hit)",
                    commit.short(),
                    describe(outcome),
                    if *boot && !matches!(outcome, Outcome::NoBoot { .. }) {
                        " during boot"
                    } else {
                        ""
                    },
                    tally.hits,
                    tally.trials(),
                ));
            }
            Event::Infra { commit, stage, reason } => {
                let what = match stage {
                    Stage::Build => "build",
                    Stage::Trial => "trial",
                };
                self.note(format!("{}: the host failed the {what}: {reason}", commit.short()));
            }
            Event::Skipped { commit, base, why } => {
                let why = match why {
                    Skip::Lacks => "there the bug had not come in yet",
                    Skip::Unknown => "which can't be tested",
                };
                let (short, base) = (commit.short(), base.short());
                self.note(format!("{short} tells nothing of a fix: it left at {base}, {why}"));
            }
            Event::Good { commit, name } => {
                let short = commit.short();
                self.note(format!(
                    "now {name} ({short}) is taken for good, until it shows the bug"
                ));
            }
            Event::BaselineDropped(Dropped { seen, .. }) => {
                let dropped = fold.dropped_baselines().last().map_or("", |(name, _)| name);
                self.note(format!("{dropped} is not used: {seen}"));
                self.drift = Drift::default();
                self.shows_with_baseline = false;
            }
            Event::Favoured { commits, .. } if !commits.is_empty() => {
                self.note(format!(
                    "{} commits touch files that the crash names: likelier than others",
                    commits.len()
                ));
            }
            Event::Inert { commits } if !commits.is_empty() => {
                self.note(format!(
                    "{} of {} candidates can't change the image: they touch nothing that either \
                     end was built from",
                    commits.len(),
                    fold.candidates().len()
                ));
            }
            Event::NotInert { commits } => {
                self.note(format!(
                    "{} of the commits that could not change the image may do so after all, as this \
                     build shows",
                    commits.len()
                ));
            }
            Event::Reverted { culprit, failure: Some(reason), .. } => {
                self.note(format!("{} can't be reverted: {reason}", culprit.short()));
            }
            Event::Reverted { culprit, commit, .. } => {
                let commit = commit.map(|commit| commit.short()).unwrap_or_default();
                self.note(format!("{} is reverted by {commit}", culprit.short()));
            }
            Event::Favoured { .. }
            | Event::Inert { .. }
            | Event::Planned { .. }
            | Event::Resumed(_) => {}
        }
    }

    /// Says at once when another title shows where the target does not, and gives what the trials
    /// of the revision told.
    fn drifts(&mut self, fold: &Fold, commit: CommitId, outcome: &Outcome) -> Tally {
        let reverted = fold.reverted().and_then(|reverted| reverted.tried.as_ref());
        let mut tried = fold.tried_revisions().iter().chain(reverted);
        let Some(tried) = tried.find(|tried| tried.commit == commit) else {
            return Tally::default();
        };
        // The revert is no revision of the range: of what it shows instead, the report tells.
        if reverted.is_none_or(|reverted| reverted.commit != commit)
            && let Some(line) = self.drift.line(fold, tried, outcome)
        {
            self.note(line);
        }
        let rev = fold.candidates().rev(commit);
        let tally = rev.map(|rev| fold.belief().tally(rev)).filter(|tally| tally.trials() > 0);
        tally.unwrap_or(tried.tally())
    }

    /// Says, once, that the revision to be built is being built: it was not built before.
    fn builds(&mut self) {
        if let Some(revision) = self.to_build.take() {
            self.note(format!("building {revision}"));
        }
    }

    /// Says once that the bug shows with a baseline.
    fn keeps_baseline(&mut self, fold: &Fold, next: Purpose) {
        if let Some(name) = fold.baseline()
            && next != Purpose::BadTip
            && !std::mem::replace(&mut self.shows_with_baseline, true)
        {
            self.note(format!(
                "the bug shows with {name}, which is used unless a good revision shows it with \
                 it, too"
            ));
        }
    }

    /// How far the answer has been narrowed down.
    fn belief(&mut self, fold: &Fold) {
        let Some((best, probability)) = fold.belief().best() else { return };
        let held = fold.belief().credible(HELD).len();
        let name = self.name(fold, best);
        self.note(format!(
            "{held} of {} candidates {} {:.0} %, best guess {name} at {:.0} %",
            fold.candidates().len(),
            if held == 1 { "holds" } else { "hold" },
            HELD * 100.0,
            probability * 100.0,
        ));
    }

    fn name(&mut self, fold: &Fold, rev: Rev) -> String {
        let Ok(commit) = fold.commit(rev) else { return String::new() };
        let history = self.history;
        let title =
            self.titles.entry(commit).or_insert_with(|| history.title(commit).unwrap_or_default());
        format!("{} {title:?}", commit.short())
    }

    /// A line that is redrawn in place.
    fn live(&self, line: &str) {
        self.bar.set_message(format!("{}: {}", self.doing, printable(line.trim())));
    }

    /// A line that stays.
    fn note(&self, line: impl AsRef<str>) {
        let elapsed = self.started.elapsed().as_secs();
        let line = printable(line.as_ref());
        let line = format!("[{:>3}:{:02}] {line}", elapsed / 60, elapsed % 60);
        self.bar.suspend(|| self.output.note(line));
    }
}

fn word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::BadTip => ", the bad revision",
        Purpose::GoodTip => ", a good revision",
        Purpose::Revert => ", the answer reverted at the newer end",
        Purpose::MergeBase => ", where a branch left, to see whether the branch had the bug at all",
        Purpose::Search => "",
        Purpose::ConfirmCulprit => ", the likely answer",
        Purpose::ConfirmParent => ", a parent of the likely answer",
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Hit { title } => format!("hit: {title}"),
        Outcome::Clean => "clean".into(),
        Outcome::Foreign { title } => format!("tells nothing, another crash: {title}"),
        Outcome::NoBoot { reason } => format!("tells nothing, no boot: {reason}"),
        Outcome::Hang { title } => format!("tells nothing, a hang: {title}"),
        Outcome::Invalid { reason } => format!("tells nothing, invalid: {reason}"),
        Outcome::Infra { reason } => format!("tells nothing, the host failed: {reason}"),
    }
}
