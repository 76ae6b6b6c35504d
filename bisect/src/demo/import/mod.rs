//! A kernel source becomes a git repository of one commit.
//!
//! git's own `add` would take half a minute, honour the ignore rules that come with the source and
//! leave 78,000 loose objects; `git fast-import` reads the files as they are unpacked and writes
//! one pack.

mod files;
mod stream;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};

use sha2::{Digest, Sha256};
use thiserror::Error;

use self::files::{mode, unpack, walk};
use self::stream::Stream;
use crate::cancel::Cancel;
use crate::lock::Locked;
use crate::{git, hex};

/// Goes up when the same source comes to give another repository.
const FORMAT: &str = "vmbisect import 1";
/// The reference that names the imported commit.
const BASE: &str = "refs/heads/base";

/// Why a source can't be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// There is nothing of that name, or it can't be read.
    #[error("can't read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no Linux source tree.
    #[error("{path} is not a Linux source tree: it has no {missing}")]
    NotLinux {
        /// What.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
    /// Something was built in the tree.
    #[error("{path} is not clean: it has {left}")]
    NotClean {
        /// The tree.
        path: PathBuf,
        /// What a build left.
        left: &'static str,
    },
    /// The repository can't be written.
    #[error("can't write {path}")]
    Write {
        /// The repository.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// git failed.
    #[error("git {command} failed: {reason}")]
    Git {
        /// Which command.
        command: &'static str,
        /// What git says.
        reason: String,
    },
}

impl ImportError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            ImportError::Cancelled => "run it again to go on",
            ImportError::Read { .. } | ImportError::NotLinux { .. } => {
                "give a Linux source tree, a clone or a .tar.xz of it with --linux"
            }
            ImportError::NotClean { .. } => "run `make mrproper` in it, or give a git clone",
            ImportError::Write { .. } => "it takes 2 GiB there and as much for the builds",
            ImportError::Git { .. } => "git's own message says what is wrong",
        }
    }
}

/// Where a kernel source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linux {
    /// A `.tar.xz`, all of it under one directory.
    Tarball(PathBuf),
    /// A git repository: its HEAD, whatever lies in the working tree.
    Clone(PathBuf),
    /// A directory of files.
    Directory(PathBuf),
}

impl Linux {
    /// Finds out which it is.
    ///
    /// # Errors
    /// Fails if there is nothing at `path`.
    pub fn at(path: &Path) -> Result<Linux, ImportError> {
        let read = |source| ImportError::Read { path: path.to_owned(), source };
        let path = path.canonicalize().map_err(read)?;
        if !path.is_dir() {
            return Ok(Linux::Tarball(path));
        }
        let is_clone = path.join(".git").exists() || path.join("objects").is_dir();
        Ok(if is_clone { Linux::Clone(path) } else { Linux::Directory(path) })
    }

    fn path(&self) -> &Path {
        match self {
            Linux::Tarball(path) | Linux::Clone(path) | Linux::Directory(path) => path,
        }
    }

    /// Names the content, as far as that can be told without reading it.
    fn key(&self) -> Result<String, ImportError> {
        let read = |source| ImportError::Read { path: self.path().to_owned(), source };
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        match self {
            Linux::Tarball(path) => {
                let data = path.metadata().map_err(read)?;
                hash.update(path.as_os_str().as_bytes());
                hash.update(format!("\0{} {} {}", data.len(), data.mtime(), data.mtime_nsec()));
            }
            Linux::Clone(path) => hash.update(git(path, &["rev-parse", "HEAD^{tree}"])?),
            Linux::Directory(path) => walk(path, &mut |path, data| {
                hash.update(path.as_os_str().as_bytes());
                hash.update(format!("\0{} {} {}\0", data.len(), data.mtime(), data.mtime_nsec()));
                Ok(())
            })
            .map_err(read)?,
        }
        let mut key = hex::encode(&hash.finalize());
        key.truncate(16);
        Ok(key)
    }
}

/// An imported source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The repository, a bare one.
    pub repo: PathBuf,
    /// The commit that holds the source.
    pub base: String,
    /// Whether it was there already.
    pub cached: bool,
}

/// Makes a repository from a source somewhere in `dir`, or takes the one that is there.
///
/// # Errors
/// As [`import`].
pub fn import_cached(
    linux: &Linux,
    dir: &Path,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<Imported, ImportError> {
    let repo = dir.join(format!("linux-{}.git", linux.key()?));
    let write = |source| ImportError::Write { path: repo.clone(), source };
    fs::create_dir_all(dir).map_err(write)?;
    // Whoever imports the same at the same time is waited for.
    let lock = File::create(dir.join("lock")).map_err(write)?;
    let _lock = Locked::wait(lock).map_err(write)?;
    let cached = repo.exists();
    let base = import(linux.path(), &repo, on_line, cancel)?;
    Ok(Imported { repo, base, cached })
}

/// Puts a kernel source into a new bare repository at `repo`, as one commit without parents, and
/// gives that commit. The same source gives the same commit, and a repository that is there already
/// is taken as it is. Only one caller at a time may import to the same place.
///
/// # Errors
/// Fails if the source is not Linux or can't be read, or the repository can't be written. What was
/// begun is not left behind as a repository.
pub fn import(
    source: &Path,
    repo: &Path,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<String, ImportError> {
    let write = |source| ImportError::Write { path: repo.to_owned(), source };
    if !repo.exists() {
        // The repository gets its name when it is whole.
        let partial = repo.with_extension("partial");
        let imported = import_into(&Linux::at(source)?, &partial, on_line, cancel)
            .and_then(|()| fs::rename(&partial, repo).map_err(write));
        if imported.is_err() {
            // The reason it failed is what counts.
            let _ = fs::remove_dir_all(&partial);
        }
        imported?;
    }
    Ok(git(repo, &["rev-parse", BASE])?.trim().to_owned())
}

fn import_into(
    linux: &Linux,
    repo: &Path,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), ImportError> {
    let path = linux.path();
    let write = |source| ImportError::Write { path: repo.to_owned(), source };
    let read = |source| ImportError::Read { path: path.to_owned(), source };
    match fs::remove_dir_all(repo) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write(error)),
        _ => fs::create_dir_all(repo).map_err(write)?,
    }
    git(repo, &["init", "--quiet", "--bare"])?;
    let mut stream = Stream::start(repo, on_line, cancel)?;
    match linux {
        Linux::Tarball(_) => {
            let file = File::open(path).map_err(read)?;
            let plain = liblzma::read::XzDecoder::new_multi_decoder(BufReader::new(file));
            unpack(plain, 1, path, &mut stream)?;
        }
        Linux::Clone(_) => {
            let mut archive = git::command()
                .current_dir(path)
                .args(["archive", "--format=tar", "HEAD"])
                .stdout(Stdio::piped())
                .spawn()
                .map_err(no_git)?;
            let output: Option<ChildStdout> = archive.stdout.take();
            let unpacked = output.map_or(Ok(()), |tar| unpack(tar, 0, path, &mut stream));
            // Its pipe is closed, so it ends.
            let status = archive.wait().map_err(no_git)?;
            unpacked?;
            if !status.success() {
                let reason = status.to_string();
                return Err(ImportError::Git { command: "archive", reason });
            }
        }
        Linux::Directory(_) => {
            let left = [".config", "include/generated", "include/config", "vmlinux"];
            if let Some(left) = left.into_iter().find(|it| path.join(it).exists()) {
                return Err(ImportError::NotClean { path: path.to_owned(), left });
            }
            let mut failed = None;
            let walked = walk(path, &mut |file, data| {
                let name = file.strip_prefix(path).unwrap_or(file);
                let content = if data.is_symlink() {
                    fs::read_link(file)?.as_os_str().as_bytes().to_vec()
                } else {
                    fs::read(file)?
                };
                let mode = mode(data.is_symlink(), data.permissions().mode());
                stream.file(name, mode, &content).map_err(|error| {
                    failed = Some(error);
                    io::Error::other("stopped")
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
            walked.map_err(read)?;
        }
    }
    if let Some(missing) = stream.missing() {
        return Err(ImportError::NotLinux { path: path.to_owned(), missing });
    }
    stream.finish()
}

fn git(dir: &Path, arguments: &[&'static str]) -> Result<String, ImportError> {
    let output = git::command().current_dir(dir).args(arguments).output().map_err(no_git)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ImportError::Git { command: arguments.first().copied().unwrap_or_default(), reason })
}

fn no_git(error: io::Error) -> ImportError {
    ImportError::Git { command: "", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{ImportError, Linux, import, import_cached};
    use crate::cancel::Cancel;
    use crate::demo::{KVM_C, read};

    const FILES: [(&str, &str); 7] = [
        ("Kconfig", "menu\n"),
        ("Makefile", "VERSION = 6\n"),
        ("arch/x86/Makefile", ""),
        ("scripts/Makefile.build", ""),
        (KVM_C, "int a;\n"),
        // What it leaves out is part of the source all the same.
        (".gitignore", "/*\n"),
        ("Documentation/\"odd name\"\\.rst", "x"),
    ];

    fn source(room: &Path, files: &[(&str, &str)]) -> PathBuf {
        let dir = room.join("linux");
        for (name, text) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn sh(dir: &Path, line: &str) {
        let status = Command::new("sh").current_dir(dir).args(["-ec", line]).status().unwrap();
        assert!(status.success(), "{line}");
    }

    fn import_at(source: &Path, repo: &Path) -> Result<String, ImportError> {
        import(source, repo, &mut |_| (), &Cancel::new())
    }

    #[test]
    fn a_tarball_a_clone_and_a_directory_give_one_commit() {
        let room = tempfile::tempdir().unwrap();
        let dir = source(room.path(), &FILES);
        sh(&dir, "ln -s ../Makefile scripts/link; chmod +x Kconfig");
        let from_dir = import_at(&dir, &room.path().join("a.git")).unwrap();

        sh(room.path(), "tar -cJf linux.tar.xz linux");
        let repo = room.path().join("b.git");
        let tarball = room.path().join("linux.tar.xz");
        assert_eq!(import_at(&tarball, &repo).unwrap(), from_dir);
        assert_eq!(read(&repo, &from_dir, KVM_C).unwrap(), "int a;\n");
        assert_eq!(read(&repo, &from_dir, FILES[6].0).unwrap(), "x");

        sh(&dir, "git init -q; git add -Af; git -c user.name=a -c user.email=a@b commit -qm x");
        // A clone's working tree may be in any state.
        sh(&dir, "touch .config; rm Makefile");
        assert_eq!(import_at(&dir, &room.path().join("c.git")).unwrap(), from_dir);
    }

    #[test]
    fn a_second_import_takes_the_first() {
        let room = tempfile::tempdir().unwrap();
        let linux = Linux::at(&source(room.path(), &FILES)).unwrap();
        let cache = room.path().join("cache");
        let import = || import_cached(&linux, &cache, &mut |_| (), &Cancel::new()).unwrap();
        let first = import();
        assert!(!first.cached);
        let second = import();
        assert!(second.cached);
        assert_eq!((&second.repo, &second.base), (&first.repo, &first.base));
        fs::write(room.path().join("linux/Kconfig"), "another\n").unwrap();
        assert_ne!(import().base, first.base);
    }

    #[test]
    fn what_is_no_source_leaves_no_repository() {
        let room = tempfile::tempdir().unwrap();
        let repo = room.path().join("repo.git");
        let dir = source(room.path(), &FILES[..1]);
        let refused = import_at(&dir, &repo);
        assert!(matches!(refused, Err(ImportError::NotLinux { missing: "Makefile", .. })));
        source(room.path(), &FILES);
        fs::write(dir.join(".config"), "").unwrap();
        assert!(matches!(import_at(&dir, &repo), Err(ImportError::NotClean { .. })));
        fs::write(room.path().join("junk.tar.xz"), "junk").unwrap();
        let refused = import_at(&room.path().join("junk.tar.xz"), &repo);
        assert!(matches!(refused, Err(ImportError::Read { .. })), "{refused:?}");
        assert!(import_at(&room.path().join("none"), &repo).is_err());
        let cancel = Cancel::new();
        cancel.cancel();
        fs::remove_file(dir.join(".config")).unwrap();
        let refused = import(&dir, &repo, &mut |_| (), &cancel);
        assert!(matches!(refused, Err(ImportError::Cancelled)), "{refused:?}");
        assert!(!repo.exists() && !repo.with_extension("partial").exists());
    }
}
