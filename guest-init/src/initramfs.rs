//! The archive that a guest boots from: PID 1, what it needs, and the workload.
//!
//! ```
//! use guest_init::initramfs::Initramfs;
//!
//! # fn main() -> Result<(), guest_init::initramfs::InitramfsError> {
//! let bytes = Initramfs::new()
//!     .file("/workload", 0o755, b"\x7fELF...".to_vec())
//!     .run(["/workload", "--seconds", "10"])
//!     .build()?;
//! # assert!(bytes.starts_with(b"070701"));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use thiserror::Error;

use crate::cpio::{CpioError, Writer};
use crate::shared::arguments;
use crate::{INIT, INIT_I386, INIT_I386_PATH};

/// Most bytes of a workload's argument list, one byte for the end of each argument included.
pub const MAX_ARGUMENT_BYTES: usize = arguments::MAX_BYTES;

/// Most arguments of a workload, the program included.
pub const MAX_ARGUMENTS: usize = arguments::MAX_ARGUMENTS;

/// What an archive that the kernel takes begins with: cpio in two variants, and the compressions
/// that it knows (lib/decompress.c).
const MAGICS: &[&[u8]] = &[
    b"070701",
    b"070702",
    &[0x1f, 0x8b],
    &[0x1f, 0x9e],
    b"BZh",
    &[0x5d, 0, 0],
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x89, b'L', b'Z', b'O'],
    &[0x02, 0x21, b'L', 0x18],
    &[0x28, 0xb5, 0x2f, 0xfd],
];

/// Why there is no archive.
#[derive(Debug, Error)]
pub enum InitramfsError {
    /// A path or a file can't stand in an archive.
    #[error(transparent)]
    Cpio(#[from] CpioError),
    /// The workload's arguments can't be handed to PID 1.
    #[error("the workload's arguments can't be used: {0}")]
    Arguments(&'static str),
    /// What was given as an initramfs is none.
    #[error(
        "this is not an initramfs: neither a cpio archive in the newc format nor one compressed \
         with gzip, bzip2, lzma, xz, lzo, lz4 or zstd"
    )]
    NotAnArchive,
}

enum Entry {
    Directory(u32),
    File(u32, Vec<u8>),
    Symlink(String),
    Character(u32, u32, u32),
}

/// The archive that a guest boots from.
///
/// It begins with what PID 1 needs: /init itself, /dev/console and /dev/null, and directories to
/// mount on. Adding a path again replaces it. Equal contents give equal bytes, in whatever order
/// they were added.
#[must_use]
pub struct Initramfs {
    base: Vec<u8>,
    entries: BTreeMap<String, Entry>,
    arguments: Vec<Vec<u8>>,
}

impl Initramfs {
    /// An archive with PID 1 and nothing to run.
    pub fn new() -> Initramfs {
        let mut entries = BTreeMap::new();
        for directory in ["dev", "proc", "root", "sys"] {
            entries.insert(directory.to_owned(), Entry::Directory(0o755));
        }
        entries.insert("tmp".to_owned(), Entry::Directory(0o1777));
        entries.insert("dev/console".to_owned(), Entry::Character(0o600, 5, 1));
        entries.insert("dev/null".to_owned(), Entry::Character(0o666, 1, 3));
        entries.insert("init".to_owned(), Entry::File(0o755, INIT.to_vec()));
        let archive = Initramfs { base: Vec::new(), entries, arguments: Vec::new() };
        match INIT_I386.is_empty() {
            true => archive,
            false => archive.file(INIT_I386_PATH, 0o755, INIT_I386),
        }
    }

    /// Puts an initramfs of somebody else's in front: its files are there as well, and where both
    /// have a file, ours is the one that counts. It may be compressed.
    ///
    /// Linux before 5.11 does not find the end of an archive compressed with lz4.
    ///
    /// # Errors
    /// [`InitramfsError::NotAnArchive`].
    pub fn on_top_of(mut self, archive: Vec<u8>) -> Result<Initramfs, InitramfsError> {
        if !MAGICS.iter().any(|magic| archive.starts_with(magic)) {
            return Err(InitramfsError::NotAnArchive);
        }
        self.base = archive;
        // The kernel looks for the next archive at multiples of 4; cpio itself pads to 512.
        let padded = self.base.len().next_multiple_of(512);
        self.base.resize(padded, 0);
        Ok(self)
    }

    /// Adds a directory.
    pub fn directory(self, path: &str, mode: u32) -> Initramfs {
        self.add(path, Entry::Directory(mode))
    }

    /// Adds a file.
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Initramfs {
        self.add(path, Entry::File(mode, content.into()))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Initramfs {
        self.add(path, Entry::Symlink(target.to_owned()))
    }

    /// Says what PID 1 runs: the path of a program in the guest, and its arguments. It sees
    /// nothing on standard input and writes to the console.
    pub fn run<A: AsRef<[u8]>>(mut self, argv: impl IntoIterator<Item = A>) -> Initramfs {
        self.arguments = argv.into_iter().map(|argument| argument.as_ref().to_vec()).collect();
        self
    }

    /// The bytes of the archive.
    ///
    /// # Errors
    /// [`InitramfsError::Arguments`] and [`InitramfsError::Cpio`].
    pub fn build(mut self) -> Result<Vec<u8>, InitramfsError> {
        let block = argument_block(&self.arguments)?;
        let path = arguments::PATH.to_str().unwrap_or_default();
        self = self.file(path, 0o400, block);
        let mut archive = Writer::new(self.base);
        for (path, entry) in &self.entries {
            match entry {
                Entry::Directory(mode) => archive.directory(path, *mode)?,
                Entry::File(mode, content) => archive.file(path, *mode, content)?,
                Entry::Symlink(target) => archive.symlink(path, target)?,
                Entry::Character(mode, major, minor) => {
                    archive.character_device(path, *mode, *major, *minor)?;
                }
            }
        }
        Ok(archive.finish()?)
    }

    fn add(mut self, path: &str, entry: Entry) -> Initramfs {
        self.entries.insert(path.strip_prefix('/').unwrap_or(path).to_owned(), entry);
        self
    }
}

impl Default for Initramfs {
    fn default() -> Initramfs {
        Initramfs::new()
    }
}

/// The file that PID 1 reads its orders from.
fn argument_block(argv: &[Vec<u8>]) -> Result<Vec<u8>, InitramfsError> {
    let reject = |reason| Err(InitramfsError::Arguments(reason));
    if argv.first().is_some_and(Vec::is_empty) {
        return reject("the program's path is empty");
    }
    if argv.iter().any(|argument| argument.contains(&0)) {
        return reject("there is a NUL in one of them");
    }
    if argv.len() > MAX_ARGUMENTS {
        return reject("there are more than 256 of them");
    }
    let block: Vec<u8> =
        argv.iter().flat_map(|argument| argument.iter().chain(&[0])).copied().collect();
    if block.len() > MAX_ARGUMENT_BYTES {
        return reject("they have more than 64 KiB");
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::{Initramfs, InitramfsError, MAX_ARGUMENTS, argument_block};
    use crate::cpio::reader::read;
    use crate::shared::arguments;

    #[test]
    fn the_archive_has_what_pid_1_needs() {
        let bytes = Initramfs::new().run(["/bin/true", "a b"]).build().unwrap();
        let entries = read(&bytes);
        let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(find("init").content, crate::INIT);
        assert_eq!(find("init").mode, 0o100_755);
        assert_eq!((find("dev/console").mode, find("dev/console").device), (0o020_600, (5, 1)));
        assert_eq!(find("tmp").mode, 0o041_777);
        assert_eq!(find("vmbisect/workload").content, b"/bin/true\0a b\0");
    }

    #[test]
    fn the_order_of_adding_makes_no_difference() {
        let one = Initramfs::new().file("/b", 0o644, *b"b").symlink("/a", "b").build().unwrap();
        let other = Initramfs::new().symlink("a", "b").file("b", 0o644, *b"b").build().unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn an_archive_underneath_is_kept_and_padded() {
        let base = Initramfs::new().file("/theirs", 0o644, *b"x").build().unwrap();
        let both = Initramfs::new().on_top_of(base.clone()).unwrap().build().unwrap();
        assert!(both.starts_with(&base));
        let ours = both.len() - Initramfs::new().build().unwrap().len();
        assert_eq!(ours % 512, 0);
        assert_eq!(both[ours..], Initramfs::new().build().unwrap());
        assert!(matches!(
            Initramfs::new().on_top_of(b"MZ not an archive".to_vec()),
            Err(InitramfsError::NotAnArchive)
        ));
    }

    #[test]
    fn the_agent_reads_what_the_host_writes() {
        let argv = [b"/bin/sh".to_vec(), b"-c".to_vec(), b"".to_vec(), b"echo 'x  y'".to_vec()];
        let block = argument_block(&argv).unwrap();
        let read: Vec<_> =
            arguments::parse(&block).unwrap().map(|a| a.to_bytes().to_vec()).collect();
        assert_eq!(read, argv);
        assert!(argument_block(&[]).unwrap().is_empty());
    }

    #[test]
    fn arguments_that_the_agent_would_refuse_are_refused_here() {
        assert!(argument_block(&[b"".to_vec()]).is_err());
        assert!(argument_block(&[b"a\0b".to_vec()]).is_err());
        assert!(argument_block(&vec![b"a".to_vec(); MAX_ARGUMENTS + 1]).is_err());
        assert!(argument_block(&[vec![b'a'; arguments::MAX_BYTES]]).is_err());
        assert!(argument_block(&[vec![b'a'; arguments::MAX_BYTES - 1]]).is_ok());
    }
}
