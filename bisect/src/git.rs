//! The git program, where it is faster than libgit2 or does what that can't.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What a hook's or a rebase's environment says of a repository that is not the one meant.
const OTHERS: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"];

/// git in English, that reads nothing and asks nobody for a password, on no repository that the environment names.
pub(crate) fn command() -> Command {
    let mut command = Command::new("git");
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    // Ctrl-C on a terminal goes to a whole process group. It must not look like git's own failure:
    // who started git ends it.
    command.process_group(0);
    for variable in OTHERS {
        command.env_remove(variable);
    }
    command
}
