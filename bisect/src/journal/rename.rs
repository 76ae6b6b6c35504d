//! What is recorded of commits that were rewritten since, under the names they have now.

use std::collections::BTreeMap;

use super::{Event, Header, Record};
use crate::history::CommitId;

/// Every commit of which the journal has the title: the ends, and what was tried.
pub fn titles(header: &Header, records: &[Record]) -> BTreeMap<CommitId, String> {
    let mut titles = header.titles.clone();
    for record in records {
        if let Event::Planned { commit, title, .. } = &record.event
            && !title.is_empty()
        {
            titles.insert(*commit, title.clone());
        }
    }
    titles
}

/// Calls commits by other names.
pub fn rename(header: &mut Header, records: &mut [Record], names: &BTreeMap<CommitId, CommitId>) {
    let in_header = header.good.iter_mut().chain([&mut header.bad]);
    let in_records = records.iter_mut().flat_map(|record| record.event.commits_mut());
    for commit in in_header.chain(in_records) {
        if let Some(name) = names.get(commit) {
            *commit = *name;
        }
    }
}
