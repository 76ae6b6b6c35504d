//! The signature of a build: a hash of what will run.
//!
//! Two builds with equal signatures behave alike, so they share one image and all evidence. Hashed
//! is every allocated section of vmlinux (name, address, size, flags, contents) and every object
//! that the decompressor is linked from. Left out is what cannot change
//! behaviour but does change from commit to commit:
//!
//! * notes (the build id), symbols and debug information, which are not allocated or not read;
//! * the line numbers in `__bug_table`, which every edit above a `WARN_ON` moves;
//! * the release name (`uname -r`), wherever it is stored. The builder gives all releases the same
//!   width, so that a new version in the Makefile moves no address, and builds with a constant
//!   `SUBLEVEL`; `VERSION` and `PATCHLEVEL` are code to some (`LINUX_VERSION_CODE`) and count.
//!
//! What stays in, and can make two builds look different that are not: line numbers that the
//! compiler puts into code (`__LINE__` passed to a function, as `might_sleep()` does under
//! `DEBUG_ATOMIC_SLEEP`) or into data without a table (UBSAN's and KASAN's source locations,
//! dynamic debug). That costs a build and some trials, never a wrong answer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::elf::{
    FileHeader64, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_NOTE, SHT_RELA, SHT_STRTAB, SHT_SYMTAB,
    SectionFlags,
};
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, ReadCache};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::hex;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// `__bug_table` of an allyesconfig kernel has 1 MB; a longer one is hashed as it is.
const MAX_BUG_TABLE: u64 = 64 << 20;

/// Why a signature can't be computed.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// A file can't be read.
    #[error("can't read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not the 64-bit ELF file that it should be.
    #[error("{path} is not a 64-bit ELF file, or is damaged")]
    Elf {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: object::Error,
    },
}

/// The signature of a vmlinux whose release name is `release`, in hexadecimal.
///
/// # Errors
/// Fails if the file can't be read or is no 64-bit ELF file.
pub fn signature_of(vmlinux: &Path, release: &str) -> Result<String, SignatureError> {
    let mut hash = Sha256::new();
    add_elf(&mut hash, vmlinux, release, Extent::Linked)?;
    Ok(hex::encode(&hash.finalize()))
}

/// The signature of what a kernel build left in `out`, with the sources in `source`.
pub(super) fn signature_of_build(
    out: &Path,
    source: &Path,
    release: &str,
) -> Result<String, SignatureError> {
    let mut hash = Sha256::new();
    add_elf(&mut hash, &out.join("vmlinux"), release, Extent::Linked)?;
    // The linked decompressor has the compressed kernel in its middle, so its addresses move with
    // every line number; its objects don't. Real-mode code never runs in a machine that is entered
    // in 64-bit mode, but for its header: that holds the compressed size, so its source stands in.
    for object in objects(&out.join("arch/x86/boot/compressed"))? {
        add_elf(&mut hash, &object, release, Extent::Relocatable)?;
    }
    let header = source.join("arch/x86/boot/header.S");
    let text = std::fs::read(&header).map_err(|source| io_error(&header, source))?;
    hash.update(Sha256::digest(text));
    Ok(hex::encode(&hash.finalize()))
}

fn objects(dir: &Path) -> Result<Vec<PathBuf>, SignatureError> {
    let mut found = Vec::new();
    for entry in dir.read_dir().map_err(|source| io_error(dir, source))? {
        let path = entry.map_err(|source| io_error(dir, source))?.path();
        let name = path.file_name().unwrap_or_default();
        if path.extension().is_some_and(|it| it == "o") && name != "piggy.o" {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn io_error(path: &Path, source: io::Error) -> SignatureError {
    SignatureError::Io { path: path.to_owned(), source }
}

/// How much of a file counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Allocated sections.
    Linked,
    /// Symbols and the relocations of allocated sections too: they decide what is linked.
    Relocatable,
}

fn add_elf(
    hash: &mut Sha256,
    path: &Path,
    release: &str,
    extent: Extent,
) -> Result<(), SignatureError> {
    let elf_error = |source| SignatureError::Elf { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let cache = ReadCache::new(&file);
    let header = FileHeader64::<Endianness>::parse(&cache).map_err(elf_error)?;
    let endian = header.endian().map_err(elf_error)?;
    let sections = header.sections(endian, &cache).map_err(elf_error)?;

    let is_alloc = |flags: SectionFlags| flags.0 & SHF_ALLOC.0 != 0;
    let code: Vec<(u64, u64)> = sections
        .iter()
        .filter(|section| section.sh_flags(endian).0 & SHF_EXECINSTR.0 != 0)
        .map(|section| (section.sh_addr(endian), section.sh_size(endian)))
        .collect();
    for section in sections.iter() {
        let (kind, flags) = (section.sh_type(endian), section.sh_flags(endian));
        let counts = match (extent, kind) {
            (_, SHT_NOTE) => false,
            (Extent::Relocatable, SHT_SYMTAB | SHT_STRTAB) => true,
            (Extent::Relocatable, SHT_RELA) => {
                let target = object::SectionIndex(section.sh_info(endian) as usize);
                let target = sections.section(target).map_err(elf_error)?;
                is_alloc(target.sh_flags(endian))
            }
            _ => is_alloc(flags),
        };
        if !counts {
            continue;
        }
        let name = sections.section_name(endian, section).map_err(elf_error)?;
        let (address, size) = (section.sh_addr(endian), section.sh_size(endian));
        for number in [name.len() as u64, address, size, flags.0, u64::from(kind.0)] {
            hash.update(number.to_le_bytes());
        }
        hash.update(name);
        if kind == SHT_NOBITS {
            continue;
        }
        let place = Place { file: &file, offset: section.sh_offset(endian), size };
        let added = if name == b"__bug_table" && extent == Extent::Linked && size <= MAX_BUG_TABLE {
            place.add_bug_table(hash, address, &code)
        } else {
            place.add(hash, release.as_bytes())
        };
        added.map_err(|source| io_error(path, source))?;
    }
    Ok(())
}

/// A section's bytes in a file.
struct Place<'a> {
    file: &'a File,
    offset: u64,
    size: u64,
}

impl Place<'_> {
    /// Hashes the section with every occurrence of `release` blanked, a piece at a time.
    fn add(&self, hash: &mut Sha256, release: &[u8]) -> io::Result<()> {
        // What an occurrence may have begun with at the end of a piece waits for the next one.
        let overlap = release.len().saturating_sub(1);
        let mut buffer: Vec<u8> = Vec::new();
        let mut position = 0;
        while position < self.size {
            let take = usize::try_from(self.size - position).map_or(CHUNK, |left| left.min(CHUNK));
            let carried = buffer.len();
            buffer.resize(carried.saturating_add(take), 0);
            if let Some(space) = buffer.get_mut(carried..) {
                self.file.read_exact_at(space, self.offset.saturating_add(position))?;
            }
            position = position.saturating_add(take as u64);
            blank(&mut buffer, release);
            let done = buffer.len().saturating_sub(overlap);
            hash.update(buffer.get(..done).unwrap_or_default());
            buffer.drain(..done);
        }
        hash.update(&buffer);
        Ok(())
    }

    fn add_bug_table(&self, hash: &mut Sha256, at: u64, code: &[(u64, u64)]) -> io::Result<()> {
        let mut table = vec![0; usize::try_from(self.size).unwrap_or(0)];
        self.file.read_exact_at(&mut table, self.offset)?;
        blank_lines(&mut table, at, code);
        hash.update(&table);
        Ok(())
    }
}

fn blank(buffer: &mut [u8], needle: &[u8]) {
    if needle.is_empty() {
        return;
    }
    let found: Vec<usize> = memchr::memmem::find_iter(buffer, needle).collect();
    for start in found {
        if let Some(bytes) = buffer.get_mut(start..start.saturating_add(needle.len())) {
            bytes.fill(0);
        }
    }
}

/// Blanks the line numbers of a `__bug_table` that starts at address `at`.
///
/// include/asm-generic/bug.h: with `GENERIC_BUG_RELATIVE_POINTERS` (always on x86-64) an entry is
/// `int bug_addr_disp; [int format_disp;] int file_disp; u16 line; u16 flags`, each displacement
/// relative to its own address; without `DEBUG_BUGVERBOSE` there is no file and no line. Which of
/// the layouts it is shows in the first field: it must lead to code in every entry.
fn blank_lines(table: &mut [u8], at: u64, code: &[(u64, u64)]) {
    let leads_to_code = |offset: usize, entry: &[u8]| {
        let Some(bytes) = entry.first_chunk::<4>() else { return false };
        let displacement = i64::from(i32::from_le_bytes(*bytes));
        let address = at.wrapping_add(offset as u64).wrapping_add_signed(displacement);
        code.iter().any(|&(start, size)| address.wrapping_sub(start) < size)
    };
    for (stride, line) in [(12, 8), (16, 12)] {
        let fits = !table.is_empty()
            && table.len().is_multiple_of(stride)
            && table
                .chunks_exact(stride)
                .enumerate()
                .all(|(index, entry)| leads_to_code(index.saturating_mul(stride), entry));
        if fits {
            for entry in table.chunks_exact_mut(stride) {
                if let Some(bytes) = entry.get_mut(line..line + 2) {
                    bytes.fill(0);
                }
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::{CHUNK, Place, blank, blank_lines, signature_of};

    #[test]
    fn the_release_is_blanked_across_pieces() {
        let digest = |text: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text).unwrap();
            let mut hash = Sha256::new();
            let place = Place { file: &file, offset: 0, size: text.len() as u64 };
            place.add(&mut hash, b"6.1.0-x").unwrap();
            hash.finalize()
        };
        for start in CHUNK - 8..CHUNK + 2 {
            let mut text = vec![b'.'; CHUNK + 20];
            text[start..start + 7].copy_from_slice(b"6.1.0-x");
            let mut blanked = text.clone();
            blank(&mut blanked, b"6.1.0-x");
            assert_eq!(digest(&text), digest(&blanked));
            text[start] = b'5';
            assert_ne!(digest(&text), digest(&blanked));
        }
    }

    /// Entries whose bug addresses are `targets`, with the given lines.
    fn table(at: u64, stride: usize, lines: &[u16], target: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let here = at + (index * stride) as u64;
            bytes.extend_from_slice(&((target.wrapping_sub(here)) as i32).to_le_bytes());
            bytes.resize(index * stride + stride - 4, 0x11);
            bytes.extend_from_slice(&line.to_le_bytes());
            bytes.extend_from_slice(&[1, 9]);
        }
        bytes
    }

    #[test]
    fn line_numbers_go_and_all_else_stays() {
        let code = [(0x1000, 0x100)];
        for stride in [12, 16] {
            let mut one = table(0x8000, stride, &[7, 70, 700], 0x1080);
            let mut other = table(0x8000, stride, &[8, 71, 701], 0x1080);
            assert_ne!(one, other);
            blank_lines(&mut one, 0x8000, &code);
            blank_lines(&mut other, 0x8000, &code);
            assert_eq!(one, other, "stride {stride}");
            assert_eq!(one[stride - 2..stride], [1, 9]);
        }
        // Not a table of that kind: left alone.
        let mut foreign = table(0x8000, 12, &[7, 70], 0x9000);
        let before = foreign.clone();
        blank_lines(&mut foreign, 0x8000, &code);
        assert_eq!(foreign, before);
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[0x7f; 4096]).unwrap();
        assert!(signature_of(file.path(), "x").is_err());
    }

    proptest! {
        #[test]
        fn any_table_is_taken(mut table in proptest::collection::vec(any::<u8>(), 0..200), at: u64) {
            let length = table.len();
            blank_lines(&mut table, at, &[(0, u64::MAX)]);
            prop_assert_eq!(table.len(), length);
        }
    }
}
