//! Verdicts of which no runs are recorded: nothing can contradict them but one another.

use serde::Serialize;
use vmbisect::history::{CommitId, Rev};
use vmbisect::import::Word;

use super::evidence::Evidence;

/// Two verdicts of which one is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Conflict {
    /// Was judged not to contain what is looked for.
    pub(super) good: CommitId,
    /// Was judged to contain it, and is this very commit or an ancestor of it.
    pub(super) bad: CommitId,
}

/// Verdicts of which one is wrong: what contains a commit has whatever came in with it.
pub(super) fn conflicts(evidence: &Evidence) -> Vec<Conflict> {
    let candidates = evidence.fold.candidates();
    let judged = |word: Word| -> Vec<(Rev, CommitId)> {
        let said = evidence.verdicts.iter().filter(|(_, said)| *said == word);
        said.filter_map(|&(commit, _)| Some((candidates.rev(commit)?, commit))).collect()
    };
    let bad = judged(Word::Bad);
    let mut found = Vec::new();
    for (rev, good) in judged(Word::Good) {
        let below = candidates.graph().ancestors(rev);
        let inside = bad.iter().filter(|(bad, _)| *bad == rev || below.contains(*bad));
        for &(_, bad) in inside {
            let conflict = Conflict { good, bad };
            // A verdict may stand in a log more than once.
            if !found.contains(&conflict) {
                found.push(conflict);
            }
        }
    }
    found
}

impl Conflict {
    /// Whether one of the two is about this commit.
    pub(super) fn is_about(&self, commit: CommitId) -> bool {
        self.good == commit || self.bad == commit
    }

    /// What it comes to, for people.
    pub(super) fn describe(&self) -> String {
        let (good, bad) = (self.good.short(), self.bad.short());
        match self.good == self.bad {
            true => format!("Does not fit: {good} was judged good and bad."),
            false => format!(
                "Does not fit: {good} was judged good, and contains {bad}, which was judged bad. One \
                 of the two is wrong."
            ),
        }
    }
}
