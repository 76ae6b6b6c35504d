//! Commits that were rewritten: found again by the first line of their messages.

use std::collections::BTreeMap;

use git2::Sort;

use super::{CommitId, History, HistoryError};

impl History {
    /// Whether the repository has this commit.
    pub fn has(&self, commit: CommitId) -> bool {
        self.repo().find_commit(commit.oid()).is_ok()
    }

    /// For commits that the repository does not have, those that took their places: the only ones
    /// on any branch or tag that have these first lines. Of what is not found again, or not just
    /// once, nothing is said.
    ///
    /// # Errors
    /// Fails if the history can't be read.
    pub fn found_again(
        &self,
        titles: &BTreeMap<CommitId, String>,
    ) -> Result<BTreeMap<CommitId, CommitId>, HistoryError> {
        let mut lost: BTreeMap<&[u8], Vec<CommitId>> = BTreeMap::new();
        for (&commit, title) in titles.iter().filter(|(commit, _)| !self.has(**commit)) {
            lost.entry(title.as_bytes()).or_default().push(commit);
        }
        if lost.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found: BTreeMap<CommitId, Vec<CommitId>> = BTreeMap::new();
        let mut walk = self.repo().revwalk()?;
        walk.set_sorting(Sort::NONE)?;
        walk.push_glob("refs/*")?;
        // A detached HEAD is no reference below refs/.
        let _ = walk.push_head();
        for oid in walk {
            if self.cancel().is_cancelled() {
                return Err(HistoryError::Cancelled);
            }
            let oid = oid?;
            let commit = self.repo().find_commit(oid)?;
            let Some(wanted) = lost.get(commit.summary_bytes().unwrap_or_default()) else {
                continue;
            };
            for &wanted in wanted {
                found.entry(wanted).or_default().push(oid.into());
            }
        }
        let only = found.into_iter().filter_map(|(lost, found)| match found.as_slice() {
            [only] => Some((lost, *only)),
            _ => None,
        });
        Ok(only.collect())
    }
}
