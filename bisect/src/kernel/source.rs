//! The revision's files: a worktree of the builder's own beside the user's repository.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BuildError;
use super::run::run;
use crate::cancel::Cancel;

/// A commit and its tree, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) commit: String,
    pub(super) tree: String,
}

/// A repository and the worktree in which its revisions are checked out.
#[derive(Clone, Debug)]
pub(super) struct Source {
    repo: PathBuf,
    worktree: PathBuf,
}

/// Files that every revision of Linux on x86 has.
const LANDMARKS: [&str; 4] = ["Makefile", "Kconfig", "scripts/Makefile.build", "arch/x86/Makefile"];

impl Source {
    /// Checks that `repo` is a repository.
    pub(super) fn open(repo: &Path, worktree: PathBuf) -> Result<Source, BuildError> {
        let not = |reason: String| BuildError::NotARepository { path: repo.to_owned(), reason };
        let repo_path = repo.canonicalize().map_err(|error| not(error.to_string()))?;
        let source = Source { repo: repo_path, worktree };
        match source.read(&["rev-parse", "--absolute-git-dir"]) {
            Ok(_) => Ok(source),
            Err(BuildError::Git { reason, .. }) => Err(not(reason)),
            Err(other) => Err(other),
        }
    }

    /// Where revisions are checked out.
    pub(super) fn worktree(&self) -> &Path {
        &self.worktree
    }

    /// Finds a commit by any name that git understands.
    pub(super) fn resolve(&self, revision: &str) -> Result<Revision, BuildError> {
        let unknown = || BuildError::UnknownRevision {
            revision: revision.to_owned(),
            repo: self.repo.clone(),
        };
        let one = |what: &str| {
            let name = format!("{revision}^{{{what}}}");
            match self.read(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name]) {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(BuildError::Git { .. }) => Err(unknown()),
                Err(other) => Err(other),
            }
        };
        if revision.is_empty() {
            return Err(unknown());
        }
        Ok(Revision { commit: one("commit")?, tree: one("tree")? })
    }

    /// `git ls-tree -r` of a revision: mode, type, object, path.
    pub(super) fn list(&self, revision: &Revision) -> Result<String, BuildError> {
        self.read(&["ls-tree", "-r", "--full-tree", &revision.tree])
    }

    /// Puts the revision's files, and nothing else, into the worktree. Only files that differ are
    /// written, so make sees just those as new.
    pub(super) fn check_out(
        &self,
        revision: &Revision,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<(), BuildError> {
        let again =
            self.worktree.join(".git").exists() && self.update(revision, on_line, cancel).is_ok();
        if !again {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            self.remove()?;
            let worktree = self.worktree.display().to_string();
            let arguments = ["worktree", "add", "--force", "--detach", &worktree, &revision.commit];
            self.git(&self.repo, &arguments, on_line, cancel)?;
        }
        match LANDMARKS.into_iter().find(|file| !self.worktree.join(file).is_file()) {
            Some(missing) => {
                Err(BuildError::NotAKernel { commit: revision.commit.clone(), missing })
            }
            None => Ok(()),
        }
    }

    fn update(
        &self,
        revision: &Revision,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<(), BuildError> {
        // A git that was killed leaves its lock; ours is the only one that works here.
        let lock = self.read_in(&self.worktree, &["rev-parse", "--git-path", "index.lock"])?;
        remove_file(&self.worktree.join(lock.trim()))?;
        let common = |dir: &Path| {
            self.read_in(dir, &["rev-parse", "--path-format=absolute", "--git-common-dir"])
        };
        if common(&self.worktree)? != common(&self.repo)? {
            let reason = "the worktree belongs to another repository".to_owned();
            return Err(BuildError::Git { command: "checkout".into(), reason });
        }
        let arguments = ["checkout", "--force", "--detach", &revision.commit];
        self.git(&self.worktree, &arguments, on_line, cancel)?;
        self.git(&self.worktree, &["clean", "-xffdq"], on_line, cancel)
    }

    /// Removes the worktree from the disk and from the repository.
    pub(super) fn remove(&self) -> Result<(), BuildError> {
        match std::fs::remove_dir_all(&self.worktree) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BuildError::io("remove", &self.worktree)(error))
            }
            _ => self.read(&["worktree", "prune"]).map(|_| ()),
        }
    }

    fn read(&self, arguments: &[&str]) -> Result<String, BuildError> {
        self.read_in(&self.repo, arguments)
    }

    fn read_in(&self, dir: &Path, arguments: &[&str]) -> Result<String, BuildError> {
        let output = git(dir).args(arguments).output().map_err(not_there)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(arguments, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn git(
        &self,
        dir: &Path,
        arguments: &[&str],
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<(), BuildError> {
        let mut said = Complaints::default();
        let mut keep = |line: &str| {
            if line.starts_with("fatal: ") || line.starts_with("error: ") {
                said.push(line);
            }
            on_line(line);
        };
        let status = run(git(dir).args(arguments), &mut keep, cancel).map_err(not_there)?;
        if cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if status.success() { Ok(()) } else { Err(failed(arguments, said.to_string())) }
    }
}

/// What git complains of: the first of it, and the last, for which it gave up. On a full disk it
/// complains of every file of a tree.
#[derive(Default)]
struct Complaints {
    first: Vec<String>,
    more: u64,
    last: String,
}

impl Complaints {
    /// So many are told in full from the start.
    const FIRST: usize = 3;

    fn push(&mut self, line: &str) {
        if self.first.len() < Complaints::FIRST {
            self.first.push(line.to_owned());
        } else {
            self.more += 1;
            line.clone_into(&mut self.last);
        }
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join("; "))?;
        match self.more {
            0 => Ok(()),
            1 => write!(f, "; {}", self.last),
            more => write!(f, "; {} more; {}", more - 1, self.last),
        }
    }
}

fn not_there(error: io::Error) -> BuildError {
    if error.kind() == io::ErrorKind::NotFound {
        return BuildError::MissingTool { tool: "git".into(), package: Some("git") };
    }
    BuildError::Git { command: String::new(), reason: error.to_string() }
}

fn failed(arguments: &[&str], reason: String) -> BuildError {
    let command = arguments.first().copied().unwrap_or_default().to_owned();
    BuildError::Git { command, reason }
}

/// git on the repository of `dir` and no other, with none of the user's hooks.
fn git(dir: &Path) -> Command {
    let mut command = crate::git::command();
    command.current_dir(dir);
    let config = [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "advice.detachedHead=false",
        "checkout.workers=0",
        "gc.auto=0",
    ];
    for value in config {
        command.args(["-c", value]);
    }
    command
}

fn remove_file(path: &Path) -> Result<(), BuildError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BuildError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Complaints;

    #[test]
    fn of_many_complaints_the_first_and_the_last_are_told() {
        let told = |lines: &[&str]| {
            let mut complaints = Complaints::default();
            lines.iter().for_each(|line| complaints.push(line));
            complaints.to_string()
        };
        assert_eq!(told(&["a", "b"]), "a; b");
        assert_eq!(told(&["a", "b", "c", "d"]), "a; b; c; d");
        assert_eq!(told(&["a", "b", "c", "d", "e", "f"]), "a; b; c; 2 more; f");
    }
}
