//! Running apt-get.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::cancel::Cancel;
use crate::group;

/// Why apt-get did not do what it was told to.
#[derive(Debug, Error)]
pub(crate) enum AptError {
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// In its own words, where it said any.
    #[error("{0}")]
    Failed(String),
}

/// What becomes of apt-get when the user asks to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenCancelled {
    /// It changes this system, which it must not leave half-way.
    Finish,
    /// It changes nothing.
    Kill,
}

/// Has apt-get change this system. Its command line and every line that it prints are handed to
/// `on_line`.
pub(super) fn get(
    arguments: &[&str],
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), AptError> {
    run(Command::new("apt-get"), arguments, WhenCancelled::Finish, on_line, cancel)
}

/// Likewise has it download packages into a directory, which takes no privileges.
pub(crate) fn download(
    packages: &[String],
    directory: &Path,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), AptError> {
    let mut command = Command::new("apt-get");
    // Without this, apt as root warns that its sandbox user can't write here.
    command.args(["-o", "APT::Sandbox::User=root"]).current_dir(directory);
    let packages = packages.iter().map(String::as_str);
    let arguments: Vec<&str> = std::iter::once("download").chain(packages).collect();
    run(command, &arguments, WhenCancelled::Kill, on_line, cancel)
}

fn run(
    mut command: Command,
    arguments: &[&str],
    when_cancelled: WhenCancelled,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), AptError> {
    if cancel.is_cancelled() {
        return Err(AptError::Cancelled);
    }
    on_line(&format!("apt-get {}", arguments.join(" ")));
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Color=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        // Ctrl-C on a terminal goes to a whole process group, and would stop dpkg half-way.
        .process_group(0);
    // It takes the command, which holds the pipe's other end: the reader below would wait for that.
    let start = |mut command: Command| {
        let (reader, writer) = std::io::pipe()?;
        let child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        Ok((reader, child))
    };
    let (reader, mut child) = start(command)
        .map_err(|error: std::io::Error| AptError::Failed(format!("can't run apt-get: {error}")))?;
    let killer =
        (when_cancelled == WhenCancelled::Kill).then(|| group::kill_on_cancel(&child, cancel));
    let mut errors = Vec::new();
    for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if let Some(error) = line.strip_prefix("E: ") {
            errors.push(error.to_owned());
        }
        if !line.is_empty() {
            on_line(line);
        }
    }
    drop(killer);
    let status = child.wait();
    if cancel.is_cancelled() {
        return Err(AptError::Cancelled);
    }
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if errors.is_empty() => {
            Err(AptError::Failed(format!("apt-get ended with {status}")))
        }
        Ok(_) => Err(AptError::Failed(errors.join("; "))),
        Err(error) => Err(AptError::Failed(format!("apt-get: {error}"))),
    }
}
