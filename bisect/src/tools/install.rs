//! Installing what is missing.

use std::path::Path;

use thiserror::Error;

use super::apt::{self, AptError};
use super::{Tool, check, on_path};
use crate::cancel::Cancel;

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
            // Some of the lists may do; whether they do shows in what is installed.
            if let Err(AptError::Cancelled) = apt::get(&["update"], on_line, cancel) {
                return Err(ToolError::Cancelled);
            }
        }
        reason = match apt::get(&arguments, on_line, cancel) {
            Ok(()) => "apt-get reported success".into(),
            Err(AptError::Failed(said)) => said,
            Err(AptError::Cancelled) => return Err(ToolError::Cancelled),
        };
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
