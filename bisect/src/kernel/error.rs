//! What keeps a revision from being built, other than the revision itself.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::signature::SignatureError;

/// Why there is no result for a revision.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The directory is not in a git repository.
    #[error("{path} is not a git repository: {reason}")]
    NotARepository {
        /// Which directory.
        path: PathBuf,
        /// What git says.
        reason: String,
    },
    /// The repository has no such commit.
    #[error("no commit {revision:?} in {repo}")]
    UnknownRevision {
        /// What was asked for.
        revision: String,
        /// Where it was looked for.
        repo: PathBuf,
    },
    /// The revision holds something, but not Linux.
    #[error("{commit} is not a Linux source tree: it has no {missing}")]
    NotAKernel {
        /// The commit.
        commit: String,
        /// The first file that is missing.
        missing: &'static str,
    },
    /// A configuration file can't be read.
    #[error("can't read the configuration {path}")]
    Config {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A configuration file has a line that is no option.
    #[error("{name}, line {line}: not a kernel configuration: {text:?}")]
    ConfigSyntax {
        /// Which file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// Something that the build needs is not installed.
    #[error("the build needs {tool}, which is not installed")]
    MissingTool {
        /// What is missing.
        tool: String,
        /// The package that has it on Debian and Ubuntu, if known.
        package: Option<&'static str>,
    },
    /// The host killed the build or ran out of something.
    #[error("the host failed the build of {commit}: {reason}")]
    Host {
        /// The commit.
        commit: String,
        /// What happened.
        reason: String,
    },
    /// A git command failed.
    #[error("git {command} failed: {reason}")]
    Git {
        /// Which command.
        command: String,
        /// What git says.
        reason: String,
    },
    /// A file or directory of the builder's own can't be used.
    #[error("can't {what} {path}")]
    Io {
        /// `read`, `write`, `create`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel that was built can't be read.
    #[error("can't compute the signature of {path}")]
    Signature {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SignatureError,
    },
}

impl BuildError {
    /// Whether the host is to blame, so that another try may succeed.
    pub fn is_host(&self) -> bool {
        matches!(self, BuildError::Host { .. } | BuildError::Io { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            BuildError::Cancelled => "run it again: what was built is kept".into(),
            BuildError::NotARepository { reason, .. } if reason.contains("dubious ownership") => {
                "the repository belongs to another user: run as that user, or add it to git's \
                 safe.directory"
                    .into()
            }
            BuildError::NotARepository { .. } => "give a clone of Linux with --repo".into(),
            BuildError::UnknownRevision { .. } => {
                "fetch it first; a shallow clone lacks old commits (git fetch --unshallow)".into()
            }
            BuildError::NotAKernel { .. } => "give a revision of Linux and its clone".into(),
            BuildError::Config { .. } => {
                "give a kernel .config with --config, or --defconfig or --tinyconfig".into()
            }
            BuildError::ConfigSyntax { .. } => {
                "lines are CONFIG_NAME=value, `# CONFIG_NAME is not set`, or comments".into()
            }
            BuildError::MissingTool { package: Some(package), .. } => {
                format!("run `apt-get install {package}`, or your system's equivalent")
            }
            BuildError::MissingTool { .. } => "install it and run again".into(),
            BuildError::Host { reason, .. } if reason.contains("memory") => {
                "give the build more memory, or fewer jobs with --make-jobs".into()
            }
            BuildError::Host { .. } | BuildError::Io { .. } => {
                "check the disk and its permissions, and run again: what was built is kept".into()
            }
            BuildError::Git { reason, .. }
                if reason.contains("unable to write") || reason.contains("No space left") =>
            {
                "make room on the disk, or name another place: --build-dir DIR, or the variable \
                 VMBISECT_CACHE"
                    .into()
            }
            BuildError::Git { .. } => "git's own message says what is wrong".into(),
            BuildError::Signature { .. } => "the build may be damaged: run again".into(),
        }
    }

    /// For `map_err`: names the path that could not be used.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
        move |source| BuildError::Io { what, path: path.to_owned(), source }
    }
}
