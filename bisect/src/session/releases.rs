//! The search for a good revision where none was given: release by release, from new to old.

use std::collections::VecDeque;

use crate::history::{CommitId, History, HistoryError, Release};

/// Releases that may be good and were not tried yet.
#[derive(Debug)]
pub struct Releases {
    left: VecDeque<Release>,
}

impl Releases {
    /// Those that are ancestors of `bad` and, if one was tried already, older than the last.
    ///
    /// # Errors
    /// Fails if the repository can't be read.
    pub fn before(
        history: &History,
        bad: CommitId,
        tried: Option<CommitId>,
    ) -> Result<Releases, HistoryError> {
        let mut left = VecDeque::from(history.releases(bad)?);
        if let Some(at) = left.iter().position(|release| Some(release.commit) == tried) {
            left.drain(..=at);
        }
        Ok(Releases { left })
    }
}

impl Iterator for Releases {
    type Item = Release;

    fn next(&mut self) -> Option<Release> {
        self.left.pop_front()
    }
}
