//! What a trial says about the target.

use serde::{Deserialize, Serialize};

/// What a trial says about the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The target showed, during boot or workload: evidence for bad.
    Hit {
        /// What showed: a crash title, or a sentence for the other targets.
        title: String,
    },
    /// The workload finished and nothing showed: evidence for good.
    Clean,
    /// Another crash came first: nothing about the target after that moment.
    Foreign {
        /// The other crash's title.
        title: String,
    },
    /// Init was never reached and nothing was recognised.
    NoBoot {
        /// What was seen instead.
        reason: String,
    },
    /// No progress.
    Hang {
        /// What the machine hung on, as far as it can be told.
        title: String,
    },
    /// A precondition is not met; never good.
    Invalid {
        /// Which one.
        reason: String,
    },
    /// The host failed.
    Infra {
        /// How.
        reason: String,
    },
}
