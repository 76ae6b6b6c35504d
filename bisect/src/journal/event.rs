//! The lines of a journal.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::history::{CommitId, Find};
use crate::search::Purpose;
use crate::session::{Dropped, Skip};
use crate::trial::{Outcome, Target};

/// What a bisection is about: the first line of its journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Form of the journal; this program writes and reads [`Header::FORMAT`].
    pub format: u32,
    /// The version that began it.
    pub vmbisect: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The repository.
    pub repo: PathBuf,
    /// Which commit is looked for.
    #[serde(default)]
    pub find: Find,
    /// The revisions without the bug.
    pub good: Vec<CommitId>,
    /// The revision with the bug.
    pub bad: CommitId,
    /// First lines of their messages, by which they are found again where history was rewritten.
    #[serde(default)]
    pub titles: BTreeMap<CommitId, String>,
    /// What is looked for.
    pub target: Target,
    /// Probability at which a culprit is named.
    pub confidence: f64,
    /// The command line, so that it can go on without being told again.
    pub arguments: Vec<String>,
    /// The directory that paths on the command line start from.
    pub directory: PathBuf,
    /// Hashes of the kernel configurations and the toolchain: of each baseline, and of the one asked
    /// for.
    pub config: String,
}

impl Header {
    /// The form that is written and read.
    pub const FORMAT: u32 = 1;
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What is said anew as a bisection goes on. It holds from then on; the rest is as it was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    /// Stop after this many trials, those before counted; `None` leaves the limit as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_trials: Option<NonZeroU64>,
    /// Whether the answer is to be reverted in the end, which it is also if it was to be before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revert: bool,
    /// Where the repository is now; `None` where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<PathBuf>,
}

impl Resumption {
    /// What holds of all that was said anew.
    pub fn held(records: &[Record]) -> Resumption {
        records.iter().fold(Resumption::default(), |held, record| match &record.event {
            Event::Resumed(later) => held.then(later),
            _ => held,
        })
    }

    /// What holds of this one and a later one.
    pub fn then(self, later: &Resumption) -> Resumption {
        Resumption {
            max_trials: later.max_trials.or(self.max_trials),
            revert: later.revert || self.revert,
            repo: later.repo.clone().or(self.repo),
        }
    }
}

/// What the host was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Building a revision.
    Build,
    /// Running a trial.
    Trial,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The bisection went on after an interruption.
    Resumed(Resumption),
    /// No good revision was given, and this release is taken for one until it shows the bug.
    Good {
        /// The commit.
        commit: CommitId,
        /// The tag.
        name: String,
    },
    /// The baseline configuration in use is given up for the next one; all measured until now is of
    /// other kernels.
    BaselineDropped(Dropped),
    /// The crash names files that these commits touch, so they are likelier than others.
    Favoured {
        /// Which.
        commits: Vec<CommitId>,
        /// The share of the probability that they hold together before their trials, from 0 to 1.
        share: f64,
    },
    /// What the builds of both ends read says that these commits, and no others of the range, can't
    /// change the image: each has the image of its parent.
    Inert {
        /// Which.
        commits: Vec<CommitId>,
    },
    /// A later build disproved it of these.
    NotInert {
        /// Which.
        commits: Vec<CommitId>,
    },
    /// It was decided to try a revision.
    Planned {
        /// Which.
        commit: CommitId,
        /// How many times.
        trials: u32,
        /// Why.
        purpose: Purpose,
        /// First line of its message, by which it is found again where history was rewritten.
        #[serde(default)]
        title: String,
    },
    /// A fix is looked for, and the trials of a revision would say nothing of it.
    Skipped {
        /// Which.
        commit: CommitId,
        /// Where its branch left the line that has the bug.
        base: CommitId,
        /// Why.
        why: Skip,
    },
    /// A revision was built, or an image of it was found.
    Built {
        /// Which.
        commit: CommitId,
        /// What will run, hashed.
        signature: String,
        /// The bzImage.
        image: PathBuf,
        /// Compiler and linker, as they call themselves.
        compiler: String,
        /// Seconds that the build took when it was done.
        seconds: f64,
        /// Whether the image was there already.
        cached: bool,
    },
    /// A revision does not build.
    BuildFailed {
        /// Which.
        commit: CommitId,
        /// The lines that say why.
        reason: String,
        /// All that the build printed.
        log: PathBuf,
        /// Seconds that the build took when it was done.
        seconds: f64,
        /// Whether that was known already.
        cached: bool,
    },
    /// A trial ended.
    Trial {
        /// The revision.
        commit: CommitId,
        /// What it says about the target.
        #[serde(flatten)]
        outcome: Outcome,
        /// Titles of all crashes, in the order they were printed.
        crashes: Vec<String>,
        /// Whether the workload was never started.
        boot: bool,
        /// Seconds that it took.
        seconds: f64,
        /// The console, if it was kept, relative to the journal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        console: Option<PathBuf>,
        /// The report of the crash that decided the outcome, relative to the journal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<PathBuf>,
    },
    /// The answer was reverted at the newer end of the range, or could not be.
    Reverted {
        /// The answer.
        culprit: CommitId,
        /// The commit that has the revert.
        commit: Option<CommitId>,
        /// Why there is none.
        failure: Option<String>,
    },
    /// The host failed; nothing was learned.
    Infra {
        /// The revision.
        commit: CommitId,
        /// At what.
        stage: Stage,
        /// How.
        reason: String,
    },
}

impl Event {
    /// Every commit that it speaks of.
    pub(super) fn commits_mut(&mut self) -> Vec<&mut CommitId> {
        match self {
            Event::Good { commit, .. }
            | Event::Planned { commit, .. }
            | Event::Built { commit, .. }
            | Event::BuildFailed { commit, .. }
            | Event::Trial { commit, .. }
            | Event::Infra { commit, .. } => vec![commit],
            Event::Skipped { commit, base, .. } => vec![commit, base],
            // A revert of a commit that was rewritten is no commit of the repository.
            Event::Reverted { culprit, .. } => vec![culprit],
            Event::Favoured { commits, .. }
            | Event::Inert { commits }
            | Event::NotInert { commits } => commits.iter_mut().collect(),
            Event::Resumed(_) | Event::BaselineDropped(_) => Vec::new(),
        }
    }

    /// The revision that was tried, or is to be.
    pub fn commit(&self) -> Option<CommitId> {
        match self {
            Event::Planned { commit, .. }
            | Event::Skipped { commit, .. }
            | Event::Built { commit, .. }
            | Event::BuildFailed { commit, .. }
            | Event::Trial { commit, .. } => Some(*commit),
            Event::Resumed(_)
            | Event::Good { .. }
            | Event::BaselineDropped(_)
            | Event::Favoured { .. }
            | Event::Inert { .. }
            | Event::NotInert { .. }
            | Event::Reverted { .. }
            | Event::Infra { .. } => None,
        }
    }
}
