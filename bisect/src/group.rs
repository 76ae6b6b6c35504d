//! Processes in a process group of their own, which are killed with all of their children.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cancel::{Cancel, CancelGuard};

/// Kills the group that `child` leads. It must not have been waited for: until then nobody else can
/// have its number.
pub(crate) fn kill(child: &Child) {
    kill_group(Pid::from_child(child));
}

/// The same when `cancel` says so, as long as the guard is kept; it is to be dropped before `child` is
/// waited for.
pub(crate) fn kill_on_cancel(child: &Child, cancel: &Cancel) -> CancelGuard {
    let group = Pid::from_child(child);
    cancel.on_cancel(move || kill_group(group))
}

fn kill_group(group: Pid) {
    // Nothing is left to kill if it fails.
    let _ = kill_process_group(group, Signal::KILL);
}
