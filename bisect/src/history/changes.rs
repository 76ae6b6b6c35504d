//! Which paths commits change.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{CommitId, HistoryError};

/// The paths that each commit of a range changes; of a merge, those in which it agrees with none of
/// its parents. Commits that change nothing are left out.
pub type Changes = HashMap<CommitId, Vec<String>>;

/// Reads what the commits reachable from `bad` and from no good tip change; if there are `limits`,
/// only those paths that lie at or below one of them (git's pathspecs).
pub(super) fn changes(
    git_dir: &Path,
    good: &[CommitId],
    bad: CommitId,
    limits: &[String],
) -> Result<Changes, HistoryError> {
    let failed = |reason: String| HistoryError::Log { reason };
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(git_dir).args(["-c", "core.quotePath=false", "log"]);
    // Without --full-history git leaves out branches that came to the same in the end.
    command.args(["--full-history", "--no-renames", "--diff-merges=combined", "--name-only"]);
    command.args(["--no-ext-diff", "--format=%x00%H"]);
    command.arg(bad.to_string()).args(good.iter().map(|tip| format!("^{tip}")));
    command.arg("--").args(limits);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C must not look like git's own failure.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let read = child.stdout.take().map_or(Ok(Changes::new()), |out| read(BufReader::new(out)));
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    let ended = child.wait();
    let changes = read.map_err(failed)?;
    match ended {
        Ok(status) if status.success() => Ok(changes),
        Ok(status) => Err(failed(format!("{}{status}", said.trim_start()))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A commit is a line that begins with a zero byte; its paths follow, a line each. Names that git
/// has to quote come quoted, and match nothing.
fn read(mut reader: impl BufRead) -> Result<Changes, String> {
    let mut changes = Changes::new();
    let (mut line, mut commit) = (Vec::new(), None);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|error| error.to_string())? == 0 {
            return Ok(changes);
        }
        let text = line.trim_ascii_end();
        if let Some(name) = text.strip_prefix(b"\0") {
            let name = String::from_utf8_lossy(name);
            commit = Some(name.parse().map_err(|_| format!("it printed {name:?}"))?);
        } else if let (Some(commit), false) = (commit, text.is_empty()) {
            let paths: &mut Vec<String> = changes.entry(commit).or_default();
            paths.push(String::from_utf8_lossy(text).into_owned());
        }
    }
}
