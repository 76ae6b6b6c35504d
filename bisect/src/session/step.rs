//! What a session does next.

use thiserror::Error;

use super::{Dropped, Skip};
use crate::history::{CommitId, Rev};
use crate::journal::Stage;
use crate::search::{Purpose, Verdict};

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Record that this revision is to be tried.
    Plan {
        /// The revision.
        rev: Rev,
        /// How many trials.
        trials: u32,
        /// Why.
        purpose: Purpose,
    },
    /// Record that this revision says nothing of a fix, whatever its trials would show.
    Skip {
        /// The revision.
        rev: Rev,
        /// Where its branch left.
        base: Rev,
        /// Why.
        why: Skip,
    },
    /// Record whether the answer can be reverted at the newer end of the range.
    Revert {
        /// The answer.
        rev: Rev,
    },
    /// Record that the baseline configuration in use is not used any more.
    DropBaseline(Dropped),
    /// Build it.
    Build {
        /// The revision.
        rev: Rev,
    },
    /// Run trials of it.
    Trials {
        /// The revision.
        rev: Rev,
        /// How many.
        trials: u32,
    },
    /// Stop: the host failed too often, last with this.
    GiveUp {
        /// At what.
        stage: Stage,
        /// How.
        reason: String,
    },
    /// Stop: this is the answer.
    Done(Verdict),
}

/// Why a record can't be applied.
#[derive(Debug, Error)]
pub enum FoldError {
    /// It speaks of a commit outside the range.
    #[error("the journal speaks of {commit}, which is neither a candidate nor a good tip")]
    UnknownCommit {
        /// The commit.
        commit: CommitId,
    },
    /// A number stands for no revision of the range.
    #[error("there is no revision number {rev} in the range")]
    UnknownRevision {
        /// The number.
        rev: Rev,
    },
}
