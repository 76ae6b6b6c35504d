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

    /// What is suspected and makes no difference to these candidates, a sentence each: a mistyped path
    /// would be missed in silence. `prior` is what [`prior`](Hints::prior) gives.
    pub fn unheeded(&self, candidates: &Candidates, prior: Option<&Prior>) -> Vec<String> {
        let graph = candidates.graph();
        let is_candidate =
            |commit: CommitId| candidates.rev(commit).is_some_and(|rev| graph.is_candidate(rev));
        let aside = self.suspects.iter().filter(|(commit, _)| !is_candidate(*commit));
        let mut notes: Vec<String> = aside
            .map(|(commit, _)| {
                format!("{} is not suspected: it is none of the candidates", commit.short())
            })
            .collect();
        let probabilities = prior.map(Prior::probabilities).unwrap_or_default();
        let suspects: Vec<_> =
            self.suspects.iter().map(|(commit, _)| candidates.rev(*commit)).collect();
        let mut others = (0..).zip(&probabilities).filter_map(|(rev, probability)| {
            (graph.is_candidate(rev) && !suspects.contains(&Some(rev))).then_some(*probability)
        });
        let first = others.next();
        if !self.paths.is_empty() && others.all(|probability| Some(probability) == first) {
            notes.push(format!(
                "{} makes no commit likelier than others: none of the candidates changes it, or all do",
                self.paths.join(" ")
            ));
        }
        notes
    }
}
