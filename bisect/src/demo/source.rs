//! Commits on top of a kernel source.

use std::path::{Path, PathBuf};

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Oid, Repository, Signature, Time};
use thiserror::Error;

/// Whose the commits are.
const NAME: &str = "vmbisect";
const EMAIL: &str = "vmbisect@localhost";

/// A repository can't be read or written.
#[derive(Debug, Error)]
#[error("git repository {path}")]
pub struct SourceError {
    /// The repository.
    pub path: PathBuf,
    /// What libgit2 says.
    #[source]
    pub source: git2::Error,
}

impl SourceError {
    fn git(path: &Path) -> impl FnOnce(git2::Error) -> SourceError {
        move |source| SourceError { path: path.to_owned(), source }
    }
}

/// Who wrote a commit, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author<'a> {
    /// Full name.
    pub name: &'a str,
    /// Address.
    pub email: &'a str,
    /// Seconds since 1970.
    pub seconds: i64,
}

/// A file of a commit: its path and its new text; no text removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path from the top of the source.
    pub path: String,
    /// The whole new text.
    pub text: Option<String>,
}

/// Writes a commit of the program's own and gives its name. Its time is a minute after its first
/// parent's.
///
/// # Errors
/// If there is no parent, or the repository can't be written.
pub fn commit(
    repo: &Path,
    parents: &[&str],
    changes: &[Change],
    message: &str,
) -> Result<String, SourceError> {
    let seconds = || {
        let first = parents.first().ok_or_else(|| git2::Error::from_str("no parent"))?;
        let time = Repository::open(repo)?.find_commit(Oid::from_str(first)?)?.time();
        Ok(time.seconds().saturating_add(60))
    };
    let seconds = seconds().map_err(SourceError::git(repo))?;
    let author = Author { name: NAME, email: EMAIL, seconds };
    commit_as(repo, parents, changes, message, author)
}

/// Writes a commit and gives its name: the first parent's tree with `changes`. Equal arguments give
/// equal commits.
///
/// # Errors
/// If there is no parent, or the repository can't be written.
pub fn commit_as(
    repo: &Path,
    parents: &[&str],
    changes: &[Change],
    message: &str,
    author: Author<'_>,
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
        let who = Signature::new(author.name, author.email, &Time::new(author.seconds, 0))?;
        let parents: Vec<_> = parents.iter().collect();
        Ok(repository.commit(None, &who, &who, message, &tree, &parents)?.to_string())
    };
    write().map_err(SourceError::git(repo))
}

/// Gives a commit the name of a branch, which also keeps git from clearing it away.
///
/// # Errors
/// If the repository can't be read or written.
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
/// If the repository can't be read or written.
pub fn read(repo: &Path, commit: &str, path: &str) -> Result<String, SourceError> {
    let read = || {
        let repository = Repository::open(repo)?;
        let tree = repository.find_commit(Oid::from_str(commit)?)?.tree()?;
        let blob = repository.find_blob(tree.get_path(Path::new(path))?.id())?;
        Ok(String::from_utf8_lossy(blob.content()).into_owned())
    };
    read().map_err(SourceError::git(repo))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Change, commit, read, set_branch};

    #[test]
    fn commits_stand_on_one_another() {
        let room = tempfile::tempdir().unwrap();
        let repo = room.path();
        let repository = git2::Repository::init_bare(repo).unwrap();
        let empty = repository.treebuilder(None).unwrap().write().unwrap();
        let empty = repository.find_tree(empty).unwrap();
        let who = git2::Signature::new("A", "a@b.example", &git2::Time::new(1, 0)).unwrap();
        let first = repository.commit(None, &who, &who, "First", &empty, &[]).unwrap().to_string();

        let change =
            |text: Option<&str>| [Change { path: "a/b.c".into(), text: text.map(str::to_owned) }];
        let second = commit(repo, &[&first], &change(Some("int b;\n")), "Second\n").unwrap();
        assert_eq!(read(repo, &second, "a/b.c").unwrap(), "int b;\n");
        let merge = commit(repo, &[&second, &first], &change(None), "Third\n").unwrap();
        assert!(read(repo, &merge, "a/b.c").is_err());
        set_branch(repo, "bad", &merge).unwrap();
        let named = Command::new("git").arg("-C").arg(repo).args(["rev-parse", "bad"]).output();
        assert_eq!(String::from_utf8(named.unwrap().stdout).unwrap().trim(), merge);
    }
}
