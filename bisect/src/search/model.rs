//! What is assumed before the first trial.

use crate::history::Find;

/// What is assumed before the first trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Which commit is looked for.
    pub find: Find,
    /// Probability at which a culprit is named.
    pub confidence: f64,
    /// Share of revisions whose trials follow no common rate.
    pub outlier: f64,
    /// Probability that the bug shows in the good ends too: that it is older or, where its fix is
    /// looked for, not fixed yet.
    pub outside: f64,
    /// Probability that two images of one signature behave differently.
    pub signature_lies: f64,
}

impl Model {
    /// The model for a bisection that names the commit that brought a bug in at `confidence`.
    pub fn new(confidence: f64) -> Model {
        Model {
            find: Find::Cause,
            confidence,
            // An odd revision can cost this much certainty at most, so it has to leave room.
            outlier: ((1.0 - confidence) / 10.0).min(0.005),
            outside: 0.02,
            signature_lies: 1e-4,
        }
    }

    /// How likely it is that a revision just outside the range, where a side branch left below the
    /// good ends, has the bug already and brings it in, relative to an average candidate. It leaves
    /// room to name the first commit of a branch whose base can't be tested.
    pub(super) fn base_is_bad(&self) -> f64 {
        (1.0 - self.confidence) / 2.0
    }

    /// The posterior probability at which a culprit is named. A part of the error that is allowed
    /// is kept for what the model leaves out: that rates differ from revision to revision, that they
    /// lie between the points of the grid.
    pub(super) fn names_at(&self) -> f64 {
        const MODELLED: f64 = 0.7;
        1.0 - MODELLED * (1.0 - self.confidence)
    }
}

/// Where trying is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Trials in all.
    pub trials: u64,
    /// Clean trials of the bad tip, with no hit among them, after which the bug counts as not
    /// reproduced.
    pub bad_tip: u32,
    /// Clean trials asked of one revision to believe that it is good.
    pub clean: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { trials: 10_000, bad_tip: 100, clean: 100 }
    }
}
