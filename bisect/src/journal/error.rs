//! What can go wrong with a journal.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a journal can't be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("another vmbisect is at work in {dir}")]
    InUse {
        /// The state directory.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("there is a bisection in {dir} already")]
    Exists {
        /// The state directory.
        dir: PathBuf,
    },
    /// There is none.
    #[error("there is no bisection in {dir}")]
    Missing {
        /// The state directory.
        dir: PathBuf,
    },
    /// It was written by a version that uses another form.
    #[error("{path} is of form {found}, this program knows form {known}")]
    Format {
        /// The journal.
        path: PathBuf,
        /// The form it has.
        found: u64,
        /// The form that is known.
        known: u32,
    },
    /// A line in the midst of it is damaged.
    #[error("{path}, line {line}: not a record")]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It can't be written.
    #[error("can't write {path}")]
    Write {
        /// The journal, or a file beside it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It can't be read.
    #[error("can't read {path}")]
    Read {
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl JournalError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            JournalError::InUse { .. } => {
                "wait for it, or give this one a directory of its own: --state DIR".into()
            }
            JournalError::Exists { dir } => format!(
                "go on with it: vmbisect bisect --resume --state {0}; or begin anew elsewhere with \
                 --state DIR, or after rm -r {0}",
                dir.display()
            ),
            JournalError::Missing { .. } => {
                "leave out --resume to begin one, or say where it is: --state DIR, or --repo DIR"
                    .into()
            }
            JournalError::Format { .. } => {
                "go on with the version of vmbisect that began it, or begin anew with --state DIR"
                    .into()
            }
            JournalError::Corrupt { line, .. } => format!(
                "something else wrote to it; keeping only the first {} lines (head -n) leaves a \
                 sound journal",
                line.saturating_sub(1)
            ),
            JournalError::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "the disk is full; all that was reported is in the journal: make room and go \
                     on with --resume"
                        .into()
                }
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::NotADirectory => {
                    "give a directory that you may write to: --state DIR".into()
                }
                _ => "all that was reported is in the journal; go on with --resume".into(),
            },
            JournalError::Read { .. } => "is the directory yours? say another: --state DIR".into(),
        }
    }
}
