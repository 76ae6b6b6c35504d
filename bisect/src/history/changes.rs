//! Which paths commits change.

use std::collections::HashMap;
use std::path::Path;

use super::{CommitId, HistoryError, git};
use crate::cancel::Cancel;

/// The paths that each commit of a range changes; of a merge, those in which it agrees with none of
/// its parents. Commits that change nothing are left out.
pub type Changes = HashMap<CommitId, Vec<String>>;

/// Reads what the commits reachable from `bad` and from no good tip change; if there are `limits`,
/// only those paths that lie at or below one of them (git's pathspecs).
///
/// For git a commit is a line that begins with a zero byte; its paths follow, a line each. Names
/// that git has to quote come quoted, and match nothing.
pub(super) fn changes(
    git_dir: &Path,
    good: &[CommitId],
    bad: CommitId,
    limits: &[String],
    cancel: &Cancel,
) -> Result<Changes, HistoryError> {
    let failed = |reason: String| HistoryError::Log { reason };
    // Without --full-history git leaves out branches that came to the same in the end.
    let log = ["-c", "core.quotePath=false", "log", "--full-history", "--no-renames"];
    let show = ["--diff-merges=combined", "--name-only", "--no-ext-diff", "--format=%x00%H"];
    let arguments = log.into_iter().chain(show).map(str::to_owned);
    let arguments = arguments.chain(git::range(good, bad)).chain(["--".to_owned()]);
    let arguments = arguments.chain(limits.iter().cloned());
    let (mut changes, mut commit) = (Changes::new(), None);
    git::lines(git_dir, arguments, cancel, failed, |line| {
        let text = line.trim_ascii_end();
        if let Some(name) = text.strip_prefix(b"\0") {
            let name = String::from_utf8_lossy(name);
            commit = Some(name.parse().map_err(|_| failed(format!("it printed {name:?}")))?);
        } else if let (Some(commit), false) = (commit, text.is_empty()) {
            let paths: &mut Vec<String> = changes.entry(commit).or_default();
            paths.push(String::from_utf8_lossy(text).into_owned());
        }
        Ok(())
    })?;
    Ok(changes)
}
