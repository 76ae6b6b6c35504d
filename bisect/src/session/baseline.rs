//! Baseline configurations: smaller ones that the bad end is tried with before the one asked for.
//! With one that shows the bug too, builds take less time and fewer other bugs show.

use serde::{Deserialize, Serialize};

/// Clean trials of the bad end, with no hit among them, after which the bug counts as not shown with
/// a baseline. It shows in fewer than a tenth of the trials then (95 %), and what builds would save
/// would go into trials.
pub(super) const CLEAN_TRIALS: u32 = 30;

/// Why a baseline is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyDropped {
    /// The bad end does not show the bug with it.
    NotShown,
    /// The bad end, or no good one, builds and boots with it, or it always dies of something else
    /// first.
    Untestable,
    /// A good end shows it as well, as where the configuration is to blame.
    ShownAtGood,
}

/// A baseline that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Why.
    pub why: WhyDropped,
    /// What was seen with it, for people.
    pub seen: String,
}

/// The baselines, in the order they are tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Baselines {
    /// What they are called on the command line.
    pub(super) names: Vec<String>,
    /// The first of them, which are not used.
    pub(super) dropped: Vec<Dropped>,
    /// Trials until the last of these was given up.
    pub(super) spent: u64,
}

impl Baselines {
    /// The one in use; `None` where that is the configuration asked for.
    pub(super) fn current(&self) -> Option<&str> {
        self.names.get(self.dropped.len()).map(String::as_str)
    }
}
