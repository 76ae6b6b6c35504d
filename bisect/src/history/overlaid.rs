//! Histories that git shows otherwise than they are: replacements and grafts.

use std::collections::HashSet;

use super::{Candidates, CommitId, History, HistoryError};

impl History {
    /// Refuses candidates that git replaces by other commits, or to which it gives other parents:
    /// what is checked out for their names would not be what the names stand for elsewhere.
    pub(super) fn check_overlaid(&self, candidates: &Candidates) -> Result<(), HistoryError> {
        let inside = |commits: HashSet<CommitId>| {
            commits.into_iter().filter(|&commit| candidates.rev(commit).is_some()).min()
        };
        if let Some(at) = inside(self.replaced()?) {
            return Err(HistoryError::Replaced { at });
        }
        match inside(self.grafted()) {
            Some(at) => Err(HistoryError::Grafted { at }),
            None => Ok(()),
        }
    }

    /// Commits that `git replace` puts others in the place of: `refs/replace/NAME`.
    fn replaced(&self) -> Result<HashSet<CommitId>, HistoryError> {
        let mut replaced = HashSet::new();
        for reference in self.repo().references_glob("refs/replace/*")? {
            let reference = reference?;
            let name = reference.name().ok().and_then(|name| name.rsplit('/').next());
            replaced.extend(name.and_then(|name| name.parse::<CommitId>().ok()));
        }
        Ok(replaced)
    }

    /// Commits to which `info/grafts` gives other parents, a line each.
    pub(super) fn grafted(&self) -> HashSet<CommitId> {
        let text = std::fs::read_to_string(self.git_dir().join("info").join("grafts"));
        let text = text.unwrap_or_default();
        let first = |line: &str| line.split_whitespace().next()?.parse().ok();
        text.lines().filter_map(first).collect()
    }
}
