//! Installing what is missing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

use super::{Tool, check, on_path};
use crate::cancel::Cancel;
use crate::group;

/// Why tools are still missing.
#[derive(Debug, Error)]
pub enum ToolError {
    /// Tools are missing and this process may not install them.
    #[error("missing on this machine: {}", .missing.iter().map(|it| it.name).collect::<Vec<_>>().join(", "))]
    Missing {
        /// Which.
        missing: Vec<&'static Tool>,
        /// The command that installs them.
        install: String,
    },
    /// The package manager failed, or said it was done and a tool is missing all the same.
    #[error(
        "{} can't be installed here: {reason}",
        .missing.iter().map(|it| it.debian).collect::<Vec<_>>().join(", ")
    )]
    NotInstalled {
        /// What is still missing.
        missing: Vec<&'static Tool>,
        /// The package manager's own words.
        reason: String,
        /// The command that was tried.
        install: String,
    },
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl ToolError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            ToolError::Missing { install, .. } => format!("run `{install}`"),
            ToolError::NotInstalled { missing, install, .. }
                if missing.iter().any(|tool| tool.debian.starts_with("linux-source")) =>
            {
                format!(
                    "Debian 12 has {}; elsewhere give a kernel source tree with --linux, and run \
                     `{install}` for the rest",
                    missing.iter().map(|it| it.debian).collect::<Vec<_>>().join(" ")
                )
            }
            ToolError::NotInstalled { install, .. } => {
                format!("check the machine's package sources and network, then run `{install}`")
            }
            ToolError::Cancelled => "run it again to go on".into(),
        }
    }
}

/// Makes sure that tools are there: as root on Debian or Ubuntu installs what is missing and hands
/// every line that apt-get prints to `on_line`.
///
/// # Errors
/// Fails if something is missing and may not or can not be installed; [`ToolError::hint`] says what
/// to run instead.
pub fn ensure(
    tools: &[&'static Tool],
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), ToolError> {
    let missing = missing_of(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let install = install_line(&missing);
    if !(rustix::process::geteuid().is_root() && is_debian() && on_path("apt-get").is_some()) {
        return Err(ToolError::Missing { missing, install });
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.debian).collect();
    packages.dedup();
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(&packages);

    // Package lists that are missing or old name files that are no longer served.
    let mut reason = String::new();
    for fresh_lists in [has_package_lists(), false] {
        if !fresh_lists {
            on_line("apt-get update");
            // Some of the lists may do; whether they do shows in what is installed.
            let _ = run(apt_get(&["update"]), WhenCancelled::Finish, on_line, cancel)?;
        }
        on_line(&format!("apt-get {}", arguments.join(" ")));
        match run(apt_get(&arguments), WhenCancelled::Finish, on_line, cancel)? {
            Ok(_) => reason = "apt-get reported success".into(),
            Err(said) => reason = said,
        }
        if missing_of(tools).is_empty() {
            return Ok(());
        }
        if !fresh_lists {
            break;
        }
    }
    Err(ToolError::NotInstalled { missing: missing_of(tools), reason, install })
}

fn missing_of(tools: &[&'static Tool]) -> Vec<&'static Tool> {
    check(tools).into_iter().filter(|found| found.path.is_none()).map(|found| found.tool).collect()
}

/// The command that installs tools on this kind of system.
pub fn install_line(tools: &[&'static Tool]) -> String {
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
    let fedora: Vec<&str> = tools.iter().filter_map(|tool| tool.fedora).collect();
    if !is_debian() && on_path("dnf").is_some() {
        return format!("{sudo}dnf install {}", fedora.join(" "));
    }
    let debian: Vec<&str> = tools.iter().map(|tool| tool.debian).collect();
    format!("{sudo}apt-get install --no-install-recommends {}", debian.join(" "))
}

fn is_debian() -> bool {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    debian_release(&text)
}

/// Reads os-release(5).
fn debian_release(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"))
        .flat_map(|(_, value)| value.trim_matches(['"', '\'']).split(' '))
        .any(|id| matches!(id, "debian" | "ubuntu"))
}

fn has_package_lists() -> bool {
    let Ok(entries) = Path::new("/var/lib/apt/lists").read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// Downloads packages into a directory, which takes no privileges; the inner result is the last error
/// that apt-get printed.
pub(crate) fn download(
    packages: &[String],
    directory: &Path,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<Result<(), String>, ToolError> {
    // Without this, apt as root warns that its sandbox user can't write here.
    let mut command = apt_get(&["-o", "APT::Sandbox::User=root", "download"]);
    command.args(packages).current_dir(directory);
    on_line(&format!("apt-get download {}", packages.join(" ")));
    run(command, WhenCancelled::Kill, on_line, cancel)
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Color=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// What becomes of a package manager that runs when the user asks to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenCancelled {
    /// What it changes on this system, it is not to leave half-way.
    Finish,
    /// It changes nothing.
    Kill,
}

/// Runs apt-get; the inner result is the last error that it printed.
fn run(
    command: Command,
    when_cancelled: WhenCancelled,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<Result<(), String>, ToolError> {
    if cancel.is_cancelled() {
        return Err(ToolError::Cancelled);
    }
    // It holds the pipe's other end, which the reader below would wait for.
    let start = |mut command: Command| -> std::io::Result<_> {
        let (reader, writer) = std::io::pipe()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // Ctrl-C on a terminal goes to a whole process group, and would stop dpkg half-way.
            .process_group(0)
            .spawn()?;
        Ok((reader, child))
    };
    let (reader, mut child) = match start(command) {
        Ok(started) => started,
        Err(error) => return Ok(Err(format!("can't run apt-get: {error}"))),
    };
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
        return Err(ToolError::Cancelled);
    }
    Ok(match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if errors.is_empty() => Err(format!("apt-get ended with {status}")),
        Ok(_) => Err(errors.join("; ")),
        Err(error) => Err(format!("apt-get: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::{debian_release, ensure, install_line};
    use crate::cancel::Cancel;
    use crate::tools::{Purpose, needed_for};

    #[test]
    fn os_release_is_read() {
        assert!(debian_release("NAME=\"x\"\nID=debian\n"));
        assert!(debian_release("ID=pop\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!debian_release("ID=fedora\nVARIANT_ID=debian\n"));
        assert!(!debian_release(""));
    }

    #[test]
    fn the_line_to_run_names_packages() {
        let line = install_line(&needed_for(&[Purpose::OuterMachine]));
        assert!(line.contains("qemu-system-x86"), "{line}");
    }

    #[test]
    fn nothing_is_run_when_nothing_is_missing() {
        let mut lines = Vec::new();
        ensure(&[], &mut |line| lines.push(line.to_owned()), &Cancel::new()).unwrap();
        assert!(lines.is_empty());
    }
}
