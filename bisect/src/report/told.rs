//! Who to tell of the answer.

use std::path::Path;

use crate::history::History;
use crate::maintainers::{Maintainers, Recipients};
use crate::search::Verdict;
use crate::session::Fold;

/// Who to tell of a culprit, by what the tree says at the newer end of the range. `dir` is that of
/// the journal.
///
/// `None` where there is no culprit, or the tree does not say who maintains it: that is no reason to
/// keep the answer back.
pub fn recipients(
    fold: &Fold,
    verdict: &Verdict,
    history: &History,
    dir: &Path,
) -> Option<Recipients> {
    let &Verdict::Culprit { rev, .. } = verdict else { return None };
    let culprit = fold.commit(rev).ok()?;
    let newest = fold.candidates().graph().bad_tip().and_then(|tip| fold.commit(tip).ok());
    let maintainers = Maintainers::at(history, newest.unwrap_or(culprit)).ok()?;
    // What the culprit showed, else what any other revision did.
    let own = fold.of(rev).into_iter();
    let guilty = own.chain(fold.tried_revisions()).find_map(|tried| tried.crash(dir)?.guilty_file);
    let told = maintainers.of_culprit(history, culprit, guilty.as_deref()).ok()?;
    (!told.is_empty()).then_some(told)
}
