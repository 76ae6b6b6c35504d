//! What the crash itself says of who is to blame.

use std::path::Path;

use super::Fold;
use crate::crash::files;
use crate::history::{CommitId, History, HistoryError};
use crate::journal::Event;
use crate::search::SUSPECTED;

/// The commits that touch files of the first hit's report, as an event; `None` while there is none.
/// Where it names no files nobody is favoured.
pub(super) fn crash_hint(
    fold: &Fold,
    history: &History,
    dir: &Path,
) -> Result<Option<Event>, HistoryError> {
    let Some(crash) = fold.tried_revisions().iter().find_map(|tried| tried.crash(dir)) else {
        return Ok(None);
    };
    let mut files = files(&crash.report);
    files.extend(crash.guilty_file);
    let graph = fold.candidates().graph();
    let commit = |rev| fold.candidates().id(rev);
    let older: Vec<CommitId> = graph.good_tips().iter().copied().filter_map(commit).collect();
    let mut commits: Vec<CommitId> = match graph.bad_tip().and_then(commit) {
        Some(newer) if !files.is_empty() => {
            history.changes(&older, newer, &files)?.into_keys().collect()
        }
        _ => Vec::new(),
    };
    commits.sort_unstable();
    Ok(Some(Event::Favoured { commits, share: SUSPECTED }))
}
