//! Programs that do not outlive the one that started them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use thiserror::Error;

/// Why a program was not tethered.
#[derive(Debug, Error)]
pub enum TetherError {
    /// There is nothing to run.
    #[error("no program to run")]
    Nothing,
    /// The parent was gone before the tether was tied.
    #[error("the parent is gone")]
    Orphaned,
    /// The kernel did not tie it.
    #[error("can't tie the program to its parent")]
    Tie(#[source] io::Error),
    /// The program can't be run.
    #[error("can't run {program}")]
    Run {
        /// Which one.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Replaces this process by `program`, which the kernel kills when the thread that started this
/// process is gone, however that came (prctl(2), PR_SET_PDEATHSIG; it survives execve(2)).
///
/// `parent` is the process id of that thread's process.
///
/// # Errors
/// Returns only if it fails.
pub fn tether(parent: i32, program: &[OsString]) -> Result<Infallible, TetherError> {
    let (name, arguments) = program.split_first().ok_or(TetherError::Nothing)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| TetherError::Tie(e.into()))?;
    // If it died before the line above, nothing will ever come of it.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Err(TetherError::Orphaned);
    }
    let source = Command::new(name).args(arguments).exec();
    Err(TetherError::Run { program: name.display().to_string(), source })
}

/// A command that runs `command` tethered to this process, by way of `vmbisect`, the program that
/// has a [`tether`] subcommand.
pub(super) fn tethered(vmbisect: &std::path::Path, command: &Command) -> Command {
    let mut tethered = Command::new(vmbisect);
    tethered.args(["worker", "tether", "--parent"]).arg(std::process::id().to_string()).arg("--");
    tethered.arg(command.get_program()).args(command.get_args());
    tethered
}
