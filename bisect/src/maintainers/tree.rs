//! Where a kernel tree's files are read.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use super::MaintainersError;
use crate::history::{CommitId, History};

/// The most that is read of a file: MAINTAINERS has 0.8 MB.
const LIMIT: u64 = 16 << 20;

/// A kernel tree.
pub(super) enum Tree<'a> {
    /// On disk.
    Directory(PathBuf),
    /// A revision in a repository.
    Revision(&'a History, CommitId),
}

impl Tree<'_> {
    /// What messages call it.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Tree::Directory(path) => path.clone(),
            Tree::Revision(history, commit) => {
                let mut path = history.path().into_os_string();
                path.push(format!(" at {}", commit.short()));
                path.into()
            }
        }
    }

    /// The text of a file; `None` if it is not there. What would lead out of the tree is not there.
    pub(super) fn read(&self, path: &str) -> Result<Option<String>, MaintainersError> {
        let leads_out = path.starts_with('/') || path.split('/').any(|part| part == "..");
        if leads_out {
            return Ok(None);
        }
        let bytes = match self {
            Tree::Revision(history, commit) => history.file(*commit, path)?,
            Tree::Directory(top) => {
                let path = top.join(path);
                let mut bytes = Vec::new();
                let file = std::fs::File::open(&path);
                match file.and_then(|file| file.take(LIMIT).read_to_end(&mut bytes)) {
                    Ok(_) => Some(bytes),
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::NotFound | ErrorKind::IsADirectory
                        ) =>
                    {
                        None
                    }
                    Err(source) => return Err(MaintainersError::Io { path, source }),
                }
            }
        };
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
