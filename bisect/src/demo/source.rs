//! A kernel source in a bare git repository, and commits on top of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Oid, Repository, Signature, Time};
use thiserror::Error;

use super::KVM_C;
use crate::cancel::Cancel;
use crate::kernel::run::run;

/// Whose the commits are.
const NAME: &str = "vmbisect";
const EMAIL: &str = "vmbisect@localhost";

/// Seconds since 1970 of the first commit: equal sources give equal commits.
const EPOCH: i64 = 1_700_000_000;

/// Why there is no repository with the source.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A file or a directory can't be used.
    #[error("can't {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// tar or git failed.
    #[error("`{command}` failed: {reason}")]
    Program {
        /// What was run.
        command: String,
        /// The last line that it printed.
        reason: String,
    },
    /// The archive does not hold a kernel source.
    #[error("{path} is not a Linux source: it has no {missing}")]
    NotLinux {
        /// The archive.
        path: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
    /// The repository can't be read or written.
    #[error("git repository {path}")]
    Git {
        /// The repository.
        path: PathBuf,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl SourceError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
        move |source| SourceError::Io { action, path: path.to_owned(), source }
    }

    fn git(path: &Path) -> impl FnOnce(git2::Error) -> SourceError {
        move |source| SourceError::Git { path: path.to_owned(), source }
    }
}

/// A file of a commit: its path and its new text; no text removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path from the top of the source.
    pub path: String,
    /// The whole new text.
    pub text: Option<String>,
}

/// Puts a source archive into a new bare repository at `repo`, as one commit without parents, and
/// gives that commit. A repository that is there already is taken as it is. Only one caller at a
/// time may import to the same place.
///
/// # Errors
/// Any [`SourceError`]. What was begun is not left behind as a repository.
pub fn import(
    archive: &Path,
    repo: &Path,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<String, SourceError> {
    const IMPORTED: &str = "refs/tags/imported";
    if repo.exists() {
        let open = || Repository::open(repo)?.refname_to_id(IMPORTED);
        return Ok(open().map_err(SourceError::git(repo))?.to_string());
    }
    // The repository gets its name when it is whole.
    let partial = repo.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(SourceError::io("remove", &partial))?;
    }
    let tree = partial.join("tree");
    fs::create_dir_all(&tree).map_err(SourceError::io("create", &tree))?;

    let mut program = |command: &mut Command| call(command, on_line, cancel);
    let git = || {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(partial.join("git")).arg("--work-tree").arg(&tree);
        git
    };
    program(Command::new("git").args(["init", "--quiet", "--bare"]).arg(partial.join("git")))?;
    program(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--directory"])
            .arg(&tree)
            .arg("--file")
            .arg(archive),
    )?;
    for missing in ["Kconfig", KVM_C] {
        if !tree.join(missing).is_file() {
            return Err(SourceError::NotLinux { path: archive.to_owned(), missing });
        }
    }
    // --force, since Debian's .gitignore leaves nearly everything out. Without waiting for the disk
    // after each of some 80,000 files: an import that was cut short is begun again.
    program(
        git().args(["-c", "core.fsync=none", "-c", "gc.auto=0"]).args(["add", "-A", "-f", "."]),
    )?;

    let path = partial.join("git");
    let first = (|| {
        let repository = Repository::open(&path)?;
        let tree = repository.find_tree(repository.index()?.write_tree()?)?;
        let who = Signature::new(NAME, EMAIL, &Time::new(EPOCH, 0))?;
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let message = format!("Import {name}\n");
        let id = repository.commit(None, &who, &who, &message, &tree, &[])?;
        repository.reference(IMPORTED, id, true, "import")?;
        Ok(id.to_string())
    })()
    .map_err(SourceError::git(&path))?;

    fs::rename(&path, repo).map_err(SourceError::io("create", repo))?;
    fs::remove_dir_all(&partial).map_err(SourceError::io("remove", &partial))?;
    Ok(first)
}

/// Writes a commit and gives its name. Its time is a minute after its first parent's.
///
/// # Errors
/// [`SourceError::Git`].
pub fn commit(
    repo: &Path,
    parents: &[&str],
    changes: &[Change],
    message: &str,
) -> Result<String, SourceError> {
    let write = || {
        let repository = Repository::open(repo)?;
        let parents = parents
            .iter()
            .map(|name| repository.find_commit(Oid::from_str(name)?))
            .collect::<Result<Vec<_>, _>>()?;
        let first = parents.first().ok_or_else(|| git2::Error::from_str("no parent"))?;
        let mut update = TreeUpdateBuilder::new();
        for change in changes {
            match &change.text {
                Some(text) => {
                    let blob = repository.blob(text.as_bytes())?;
                    update.upsert(change.path.as_str(), blob, FileMode::Blob);
                }
                None => {
                    update.remove(change.path.as_str());
                }
            }
        }
        let tree = repository.find_tree(update.create_updated(&repository, &first.tree()?)?)?;
        let time = Time::new(first.time().seconds().saturating_add(60), 0);
        let who = Signature::new(NAME, EMAIL, &time)?;
        let parents: Vec<_> = parents.iter().collect();
        Ok(repository.commit(None, &who, &who, message, &tree, &parents)?.to_string())
    };
    write().map_err(SourceError::git(repo))
}

/// Gives a commit the name of a branch, which also keeps git from clearing it away.
///
/// # Errors
/// [`SourceError::Git`].
pub fn set_branch(repo: &Path, branch: &str, commit: &str) -> Result<(), SourceError> {
    let write = || {
        let name = format!("refs/heads/{branch}");
        Repository::open(repo)?.reference(&name, Oid::from_str(commit)?, true, "branch")?;
        Ok(())
    };
    write().map_err(SourceError::git(repo))
}

/// The text of a file in a commit.
///
/// # Errors
/// [`SourceError::Git`].
pub fn read(repo: &Path, commit: &str, path: &str) -> Result<String, SourceError> {
    let read = || {
        let repository = Repository::open(repo)?;
        let tree = repository.find_commit(Oid::from_str(commit)?)?.tree()?;
        let blob = repository.find_blob(tree.get_path(Path::new(path))?.id())?;
        Ok(String::from_utf8_lossy(blob.content()).into_owned())
    };
    read().map_err(SourceError::git(repo))
}

/// Runs a program to its end.
fn call(
    command: &mut Command,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), SourceError> {
    if cancel.is_cancelled() {
        return Err(SourceError::Cancelled);
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let mut last = String::new();
    let result = run(
        command,
        &mut |line| {
            on_line(line);
            last = line.to_owned();
        },
        cancel,
    );
    match result {
        _ if cancel.is_cancelled() => Err(SourceError::Cancelled),
        Ok(status) if status.success() => Ok(()),
        Ok(status) if last.is_empty() => {
            Err(SourceError::Program { command: name, reason: status.to_string() })
        }
        Ok(_) => Err(SourceError::Program { command: name, reason: last }),
        Err(error) => Err(SourceError::Program { command: name, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    use super::{Change, SourceError, commit, import, read, set_branch};
    use crate::cancel::Cancel;
    use crate::demo::KVM_C;

    /// An archive with these files under a directory of their own.
    fn archive(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let room = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = room.path().join("linux").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let path = room.path().join("linux.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&path).arg("-C").arg(room.path()).arg("linux");
        assert!(tar.status().unwrap().success());
        (room, path)
    }

    #[test]
    fn an_archive_becomes_a_commit_that_others_stand_on() {
        // What .gitignore leaves out is part of the source all the same.
        let (room, path) =
            archive(&[("Kconfig", "menu\n"), (KVM_C, "int a;\n"), (".gitignore", "/*\n")]);
        let repo = room.path().join("repo");
        let first = import(&path, &repo, &mut |_| (), &Cancel::new()).unwrap();
        assert_eq!(read(&repo, &first, KVM_C).unwrap(), "int a;\n");
        assert_eq!(import(&path, &repo, &mut |_| (), &Cancel::new()).unwrap(), first);

        let change =
            |text: Option<&str>| [Change { path: KVM_C.into(), text: text.map(str::to_owned) }];
        let second = commit(&repo, &[&first], &change(Some("int b;\n")), "Second\n").unwrap();
        assert_eq!(read(&repo, &second, KVM_C).unwrap(), "int b;\n");
        assert_eq!(read(&repo, &second, "Kconfig").unwrap(), "menu\n");
        let merge = commit(&repo, &[&second, &first], &change(None), "Third\n").unwrap();
        assert!(read(&repo, &merge, KVM_C).is_err());
        set_branch(&repo, "bad", &merge).unwrap();
        let named = Command::new("git").arg("-C").arg(&repo).args(["rev-parse", "bad"]).output();
        assert_eq!(String::from_utf8(named.unwrap().stdout).unwrap().trim(), merge);

        let again = room.path().join("again");
        assert_eq!(import(&path, &again, &mut |_| (), &Cancel::new()).unwrap(), first);
    }

    #[test]
    fn what_is_no_source_leaves_no_repository() {
        let (room, path) = archive(&[("README", "")]);
        let repo = room.path().join("repo");
        let refused = import(&path, &repo, &mut |_| (), &Cancel::new());
        assert!(matches!(refused, Err(SourceError::NotLinux { missing: "Kconfig", .. })));
        assert!(!repo.exists());

        let refused = import(&room.path().join("none"), &repo, &mut |_| (), &Cancel::new());
        assert!(matches!(refused, Err(SourceError::Program { .. })), "{refused:?}");
        let cancel = Cancel::new();
        cancel.cancel();
        let refused = import(&path, &repo, &mut |_| (), &cancel);
        assert!(matches!(refused, Err(SourceError::Cancelled)), "{refused:?}");
    }
}
