//! The range of a history in which a commit is looked for.

use git2::ErrorCode;

use super::{Candidates, CommitId, Find, History, HistoryError, Rev, walk};

/// The candidates between some older ends and a newer one.
#[derive(Clone, Debug)]
pub struct Range {
    /// The candidates.
    pub candidates: Candidates,
    /// Where they begin: the older ends, each once, but for those on other branches, for which the
    /// youngest commit stands that they have in common with the newer end.
    pub older: Vec<CommitId>,
    /// The older ends on other branches, and what stands for them.
    pub parted: Vec<(CommitId, CommitId)>,
}

impl History {
    /// The commits that are reachable from `bad` and from no good tip, merges included.
    ///
    /// # Errors
    /// Fails if a good tip is not an ancestor of `bad`, with the reason, and where the history is
    /// cut off or not what it seems.
    pub fn candidates(&self, good: &[CommitId], bad: CommitId) -> Result<Candidates, HistoryError> {
        let candidates = self.list(good, bad)?;
        for &tip in good {
            let merge_base = self.base_listed(&candidates, Find::Cause, tip, bad)?;
            if merge_base != tip {
                return Err(HistoryError::NotAncestor { good: tip, bad, merge_base });
            }
        }
        Ok(candidates)
    }

    /// The candidates between some older ends and a newer one, none of which need be below it.
    ///
    /// # Errors
    /// Fails if an older end has no commit in common with the newer one or nothing lies between them,
    /// and where the history is cut off or not what it seems.
    pub fn range(
        &self,
        find: Find,
        older: &[CommitId],
        newer: CommitId,
    ) -> Result<Range, HistoryError> {
        let candidates = self.list(older, newer)?;
        let (mut bases, mut parted) = (Vec::new(), Vec::new());
        for &tip in older {
            let base = self.base_listed(&candidates, find, tip, newer)?;
            if base != tip {
                parted.push((tip, base));
            }
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        let candidates = match bases == older {
            true => candidates,
            false => self.list(&bases, newer)?,
        };
        Ok(Range { candidates, older: bases, parted })
    }

    fn list(&self, older: &[CommitId], newer: CommitId) -> Result<Candidates, HistoryError> {
        if older.is_empty() {
            return Err(HistoryError::NoGood);
        }
        let (dir, shallow) = (self.git_dir(), self.shallow_commits());
        let candidates = walk::candidates(dir, older, newer, &shallow, self.cancel())?;
        self.check_overlaid(&candidates)?;
        Ok(candidates)
    }

    /// Where the range from an older end begins, told from the list of candidates where it can be:
    /// the search for what two commits have in common walks over all of them once more.
    fn base_listed(
        &self,
        candidates: &Candidates,
        find: Find,
        old: CommitId,
        new: CommitId,
    ) -> Result<CommitId, HistoryError> {
        let graph = candidates.graph();
        let is_parent = |tip| (0..candidates.len() as Rev).any(|c| graph.parents(c).contains(&tip));
        // An ancestor need not be anyone's parent: another older end may lie between.
        match candidates.rev(old).is_some_and(is_parent) {
            true => Ok(old),
            false => self.base(find, old, new),
        }
    }

    fn base(&self, find: Find, old: CommitId, new: CommitId) -> Result<CommitId, HistoryError> {
        let (good, bad) = match find {
            Find::Cause => (old, new),
            Find::Fix => (new, old),
        };
        if good == bad {
            return Err(HistoryError::Equal { name: good });
        }
        let merge_base = match self.repo().merge_base(good.oid(), bad.oid()) {
            Ok(oid) => CommitId::from(oid),
            Err(error) if error.code() == ErrorCode::NotFound => {
                // What is cut off may well be what they have in common.
                let cut = self.shallow_commits().into_iter().min();
                return Err(match (cut, self.grafted().into_iter().min()) {
                    (Some(at), _) => HistoryError::Shallow { at: at.into() },
                    (None, Some(at)) => HistoryError::Grafted { at },
                    (None, None) => HistoryError::Unrelated { good, bad },
                });
            }
            Err(error) => return Err(error.into()),
        };
        match find {
            _ if merge_base != new => Ok(merge_base),
            Find::Cause => Err(HistoryError::Swapped { good, bad }),
            Find::Fix => Err(HistoryError::FixedBefore { good, bad }),
        }
    }
}
