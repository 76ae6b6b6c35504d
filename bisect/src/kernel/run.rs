//! Runs a program with all of its children in a process group of their own, line by line.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use crate::cancel::Cancel;
use crate::group;

/// A longer line is cut into pieces of this many bytes.
const MAX_LINE: u64 = 16 << 10;

/// Runs `command` to its end and hands over what it prints on either stream. Cancelling kills it
/// and its children.
pub(crate) fn run(
    command: &mut Command,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> std::io::Result<ExitStatus> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn()?;
    // The command holds the write ends of the pipe, and the end of the output is when the last of
    // them is closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let guard = group::kill_on_cancel(&child, cancel);
    let result = read_lines(reader, on_line);
    if result.is_err() {
        group::kill(&child);
    }
    drop(guard);
    let status = child.wait()?;
    result?;
    Ok(status)
}

fn read_lines(reader: impl Read, on_line: &mut dyn FnMut(&str)) -> std::io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        on_line(text.trim_end_matches(['\n', '\r']));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::run;
    use crate::cancel::Cancel;

    #[test]
    fn both_streams_and_the_status_come_through() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; printf tail; exit 3"]);
        let status =
            run(&mut command, &mut |line| lines.push(line.to_owned()), &Cancel::new()).unwrap();
        assert_eq!(lines, ["out", "err", "tail"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn cancelling_kills_children_too() {
        let cancel = Cancel::new();
        let token = cancel.clone();
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'echo started; sleep 600' & wait"]);
        let start = Instant::now();
        let status = run(&mut command, &mut |_| token.cancel(), &cancel).unwrap();
        assert!(!status.success());
        assert!(start.elapsed() < Duration::from_secs(300));
    }
}
