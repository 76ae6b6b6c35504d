//! From a git revision and a configuration to a kernel image.
//!
//! A [`Builder`] checks a revision out in a worktree of its own (the user's is never touched), runs
//! `make O=` beside it, and keeps what came out in a store on disk, keyed by source tree,
//! configuration and compiler, so that nothing is built twice. Consecutive revisions share the
//! worktree and the object directory, which makes most builds incremental; whatever could leak from
//! one revision to the next is dropped.
//!
//! A build has three kinds of ending. An [`Image`] and a [`BuildFailure`] are both results, and
//! both are stored: a revision that does not compile will not compile tomorrow. A [`BuildError`] is
//! anything that says nothing about the revision: no compiler, a full disk, a build that the host
//! killed.

mod builder;
mod config;
mod configure;
mod dependencies;
mod diagnose;
mod error;
mod log;
pub(crate) mod run;
mod scratch;
mod signature;
mod source;
mod store;
mod toolchain;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use builder::{Builder, default_scratch, default_store};
pub use config::{Base, BuildConfig, Fragment, Toolchain};
pub use dependencies::Dependencies;
pub use error::BuildError;
pub use signature::{SignatureError, signature_of};

/// What became of a revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Built {
    /// It was built.
    Image(Image),
    /// It does not build, which says nothing about the bug.
    Failed(BuildFailure),
}

impl Built {
    /// The image, if there is one.
    pub fn image(&self) -> Option<&Image> {
        match self {
            Built::Image(image) => Some(image),
            Built::Failed(_) => None,
        }
    }

    /// Whether it came from the store.
    pub fn cached(&self) -> bool {
        match self {
            Built::Image(image) => image.cached,
            Built::Failed(failure) => failure.cached,
        }
    }
}

/// A built kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The commit that was asked for, in full.
    pub commit: String,
    /// Its tree: commits with the same tree share one image.
    pub tree: String,
    /// The bzImage.
    pub path: PathBuf,
    /// The ELF file with symbols, if it was kept.
    pub vmlinux: Option<PathBuf>,
    /// The configuration as `olddefconfig` completed it.
    pub config: PathBuf,
    /// All that the build printed.
    pub log: PathBuf,
    /// Hash of what will run, see [`signature_of`].
    pub signature: String,
    /// Compiler and linker, as they call themselves.
    pub compiler: String,
    /// Options that were asked for and that Kconfig did not grant, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Seconds that the build took when it was done.
    pub build_seconds: f64,
    /// Whether it came from the store.
    pub cached: bool,
}

/// A revision that does not build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildFailure {
    /// The commit that was asked for, in full.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// The lines that say why, as the compiler, the linker or make printed them; at most 20.
    pub errors: Vec<String>,
    /// `file:line` of the first error, relative to the source tree.
    pub guilty: Option<String>,
    /// The configuration, if it came so far.
    pub config: Option<PathBuf>,
    /// All that the build printed.
    pub log: PathBuf,
    /// Compiler and linker, as they call themselves.
    pub compiler: String,
    /// As in [`Image`].
    #[serde(default)]
    pub notes: Vec<String>,
    /// Seconds that the build took when it was done.
    pub build_seconds: f64,
    /// Whether it came from the store.
    pub cached: bool,
}
