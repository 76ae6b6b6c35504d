//! What a log says: commits, their runs, and what was made of them.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use crate::history::{CommitId, Find};
use crate::journal::Event;
use crate::trial::{Outcome, Target};

/// What a verdict without runs counts as having shown.
pub const JUDGED: &str = "judged bad";

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BisectLog {
    /// Which commit it looks for.
    pub find: Find,
    /// The newer end of the range: in git's words the bad one, also where a fix is looked for.
    pub bad: Option<CommitId>,
    /// The older ends.
    pub good: Vec<CommitId>,
    /// First lines of messages, of every commit of which the log has it.
    pub titles: BTreeMap<CommitId, String>,
    /// What it looks for; only our own logs say so.
    pub target: Option<Target>,
    /// Every commit that was tested, in that order.
    pub tested: Vec<Tested>,
    /// The commit that was blamed in the end.
    pub culprit: Option<CommitId>,
}

/// A commit that was tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// Which.
    pub commit: CommitId,
    /// The hash of the image.
    pub signature: Option<String>,
    /// Why it did not build.
    pub build_failure: Option<String>,
    /// What its runs showed.
    pub runs: Vec<Run>,
    /// What git was told of it.
    pub word: Option<Word>,
    /// All that git was told of it, where the log records no runs, as `git bisect log` does not.
    pub verdicts: Vec<Word>,
    /// How many revisions git had left to test if this one turned out good.
    pub left: Option<u32>,
    /// Which candidate it is, counted from 1, and of how many; only our own logs say so.
    pub position: Option<(u32, u32)>,
}

/// What one run showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Nothing.
    Ok,
    /// A crash.
    Crashed(String),
    /// A failure before the reproducer ran.
    BootFailed(String),
    /// The kernel could not be tried.
    TestFailed(String),
    /// The host failed.
    Infra(String),
}

/// What git was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It has the bug.
    Bad,
    /// It does not have it.
    Good,
    /// It can't be said.
    Skip,
}

/// How recorded runs and verdicts are to be weighed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighing {
    /// What is looked for. A verdict without runs is about that.
    pub target: Target,
    /// Trials that a verdict without runs stands for, at least 1.
    pub verdict_trials: u32,
}

/// Why a log can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImportError {
    /// It tests nothing.
    #[error("no commit is tested in it")]
    Empty,
    /// It does not say between which ends it searched.
    #[error("it does not say from where to where it searched (no `git bisect start`)")]
    NoRange,
}

impl BisectLog {
    /// The crash that the bisection set out from: the first one it saw.
    pub fn first_crash(&self) -> Option<&str> {
        self.tested.iter().flat_map(|tested| &tested.runs).find_map(|run| match run {
            Run::Crashed(title) => Some(title.as_str()),
            _ => None,
        })
    }

    /// The ends and tested commits, called by other names: history was rewritten since.
    pub fn rename(&mut self, names: &BTreeMap<CommitId, CommitId>) {
        let ends = self.bad.iter_mut().chain(&mut self.good).chain(&mut self.culprit);
        for commit in ends.chain(self.tested.iter_mut().map(|tested| &mut tested.commit)) {
            if let Some(name) = names.get(commit) {
                if let Some(title) = self.titles.get(commit).cloned() {
                    self.titles.insert(*name, title);
                }
                *commit = *name;
            }
        }
    }

    /// Every commit that it speaks of.
    pub fn commits(&self) -> impl Iterator<Item = CommitId> {
        let ends = self.bad.iter().chain(&self.good).chain(&self.culprit);
        ends.copied().chain(self.tested.iter().map(|tested| tested.commit))
    }

    /// Whether it says of every commit only what was made of it, as `git bisect log` does.
    pub fn is_verdicts_only(&self) -> bool {
        self.tested.iter().all(Tested::is_judged_only)
    }

    /// What a session of ours would have recorded of a commit that was tested.
    pub fn events(&self, tested: &Tested, weighing: &Weighing) -> Vec<Event> {
        let commit = tested.commit;
        if let Some(reason) = &tested.build_failure {
            let (reason, log) = (reason.clone(), Default::default());
            return vec![Event::BuildFailed { commit, reason, log, seconds: 0.0, cached: true }];
        }
        // Without a signature every commit is an image of its own.
        let signature = tested.signature.clone().unwrap_or_else(|| commit.to_string());
        let built = Event::Built {
            commit,
            signature,
            image: Default::default(),
            compiler: String::new(),
            seconds: 0.0,
            cached: true,
        };
        let trial = |(outcome, boot, crashes)| {
            let (console, report) = (None, None);
            Event::Trial { commit, outcome, crashes, boot, seconds: 0.0, console, report }
        };
        let runs = tested.runs.iter().filter_map(|run| run.told(&weighing.target));
        let judged = tested.verdicts.iter().flat_map(|&word| {
            let (outcome, trials) = match word {
                Word::Skip => (Outcome::Invalid { reason: "skipped".into() }, 1),
                _ if self.find.is_bad(word == Word::Bad) => {
                    (Outcome::Hit { title: JUDGED.into() }, weighing.verdict_trials)
                }
                _ => (Outcome::Clean, weighing.verdict_trials),
            };
            (0..trials).map(move |_| (outcome.clone(), false, Vec::new()))
        });
        std::iter::once(built).chain(runs.chain(judged).map(trial)).collect()
    }

    /// What was tested of a commit.
    pub fn of(&self, commit: CommitId) -> Option<&Tested> {
        self.tested.iter().find(|tested| tested.commit == commit)
    }
}

impl Tested {
    /// Whether the log says only what was made of it.
    pub fn is_judged_only(&self) -> bool {
        !self.verdicts.is_empty()
    }
}

impl Run {
    /// What it says about the target, whether it did so before the reproducer ran, and the crashes;
    /// nothing where the host failed.
    fn told(&self, target: &Target) -> Option<(Outcome, bool, Vec<String>)> {
        let crash = |title: &String| match target.matches_title(title) {
            true => Outcome::Hit { title: title.clone() },
            false => Outcome::Foreign { title: title.clone() },
        };
        Some(match self {
            Run::Ok => (Outcome::Clean, false, Vec::new()),
            Run::Crashed(title) => (crash(title), false, vec![title.clone()]),
            Run::BootFailed(title) if *target == Target::NoBoot => {
                (Outcome::Hit { title: title.clone() }, true, vec![title.clone()])
            }
            Run::BootFailed(title) => (crash(title), true, vec![title.clone()]),
            Run::TestFailed(reason) => {
                (Outcome::Invalid { reason: reason.clone() }, true, Vec::new())
            }
            Run::Infra(_) => return None,
        })
    }
}
