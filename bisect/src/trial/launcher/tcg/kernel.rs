//! The outer machine's kernel: Debian's or Ubuntu's, unpacked from its package, never installed.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use thiserror::Error;

use crate::cancel::Cancel;
use crate::tools::{self, AptError};

/// Packages that stand for the newest kernel with KVM and virtio, the smallest first: Debian's
/// two, Ubuntu's.
const META_PACKAGES: [&str; 3] =
    ["linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64"];

/// A kernel and its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OuterKernel {
    /// The image.
    pub image: PathBuf,
    /// Its `lib/modules/VERSION`.
    pub modules: PathBuf,
}

/// Why there is no outer kernel.
#[derive(Debug, Error)]
pub enum OuterKernelError {
    /// This is not a system with apt.
    #[error("there is no apt-get here to fetch a kernel for the outer machine with")]
    NoApt,
    /// No package is known.
    #[error("apt knows none of {}", META_PACKAGES.join(", "))]
    NoPackage,
    /// A program failed.
    #[error("{command} failed: {reason}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        reason: String,
    },
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// What was unpacked is not what was looked for.
    #[error("there is no kernel in {0}")]
    NotThere(PathBuf),
    /// A file or directory can't be made or moved.
    #[error("can't use {path}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl OuterKernel {
    /// The kernel that is kept under `cache` already.
    pub fn kept(cache: &Path) -> Option<OuterKernel> {
        newest(&cache.join("outer"))
    }

    /// The kernel that is kept under `cache`, fetched through apt if there is none yet.
    ///
    /// Fetching takes no privileges: the package is downloaded into the cache and unpacked there. Every
    /// line that apt-get prints is handed to `on_line`.
    ///
    /// # Errors
    /// Fails without apt, without network, if the cache can't be written, or when cancelled.
    pub fn fetch(
        cache: &Path,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<OuterKernel, OuterKernelError> {
        if let Some(kernel) = OuterKernel::kept(cache) {
            return Ok(kernel);
        }
        let outer = cache.join("outer");
        let failed = |source| OuterKernelError::Io { path: outer.clone(), source };
        std::fs::create_dir_all(&outer).map_err(failed)?;
        let packages = packages()?;
        let work = tempfile::tempdir_in(&outer).map_err(failed)?;
        let (downloads, root) = (work.path().join("downloads"), work.path().join("root"));
        for directory in [&downloads, &root] {
            std::fs::create_dir(directory).map_err(failed)?;
        }
        on_line("the outer Linux's kernel is not here yet");
        tools::download(&packages, &downloads, on_line, cancel).map_err(|error| match error {
            AptError::Cancelled => OuterKernelError::Cancelled,
            AptError::Failed(reason) => {
                OuterKernelError::Command { command: "apt-get download".into(), reason }
            }
        })?;
        for package in std::fs::read_dir(&downloads).map_err(failed)? {
            let package = package.map_err(failed)?.path();
            run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root))?;
        }
        let unpacked = in_root(&root).ok_or_else(|| OuterKernelError::NotThere(root.clone()))?;
        let version = unpacked.modules.file_name().unwrap_or(OsStr::new("kernel")).to_owned();
        // Another process may have been faster, which is as good.
        match std::fs::rename(&root, outer.join(version)) {
            Err(error) if newest(&outer).is_none() => Err(failed(error)),
            _ => newest(&outer).ok_or(OuterKernelError::NotThere(outer)),
        }
    }
}

/// The newest kernel that is there.
fn newest(outer: &Path) -> Option<OuterKernel> {
    let directories = std::fs::read_dir(outer).ok()?;
    let mut roots: Vec<PathBuf> = directories.flatten().map(|entry| entry.path()).collect();
    // tempdir's names begin with a dot.
    roots.retain(|root| !root.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    roots.sort();
    roots.iter().rev().find_map(|root| in_root(root))
}

/// The kernel whose packages were unpacked here.
fn in_root(root: &Path) -> Option<OuterKernel> {
    // /lib is a link to /usr/lib where the two are merged, and newer packages say so.
    ["lib/modules", "usr/lib/modules"].iter().find_map(|modules| {
        let versions = std::fs::read_dir(root.join(modules)).ok()?;
        versions.flatten().find_map(|version| {
            let image = root
                .join("boot")
                .join(format!("vmlinuz-{}", version.file_name().to_string_lossy()));
            image.is_file().then(|| OuterKernel { image, modules: version.path() })
        })
    })
}

/// The packages that hold the newest kernel and its modules.
fn packages() -> Result<Vec<String>, OuterKernelError> {
    let depends = |package: &str| {
        let mut command = Command::new("apt-cache");
        let output = run(command.args(["depends", "--important", package]));
        output.map(|output| versioned(&String::from_utf8_lossy(&output.stdout)))
    };
    for meta in META_PACKAGES {
        match depends(meta) {
            Ok(packages) if !packages.is_empty() => {
                // Ubuntu's image package leaves most modules to another that it depends on.
                let more: Vec<Vec<String>> =
                    packages.iter().map(|package| depends(package)).collect::<Result<_, _>>()?;
                let mut all: Vec<String> = packages.into_iter().chain(more.concat()).collect();
                all.sort();
                all.dedup();
                return Ok(all);
            }
            Err(OuterKernelError::NoApt) => return Err(OuterKernelError::NoApt),
            // It does not know the package.
            Ok(_) | Err(_) => {}
        }
    }
    Err(OuterKernelError::NoPackage)
}

/// The packages of one kernel version among the dependencies that apt-cache prints.
fn versioned(depends: &str) -> Vec<String> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .filter(|name| {
            ["linux-image-", "linux-modules-"].iter().any(|prefix| {
                name.strip_prefix(prefix)
                    .is_some_and(|rest| rest.trim_start_matches("unsigned-").starts_with(digit))
            })
        })
        .map(str::to_owned)
        .collect()
}

fn digit(character: char) -> bool {
    character.is_ascii_digit()
}

fn run(command: &mut Command) -> Result<Output, OuterKernelError> {
    let line = format!("{} {}", command.get_program().display(), {
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        arguments.join(" ")
    });
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OuterKernelError::NoApt,
        _ => OuterKernelError::Command { command: line.clone(), reason: error.to_string() },
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = stderr.lines().next_back().unwrap_or("no reason given").trim().to_owned();
    Err(OuterKernelError::Command { command: line, reason })
}

#[cfg(test)]
mod tests {
    use super::{newest, versioned};

    #[test]
    fn packages_of_one_version() {
        let debian = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(versioned(debian), ["linux-image-6.1.0-56-cloud-amd64"]);
        let ubuntu = "linux-image-virtual\n  Depends: linux-image-6.8.0-40-generic\n \
            |Depends: x\n  Depends: linux-modules-6.8.0-40-generic\n  Depends: kmod\n";
        let packages = ["linux-image-6.8.0-40-generic", "linux-modules-6.8.0-40-generic"];
        assert_eq!(versioned(ubuntu), packages);
        assert!(versioned("x\n  Depends: linux-image-amd64\n").is_empty());
    }

    #[test]
    fn a_kernel_is_an_image_with_its_modules() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(newest(cache.path()), None);
        let make = |name: &str, version: &str| {
            let root = cache.path().join(name);
            std::fs::create_dir_all(root.join("boot")).unwrap();
            std::fs::create_dir_all(root.join("lib/modules").join(version)).unwrap();
            root.join("boot")
        };
        let boot = make("6.1.0-56-cloud-amd64", "6.1.0-56-cloud-amd64");
        assert_eq!(newest(cache.path()), None);
        std::fs::write(boot.join("vmlinuz-6.1.0-56-cloud-amd64"), "").unwrap();
        let unfinished = make(".tmp1", "9");
        std::fs::write(unfinished.join("vmlinuz-9"), "").unwrap();
        let kernel = newest(cache.path()).unwrap();
        assert!(kernel.image.ends_with("boot/vmlinuz-6.1.0-56-cloud-amd64"));
        assert!(kernel.modules.ends_with("lib/modules/6.1.0-56-cloud-amd64"));
    }
}
