//! Which launcher to take.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::{Command, InProcess, Launcher, Tcg, TcgConfig, TcgError};

/// What the user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// In process where this machine's KVM runs Linux, in the emulator where it does not.
    #[default]
    Auto,
    /// In process, whatever the KVM is.
    InProcess,
    /// In the emulator.
    Tcg,
    /// Through a shell command that starts a worker.
    Command(String),
}
