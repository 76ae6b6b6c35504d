//! The candidates, as the git program lists them.
//!
//! `git rev-list` uses a commit-graph file where there is one, honours grafts and replacements, and
//! writes while this end of the pipe reads: all together takes no longer than `git rev-list`
//! alone.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use git2::Oid;

use super::{Candidates, CommitId, HistoryError};

/// Bytes of the line of a merge.
const LINE: usize = 3 * 41;

/// The commits that are reachable from `bad` and from no good tip, in the repository of that
/// directory.
pub(super) fn candidates(
    git_dir: &Path,
    good: &[CommitId],
    bad: CommitId,
    shallow: &HashSet<Oid>,
) -> Result<Candidates, HistoryError> {
    let failed = |reason: String| HistoryError::RevList { reason };
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(git_dir).args(["rev-list", "--topo-order", "--parents"]);
    command.arg(bad.to_string()).args(good.iter().map(|tip| format!("^{tip}")));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C must not look like git's own failure.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut reader = child.stdout.take().map(|out| BufReader::with_capacity(LINE << 10, out));
    let mut listed = Listed::default();
    let read = reader.as_mut().map_or(Ok(()), |reader| listed.read(reader, shallow));
    // Where reading ended early, git must not wait for a reader.
    drop(reader);
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    let ended = child.wait();
    read?;
    match ended {
        Ok(status) if status.success() => Ok(listed.candidates(good)),
        Ok(status) => Err(failed(format!("{}{status}", said.trim_start()))),
        Err(error) => Err(failed(error.to_string())),
    }
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
    fn read(
        &mut self,
        reader: &mut impl BufRead,
        shallow: &HashSet<Oid>,
    ) -> Result<(), HistoryError> {
        let mut line = Vec::with_capacity(LINE);
        loop {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => self.take(&line, shallow)?,
                Err(error) => return Err(HistoryError::RevList { reason: error.to_string() }),
            }
        }
    }

    fn take(&mut self, line: &[u8], shallow: &HashSet<Oid>) -> Result<(), HistoryError> {
        let text = line.trim_ascii();
        let mut names = text.split(|&byte| byte == b' ').map(|name| {
            let name = std::str::from_utf8(name).ok();
            name.and_then(|name| name.parse::<CommitId>().ok()).ok_or_else(|| {
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
