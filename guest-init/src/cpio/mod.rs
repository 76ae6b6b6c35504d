//! Writing cpio archives in the "newc" format, the one that the kernel unpacks as an initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Equal calls give equal bytes: every time stamp is 0, every owner is root, and inode numbers
//! count up from 1.
//!
//! ```
//! use guest_init::cpio::Writer;
//!
//! # fn main() -> Result<(), guest_init::cpio::CpioError> {
//! let mut archive = Writer::new(Vec::new());
//! archive.file("/etc/hostname", 0o644, b"guest\n")?;
//! archive.character_device("/dev/console", 0o600, 5, 1)?;
//! let bytes: Vec<u8> = archive.finish()?;
//! assert!(bytes.starts_with(b"070701"));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::io::{self, Write};

use thiserror::Error;

/// Longest name and longest target of a link, the NUL included: the kernel's PATH_MAX.
const PATH_MAX: usize = 4096;

const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// Why an archive can't be written.
#[derive(Debug, Error)]
pub enum CpioError {
    /// The path can't stand in an archive, or the kernel would not unpack it.
    #[error("{path:?} can't be a path in an initramfs: {reason}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The format has 32 bits for the size of a file.
    #[error("{path:?} has {size} bytes, and a file in an initramfs can't have more than 4 GiB")]
    TooLarge {
        /// The path as it was given.
        path: String,
        /// Size in bytes.
        size: usize,
    },
    /// The archive can't be written to where it goes.
    #[error("can't write the archive")]
    Write(#[from] io::Error),
}

/// Writes an archive, entry by entry.
///
/// Paths are absolute; the slash in front may be left out. Directories above an entry that are not
/// yet in the archive are put there with mode 0755. Modes are the permission bits alone.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Writer<W> {
    /// An archive that is written to `to`. Each entry is a few writes of any size.
    pub fn new(to: W) -> Writer<W> {
        Writer { to, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds a directory. One that is already there gets this mode.
    ///
    /// # Errors
    /// [`CpioError::Path`] and [`CpioError::Write`].
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), CpioError> {
        let name = self.enter(path)?;
        self.directories.insert(name.to_owned());
        self.entry(name, S_IFDIR | mode & 0o7777, (0, 0), &[])
    }

    /// Adds a file.
    ///
    /// # Errors
    /// Any [`CpioError`].
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), CpioError> {
        let name = self.enter(path)?;
        self.entry(name, S_IFREG | mode & 0o7777, (0, 0), content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// [`CpioError::Path`], also for a target that is too long, and [`CpioError::Write`].
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), CpioError> {
        let name = self.enter(path)?;
        if target.is_empty() || target.len() >= PATH_MAX || target.contains('\0') {
            return Err(CpioError::Path {
                path: target.to_owned(),
                reason: "the target of a link has 1 to 4095 bytes and no NUL",
            });
        }
        self.entry(name, S_IFLNK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// [`CpioError::Path`] and [`CpioError::Write`].
    pub fn character_device(
        &mut self,
        path: &str,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<(), CpioError> {
        let name = self.enter(path)?;
        self.entry(name, S_IFCHR | mode & 0o7777, (major, minor), &[])
    }

    /// Ends the archive and gives back what it was written to.
    ///
    /// # Errors
    /// [`CpioError::Write`].
    pub fn finish(mut self) -> Result<W, CpioError> {
        self.inode = 0;
        self.header("TRAILER!!!", 0, 1, (0, 0), 0)?;
        self.to.flush()?;
        Ok(self.to)
    }

    /// Checks a path and adds the directories above it.
    fn enter<'a>(&mut self, path: &'a str) -> Result<&'a str, CpioError> {
        let name = path.strip_prefix('/').unwrap_or(path);
        let reject = |reason| Err(CpioError::Path { path: path.to_owned(), reason });
        if name.is_empty() {
            return reject("it is empty");
        }
        if name.len() >= PATH_MAX {
            return reject("it has more than 4095 bytes");
        }
        if name.contains('\0') {
            return reject("it has a NUL in it");
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return reject("it has an empty part, `.` or `..` in it");
        }
        if name == "TRAILER!!!" {
            return reject("the format uses this name for the end of the archive");
        }
        for (at, _) in name.match_indices('/') {
            let Some(parent) = name.get(..at) else { continue };
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, S_IFDIR | 0o755, (0, 0), &[])?;
            }
        }
        Ok(name)
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> Result<(), CpioError> {
        let size = u32::try_from(content.len())
            .map_err(|_| CpioError::TooLarge { path: name.to_owned(), size: content.len() })?;
        self.inode = self.inode.wrapping_add(1);
        // As stat(2) would show it for a directory; more than 1 for a file would say hard links.
        let links = if mode & S_IFMT == S_IFDIR { 2 } else { 1 };
        self.header(name, mode, links, device, size)?;
        self.to.write_all(content)?;
        self.pad(content.len())?;
        Ok(())
    }

    /// The header and the name, padded.
    fn header(
        &mut self,
        name: &str,
        mode: u32,
        links: u32,
        (major, minor): (u32, u32),
        size: u32,
    ) -> io::Result<()> {
        let inode = self.inode;
        // Bounded by PATH_MAX.
        let name_size = name.len() + 1;
        let none = "00000000";
        // Magic, then ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor,
        // rdevminor, namesize, check.
        let header = format!(
            "070701{inode:08x}{mode:08x}{none}{none}{links:08x}{none}{size:08x}{none}{none}\
             {major:08x}{minor:08x}{name_size:08x}{none}{name}\0",
        );
        self.to.write_all(header.as_bytes())?;
        self.pad(header.len())
    }

    /// Header with name, and content, are padded with NULs to a multiple of 4 bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        let padding = written.next_multiple_of(4) - written;
        self.to.write_all(&[0; 4][..padding])
    }
}

#[cfg(test)]
pub(crate) mod reader;
#[cfg(test)]
mod tests;
