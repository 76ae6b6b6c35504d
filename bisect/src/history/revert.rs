//! What git makes of commits, without touching a checkout: reverts, and merges done over.

use git2::{Index, MergeOptions, Signature};

use super::{CommitId, History, HistoryError};

/// What became of a revert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revert {
    /// This commit has it: an object that no branch leads to, which git removes in its time.
    Made(CommitId),
    /// It conflicts with what these files have become since.
    Conflicts(Vec<String>),
    /// Nothing is left of it to revert.
    Nothing,
}

/// How a merge differs from what git makes of its parents.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ByHand {
    /// Files in which git finds a conflict, which somebody has resolved.
    pub conflicts: Vec<String>,
    /// Other files that are not as git merges them.
    pub changed: Vec<String>,
}

impl History {
    /// Reverts a commit on top of another; of a merge, what it brought to its first parent.
    ///
    /// Checkouts, branches and the index stay as they are.
    ///
    /// # Errors
    /// Fails if an object is missing or none can be written.
    pub fn revert(&self, culprit: CommitId, onto: CommitId) -> Result<Revert, HistoryError> {
        let repo = self.repo();
        let (reverted, ours) = (repo.find_commit(culprit.oid())?, repo.find_commit(onto.oid())?);
        let mainline = u32::from(reverted.parent_count() > 1);
        let mut index =
            repo.revert_commit(&reverted, &ours, mainline, Some(&MergeOptions::new()))?;
        if index.has_conflicts() {
            return Ok(Revert::Conflicts(conflicts(&index)?));
        }
        let tree = index.write_tree_to(repo)?;
        if tree == ours.tree_id() {
            return Ok(Revert::Nothing);
        }
        let tree = repo.find_tree(tree)?;
        // The same revert has the same name whenever it is made.
        let author = Signature::new("vmbisect", "vmbisect@localhost", &ours.time())?;
        let title = String::from_utf8_lossy(reverted.summary_bytes().unwrap_or_default());
        let message = format!("Revert \"{title}\"\n\nThis reverts commit {culprit}.\n");
        let commit = repo.commit(None, &author, &author, &message, &tree, &[&ours])?;
        Ok(Revert::Made(commit.into()))
    }

    /// What somebody did by hand in a merge of two; `None` for what is no such merge.
    ///
    /// # Errors
    /// Fails if an object is missing.
    pub fn by_hand(&self, merge: CommitId) -> Result<Option<ByHand>, HistoryError> {
        let repo = self.repo();
        let commit = repo.find_commit(merge.oid())?;
        if commit.parent_count() != 2 {
            return Ok(None);
        }
        let (first, second) = (commit.parent(0)?, commit.parent(1)?);
        let index = repo.merge_commits(&first, &second, Some(&MergeOptions::new()))?;
        let conflicts = conflicts(&index)?;
        let diff = repo.diff_tree_to_index(Some(&commit.tree()?), Some(&index), None)?;
        let path = |delta: git2::DiffDelta<'_>| {
            let file = delta.old_file().path().or(delta.new_file().path())?;
            Some(file.to_string_lossy().into_owned())
        };
        let changed = diff.deltas().filter_map(path).filter(|path| !conflicts.contains(path));
        Ok(Some(ByHand { changed: changed.collect(), conflicts }))
    }
}

/// The files in which there are conflicts.
fn conflicts(index: &Index) -> Result<Vec<String>, git2::Error> {
    let mut paths = Vec::new();
    for conflict in index.conflicts()? {
        let conflict = conflict?;
        let entry = conflict.our.or(conflict.their).or(conflict.ancestor);
        let path = entry.map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
        paths.extend(path);
    }
    paths.dedup();
    Ok(paths)
}
