//! Which commit of a history is looked for.

use serde::{Deserialize, Serialize};

use super::{CommitId, Graph, Rev};

/// Which commit of a history is looked for.
///
/// The candidates are the same either way: what the newer end of the range contains and the older
/// one does not. What differs is at which end the bug shows, and so what it says of a revision that
/// it contains the sought commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Find {
    /// The one that brought the bug in: the newer end shows it.
    #[default]
    Cause,
    /// The one since which it does not show any more: the older end shows it.
    Fix,
}

impl Find {
    /// Whether a revision that contains the sought commit, or does not, has the bug.
    pub fn is_bad(self, contains: bool) -> bool {
        match self {
            Find::Cause => contains,
            Find::Fix => !contains,
        }
    }

    /// The older ends of the range and the newer one.
    pub fn range(self, good: &[CommitId], bad: CommitId) -> (Vec<CommitId>, CommitId) {
        match self {
            Find::Cause => (good.to_vec(), bad),
            Find::Fix => (vec![bad], good.first().copied().unwrap_or(bad)),
        }
    }

    /// The same the other way round: the good revisions and the bad one.
    pub fn ends(self, older: Vec<CommitId>, newer: CommitId) -> (Vec<CommitId>, CommitId) {
        match self {
            Find::Cause => (older, newer),
            Find::Fix => (vec![newer], older.first().copied().unwrap_or(newer)),
        }
    }

    /// The end of the range that shows the bug; there is none only if there are no candidates.
    pub fn bad_end(self, graph: &Graph) -> Option<Rev> {
        match self {
            Find::Cause => graph.bad_tip(),
            Find::Fix => graph.good_tips().first().copied(),
        }
    }

    /// The ends of the range that do not.
    pub fn good_ends(self, graph: &Graph) -> Vec<Rev> {
        match self {
            Find::Cause => graph.good_tips().to_vec(),
            Find::Fix => graph.bad_tip().into_iter().collect(),
        }
    }
}
