//! The candidates, as the git program lists them.
//!
//! `git rev-list` uses a commit-graph file where there is one, honours grafts and replacements, and
//! writes while this end of the pipe reads: all together takes no longer than `git rev-list`
//! alone.

use std::collections::HashSet;
use std::path::Path;

use git2::Oid;

use super::{Candidates, CommitId, HistoryError, git};
use crate::cancel::Cancel;

/// The commits that are reachable from `bad` and from no good tip, in the repository of that
/// directory.
pub(super) fn candidates(
    git_dir: &Path,
    good: &[CommitId],
    bad: CommitId,
    shallow: &HashSet<Oid>,
    cancel: &Cancel,
) -> Result<Candidates, HistoryError> {
    let failed = |reason: String| HistoryError::RevList { reason };
    let list = ["rev-list", "--topo-order", "--parents"].map(str::to_owned);
    let arguments = list.into_iter().chain(git::range(good, bad));
    let mut listed = Listed::default();
    git::lines(git_dir, arguments, cancel, failed, |line| listed.take(line, shallow))?;
    Ok(listed.candidates(good))
}

/// Commits in the order of the list: children before parents.
#[derive(Default)]
struct Listed {
    ids: Vec<CommitId>,
    /// How many parents each has, and all of them one after the other.
    counts: Vec<u32>,
    parents: Vec<CommitId>,
}

impl Listed {
    fn take(&mut self, line: &[u8], shallow: &HashSet<Oid>) -> Result<(), HistoryError> {
        let text = line.trim_ascii();
        let mut names = text.split(|&byte| byte == b' ').map(|name| {
            CommitId::from_hex(name).ok_or_else(|| {
                let line = String::from_utf8_lossy(text);
                HistoryError::RevList { reason: format!("it printed {line:?}") }
            })
        });
        let Some(id) = names.next().transpose()? else { return Ok(()) };
        if shallow.contains(&id.oid()) {
            return Err(HistoryError::Shallow { at: id });
        }
        let before = self.parents.len();
        for parent in names {
            self.parents.push(parent?);
        }
        self.ids.push(id);
        self.counts.push((self.parents.len() - before) as u32);
        Ok(())
    }

    /// The same, parents before children.
    fn candidates(mut self, good: &[CommitId]) -> Candidates {
        self.ids.reverse();
        self.counts.reverse();
        let mut parents = Vec::with_capacity(self.parents.len());
        let mut end = self.parents.len();
        for &count in &self.counts {
            let start = end.saturating_sub(count as usize);
            parents.extend(self.parents.get(start..end).unwrap_or_default());
            end = start;
        }
        Candidates::from_parts(self.ids, &self.counts, &parents, good)
    }
}
