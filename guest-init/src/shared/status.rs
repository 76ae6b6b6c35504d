//! How a process ended.

/// The status a shell would show for what wait4(2) gave: the exit code, or 128 plus the number of
/// the signal that killed the process.
pub(crate) fn as_shell_shows(wait_status: i32) -> u8 {
    let [low, high, ..] = wait_status.to_le_bytes();
    match low & 0x7f {
        0 => high,
        signal => 128 | signal,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    use super::as_shell_shows;

    fn run(script: &str) -> ExitStatus {
        Command::new("sh").args(["-c", script]).status().unwrap()
    }

    #[test]
    fn real_processes_end_as_a_shell_shows_it() {
        assert_eq!(as_shell_shows(run("exit 0").into_raw()), 0);
        assert_eq!(as_shell_shows(run("exit 77").into_raw()), 77);
        assert_eq!(as_shell_shows(run("exit 255").into_raw()), 255);
        assert_eq!(as_shell_shows(run("kill -9 $$").into_raw()), 137);
        assert_eq!(as_shell_shows(run("kill -15 $$").into_raw()), 143);
    }

    #[test]
    fn a_core_dump_does_not_change_the_status() {
        assert_eq!(as_shell_shows(0x80 | 11), 139);
    }
}
