//! Runs the git program, where it is much faster than libgit2.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use super::{CommitId, HistoryError};
use crate::cancel::Cancel;
use crate::{git, group};

/// How much is read at once, in bytes.
const PIECE: usize = 128 << 10;

/// The arguments that mean the commits reachable from `bad` and from no good tip.
pub(super) fn range(good: &[CommitId], bad: CommitId) -> impl Iterator<Item = String> {
    std::iter::once(bad.to_string()).chain(good.iter().map(|tip| format!("^{tip}")))
}

/// Runs git on the repository of that directory and hands each line that it prints to `take`, with
/// its newline, while git goes on. `failed` makes an error of what went wrong with git itself.
/// Cancelling ends git.
pub(super) fn lines(
    git_dir: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    cancel: &Cancel,
    failed: impl Fn(String) -> HistoryError,
    take: impl FnMut(&[u8]) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let mut child = git::command()
        .arg("--git-dir")
        .arg(git_dir)
        .args(arguments)
        // Into a pipe git writes each line by itself otherwise.
        .env("GIT_FLUSH", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let guard = group::kill_on_cancel(&child, cancel);
    // When reading ends early git has nobody to write to, and so is not waited for in vain.
    let read = child.stdout.take().map_or(Ok(()), |out| read(out, &failed, take));
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    drop(guard);
    let ended = child.wait();
    if cancel.is_cancelled() {
        return Err(HistoryError::Cancelled);
    }
    read?;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("{}{status}", said.trim_start()))),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn read(
    out: impl Read,
    failed: impl Fn(String) -> HistoryError,
    mut take: impl FnMut(&[u8]) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let mut reader = BufReader::with_capacity(PIECE, out);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => take(&line)?,
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}
