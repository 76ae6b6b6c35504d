//! What became of one revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::crash::{Crash, classify};
use crate::history::{CommitId, Rev};
use crate::journal::Event;
use crate::search::{Tally, Useless};
use crate::symbols::{Symbolizer, Symbols};
use crate::trial::Outcome;

/// A revision that was tried, or at least built.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The revision.
    pub rev: Rev,
    /// Its name.
    pub commit: CommitId,
    /// Its image, once there is one.
    pub image: Option<Image>,
    /// Why it does not build, if it does not.
    pub build_failure: Option<String>,
    /// Where a fix is looked for: why it says nothing, and the merge base on which that rests.
    pub skipped: Option<(CommitId, Skip)>,
    /// Its trials, in the order they ended; those that the host failed are not among them.
    pub trials: Vec<Trial>,
}

/// Why a revision says nothing of a fix, whatever its trials would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Its branch left before the bug came in: the merge base does not show it.
    Lacks,
    /// Whether its branch had the bug can't be known: the merge base can't be tested.
    Unknown,
}

/// A built revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// What will run, hashed.
    pub signature: String,
    /// The bzImage.
    pub path: PathBuf,
    /// Compiler and linker, as they call themselves.
    pub compiler: String,
    /// Whether it was there already.
    pub cached: bool,
}

/// One trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// What it says about the target.
    pub outcome: Outcome,
    /// Titles of all crashes.
    pub crashes: Vec<String>,
    /// Whether the workload was never started.
    pub boot: bool,
    /// Seconds that it took.
    pub seconds: f64,
    /// The console, if it was kept, relative to the journal.
    pub console: Option<PathBuf>,
    /// The report of the crash that decided the outcome, relative to the journal.
    pub report: Option<PathBuf>,
}

impl Image {
    /// The image that an event speaks of.
    pub(super) fn of(event: &Event) -> Option<Image> {
        match event.clone() {
            Event::Built { signature, image: path, compiler, cached, .. } => {
                Some(Image { signature, path, compiler, cached })
            }
            _ => None,
        }
    }
}

impl Trial {
    /// The trial that an event speaks of.
    pub(super) fn of(event: &Event) -> Option<Trial> {
        match event.clone() {
            Event::Trial { outcome, crashes, boot, seconds, console, report, .. } => {
                Some(Trial { outcome, crashes, boot, seconds, console, report })
            }
            _ => None,
        }
    }

    /// What it is, if it told nothing.
    pub fn useless(&self) -> Useless {
        match self.outcome {
            Outcome::Hit { .. } | Outcome::Clean => Useless::default(),
            Outcome::Foreign { .. } | Outcome::Hang { .. } => Useless { by_chance: 1, dead: 0 },
            _ => Useless { by_chance: 0, dead: 1 },
        }
    }

    /// What it told.
    pub fn tally(&self) -> Tally {
        match self.outcome {
            Outcome::Hit { .. } => Tally { hits: 1, clean: 0 },
            Outcome::Clean => Tally { hits: 0, clean: 1 },
            _ => Tally::default(),
        }
    }
}

impl Tried {
    /// The crash of its first hit whose report was kept in the journal at `dir`. Where vmlinux was
    /// kept beside the image, the report gets source lines first.
    pub fn crash(&self, dir: &Path) -> Option<Crash> {
        let is_hit = |outcome: &Outcome| matches!(outcome, Outcome::Hit { .. });
        let hit = self.trials.iter().find(|it| is_hit(&it.outcome) && it.report.is_some())?;
        let text = std::fs::read(dir.join(hit.report.as_ref()?)).ok()?;
        let mut crash = classify(&text).into_iter().next()?;
        let vmlinux = self.image.as_ref()?.path.with_file_name("vmlinux");
        if let Ok(symbols) = Symbols::open(&vmlinux) {
            Symbolizer::new(symbols).crash(&mut crash, 0);
        }
        Some(crash)
    }

    /// A revision of which nothing is known yet.
    pub(super) fn new(rev: Rev, commit: CommitId) -> Tried {
        Tried { rev, commit, image: None, build_failure: None, skipped: None, trials: Vec::new() }
    }

    /// What its own trials told.
    pub fn tally(&self) -> Tally {
        self.trials.iter().fold(Tally::default(), |sum, trial| sum.plus(trial.tally()))
    }

    /// Trials that told nothing, by what was seen instead.
    pub fn useless(&self) -> BTreeMap<String, u32> {
        let mut seen = BTreeMap::new();
        for trial in &self.trials {
            let what = match &trial.outcome {
                Outcome::Hit { .. } | Outcome::Clean => continue,
                Outcome::Foreign { title } => title.clone(),
                Outcome::NoBoot { reason } => format!("no boot: {reason}"),
                Outcome::Hang { title } => title.clone(),
                Outcome::Invalid { reason } => format!("invalid: {reason}"),
                Outcome::Infra { reason } => format!("host: {reason}"),
            };
            *seen.entry(what).or_insert(0) += 1;
        }
        seen
    }
}
