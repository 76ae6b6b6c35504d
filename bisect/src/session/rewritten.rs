//! Going on where history was rewritten.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{CommitId, History, HistoryError};
use crate::journal::{Header, Record, rename, titles};

/// What became of commits that a journal speaks of and the repository does not have any more.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// Those that were found again by their titles, and what stands for them now.
    pub found: BTreeMap<CommitId, CommitId>,
    /// Those that were not. What was measured of them is left out.
    pub lost: BTreeSet<CommitId>,
}

impl Rewritten {
    /// Looks for them, and calls them in the header and the records by the names they have now.
    ///
    /// # Errors
    /// Fails if an end of the range is not found again.
    pub fn follow(
        history: &History,
        header: &mut Header,
        records: &mut Vec<Record>,
    ) -> Result<Rewritten, HistoryError> {
        let titles = titles(header, records);
        let found = history.found_again(&titles)?;
        for end in header.good.iter().chain([&header.bad]) {
            if !history.has(*end) && !found.contains_key(end) {
                let title = titles.get(end).cloned().unwrap_or_default();
                return Err(HistoryError::Lost { commit: *end, title });
            }
        }
        let lost: BTreeSet<CommitId> = titles
            .into_keys()
            .filter(|commit| !found.contains_key(commit) && !history.has(*commit))
            .collect();
        records.retain(|record| record.event.commit().is_none_or(|it| !lost.contains(&it)));
        rename(header, records, &found);
        Ok(Rewritten { found, lost })
    }

    /// What there is to say of it, a line each.
    pub fn notes(&self) -> Vec<String> {
        let found = self.found.iter().map(|(was, is)| {
            let (was, is) = (was.short(), is.short());
            format!("{was} is in the repository no more; {is} has its title and stands for it")
        });
        let lost = self.lost.iter().map(|commit| {
            let commit = commit.short();
            format!("{commit} is in the repository no more: what was measured of it is left out")
        });
        found.chain(lost).collect()
    }
}
