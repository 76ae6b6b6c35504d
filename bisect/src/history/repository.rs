//! Reading a repository.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};

use super::{Changes, CommitId, HistoryError, changes};
use crate::cancel::Cancel;

/// A repository whose history is read. Nothing in it is changed; a revert adds objects that no
/// branch leads to.
pub struct History {
    repo: Repository,
    cancel: Cancel,
}

/// What a commit says of itself, as `git show --stat` prints it.
#[derive(Clone, Debug)]
pub struct CommitText {
    /// First line of the message.
    pub title: String,
    /// `Name <address>`.
    pub author: String,
    /// Author date, in seconds since 1970 and minutes east of Greenwich.
    pub date: (i64, i32),
    /// The whole message.
    pub message: String,
    /// Files and lines changed relative to the first parent; empty where a partial clone lacks
    /// them.
    pub diffstat: String,
    /// The names of the parents of a merge, of other commits nothing.
    pub merged: Vec<CommitId>,
}

impl History {
    /// Opens the repository that `path` is in.
    ///
    /// # Errors
    /// Fails where there is none, or one that libgit2 can't read.
    pub fn open(path: &Path) -> Result<History, HistoryError> {
        let repo = Repository::discover(path).map_err(|source| {
            if source.message().contains("partialclone") {
                HistoryError::PartialClone { path: path.to_owned() }
            } else {
                HistoryError::NotARepository { path: path.to_owned(), source }
            }
        })?;
        Ok(History { repo, cancel: Cancel::new() })
    }

    /// The same, which gives up what takes long once `cancel` says so.
    pub fn with_cancel(self, cancel: &Cancel) -> History {
        History { cancel: cancel.clone(), ..self }
    }

    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(super) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// Names of all tags `v*`.
    pub(super) fn tag_names(&self) -> Result<Vec<String>, HistoryError> {
        let names = self.repo.tag_names(Some("v*"))?;
        Ok(names.iter().flatten().flatten().map(str::to_owned).collect())
    }

    /// When a commit was made, in seconds since 1970.
    pub(super) fn commit_seconds(&self, id: CommitId) -> Result<i64, HistoryError> {
        Ok(self.repo.find_commit(id.oid())?.time().seconds())
    }

    /// Whether a commit is among the ancestors of another.
    ///
    /// # Errors
    /// Fails if a commit can't be read.
    pub fn is_ancestor(&self, ancestor: CommitId, of: CommitId) -> Result<bool, HistoryError> {
        Ok(self.repo.graph_descendant_of(of.oid(), ancestor.oid())?)
    }

    /// The repository's own directory: `.git`, or that of the main checkout for a worktree.
    pub fn git_dir(&self) -> &Path {
        self.repo.commondir()
    }

    /// The checkout, or the repository itself if it has none.
    pub fn path(&self) -> PathBuf {
        self.repo.workdir().unwrap_or(self.repo.path()).to_owned()
    }

    /// The commit that a name stands for: a hash, a tag, a branch, `HEAD~3`.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn resolve(&self, name: &str) -> Result<CommitId, HistoryError> {
        let commit = self.repo.revparse_single(name).and_then(|object| object.peel_to_commit());
        match commit {
            Ok(commit) => Ok(commit.id().into()),
            Err(source) => Err(HistoryError::UnknownRevision {
                name: name.to_owned(),
                repo: self.path(),
                shallow: !self.shallow_commits().is_empty(),
                source,
            }),
        }
    }

    /// The paths that the commits reachable from `bad` and from no good tip change, or those at or
    /// below one of `limits`, if there are any.
    ///
    /// # Errors
    /// Fails if git does.
    pub fn changes(
        &self,
        good: &[CommitId],
        bad: CommitId,
        limits: &[String],
    ) -> Result<Changes, HistoryError> {
        changes::changes(self.git_dir(), good, bad, limits, &self.cancel)
    }

    /// Commits whose parents were not fetched. git keeps them in a file of its own, a line each.
    pub(super) fn shallow_commits(&self) -> HashSet<Oid> {
        let text = std::fs::read_to_string(self.repo.commondir().join("shallow"));
        text.unwrap_or_default().lines().filter_map(|line| Oid::from_str(line).ok()).collect()
    }

    /// First line of a commit's message.
    ///
    /// # Errors
    /// Fails if the commit can't be read.
    pub fn title(&self, id: CommitId) -> Result<String, HistoryError> {
        let commit = self.repo.find_commit(id.oid())?;
        let title = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default());
        Ok(title.into_owned())
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    /// Fails if the commit can't be read.
    pub fn text(&self, id: CommitId) -> Result<CommitText, HistoryError> {
        let commit = self.repo.find_commit(id.oid())?;
        let author = commit.author();
        Ok(CommitText {
            title: self.title(id)?,
            author: format!(
                "{} <{}>",
                String::from_utf8_lossy(author.name_bytes()),
                String::from_utf8_lossy(author.email_bytes())
            ),
            date: (author.when().seconds(), author.when().offset_minutes()),
            message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
            diffstat: self.diffstat(&commit).unwrap_or_default(),
            merged: match commit.parent_count() {
                0 | 1 => Vec::new(),
                _ => commit.parent_ids().map(CommitId::from).collect(),
            },
        })
    }

    /// The files that a commit changed relative to its first parent.
    ///
    /// # Errors
    /// Fails if the commit can't be read.
    pub fn changed_files(&self, id: CommitId) -> Result<Vec<String>, HistoryError> {
        let commit = self.repo.find_commit(id.oid())?;
        let parent = commit.parents().next().map(|parent| parent.tree()).transpose()?;
        let diff = self.repo.diff_tree_to_tree(parent.as_ref(), Some(&commit.tree()?), None)?;
        let paths = diff.deltas().filter_map(|delta| {
            let path = delta.new_file().path_bytes().or(delta.old_file().path_bytes())?;
            Some(String::from_utf8_lossy(path).into_owned())
        });
        Ok(paths.collect())
    }

    /// The paths of all files of a commit.
    ///
    /// # Errors
    /// Fails if the commit can't be read.
    pub fn paths(&self, id: CommitId) -> Result<HashSet<String>, HistoryError> {
        let mut paths = HashSet::new();
        self.repo.find_commit(id.oid())?.tree()?.walk(TreeWalkMode::PreOrder, |above, entry| {
            if entry.kind() == Some(ObjectType::Blob) {
                paths.insert(format!("{above}{}", String::from_utf8_lossy(entry.name_bytes())));
            }
            TreeWalkResult::Ok
        })?;
        Ok(paths)
    }

    /// What a file holds at a commit; `None` if it is not there.
    ///
    /// # Errors
    /// Fails if the repository can't be read.
    pub fn file(&self, id: CommitId, path: &str) -> Result<Option<Vec<u8>>, HistoryError> {
        let tree = self.repo.find_commit(id.oid())?.tree()?;
        match tree.get_path(Path::new(path)) {
            Ok(entry) => {
                let object = entry.to_object(&self.repo)?;
                Ok(object.as_blob().map(|blob| blob.content().to_vec()))
            }
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn diffstat(&self, commit: &git2::Commit<'_>) -> Result<String, git2::Error> {
        let parent = commit.parents().next().map(|parent| parent.tree()).transpose()?;
        let tree = commit.tree()?;
        let diff = self.repo.diff_tree_to_tree(parent.as_ref(), Some(&tree), None)?;
        let text = diff.stats()?.to_buf(git2::DiffStatsFormat::FULL, 80)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("repo", &self.repo.path()).finish()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
