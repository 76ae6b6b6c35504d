//! What a user suspects before the first trial.

use crate::history::{Candidates, CommitId, History, HistoryError};
use crate::search::Prior;

/// Share of the probability that commits hold that change the named paths.
const PATHS_HOLD: f64 = 0.9;

/// What a user suspects before the first trial. It saves trials where it is right, and costs some
/// where it is wrong. It rules nobody out, but is part of every probability that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// Paths that the sought commit probably changes.
    pub paths: Vec<String>,
    /// Commits, and how many times as likely as others each of them is.
    pub suspects: Vec<(CommitId, f64)>,
}

impl Hints {
    /// What follows for these candidates; nothing without hints.
    ///
    /// # Errors
    /// Fails if git can't say what the candidates change.
    pub fn prior(
        &self,
        history: &History,
        candidates: &Candidates,
    ) -> Result<Option<Prior>, HistoryError> {
        if self.paths.is_empty() && self.suspects.is_empty() {
            return Ok(None);
        }
        let graph = candidates.graph();
        let mut prior = Prior::even(candidates.len());
        let newest = graph.bad_tip().and_then(|tip| candidates.id(tip));
        if let Some(newest) = newest.filter(|_| !self.paths.is_empty()) {
            let older: Vec<CommitId> =
                graph.good_tips().iter().filter_map(|&tip| candidates.id(tip)).collect();
            let changes = history.changes(&older, newest, &self.paths)?;
            let revs = changes.keys().filter_map(|&commit| candidates.rev(commit));
            prior.hold(revs.filter(|&rev| graph.is_candidate(rev)), PATHS_HOLD);
        }
        for &(commit, weight) in &self.suspects {
            if let Some(rev) = candidates.rev(commit) {
                prior.weigh(rev, weight);
            }
        }
        Ok(Some(prior))
    }
}
