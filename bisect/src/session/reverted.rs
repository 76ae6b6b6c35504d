//! The answer reverted at the newer end of the range: whether that undoes it.

use super::{Trial, Tried};
use crate::history::{CommitId, Rev};
use crate::search::{Belief, Useless};

/// Trials of it, for each clean one that is asked for, after which it is left open what they say.
const ENOUGH: u32 = 4;

/// The answer, reverted at the newer end of the range.
#[derive(Clone, Debug)]
pub struct Reverted {
    /// What is reverted.
    pub culprit: Rev,
    /// Why it can't be, if it can't.
    pub failure: Option<String>,
    /// What became of it, if it could be made.
    pub tried: Option<Tried>,
}

impl Reverted {
    /// Whether this is the commit that has the revert.
    pub(super) fn is(&self, commit: CommitId) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.commit == commit)
    }

    /// Whether the bug shows with it; `None` where its trials do not say.
    pub(super) fn shows(&self, belief: &Belief) -> Option<bool> {
        belief.shows(self.tried.as_ref()?.tally(), self.culprit)
    }

    /// Trials that it lacks until it is known whether the bug shows, where so many clean ones say
    /// that it does not.
    pub(super) fn lacks(&self, needed: u32, belief: &Belief) -> u32 {
        let Some(tried) = &self.tried else { return 0 };
        let told = tried.tally();
        let useless = tried.trials.iter().map(Trial::useless);
        let useless = useless.fold(Useless::default(), Useless::plus);
        let hopeless = told.trials() == 0 && belief.is_hopeless_after(useless);
        let is_known = self.shows(belief).is_some() || told.trials() >= ENOUGH * needed;
        match tried.build_failure.is_some() || hopeless || is_known {
            true => 0,
            false => needed.saturating_sub(told.clean).max(1),
        }
    }
}
