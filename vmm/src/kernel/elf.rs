//! The kernel as ELF: the segments that are loaded, and where it is entered.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use memchr::memmem;
use object::LittleEndian;
use object::elf::{EM_386, EM_X86_64, ET_EXEC, FileHeader32, FileHeader64, Machine, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::{Entry, EntryMode};

/// The file's first bytes, in which its header and its program headers must lie, where linkers put
/// them.
const HEAD: usize = 4096;

/// EI_CLASS, and ELFCLASS32 there.
const CLASS: usize = 4;
const CLASS_32: u8 = 1;

/// KERNEL_IMAGE_SIZE, the most that a 64-bit kernel maps for itself; a 32-bit one maps half of it.
pub(super) const KERNEL_IMAGE_SIZE: u64 = 1 << 30;

/// Everything below belongs to boot_params, page tables and the firmware's tables.
const LOWEST: u64 = 1 << 20;

/// Why an ELF file can't be loaded as a kernel.
#[derive(Debug, Error)]
pub enum ElfError {
    /// The file can't be read.
    #[error("can't read the ELF file")]
    Read(#[source] io::Error),
    /// The file ends before what its headers name.
    #[error("the ELF file is truncated")]
    Truncated,
    /// The header is not one of an x86 kernel.
    #[error("not an ELF executable for x86-64 or i386")]
    NotAKernel,
    /// The program headers are damaged, or not at the start of the file.
    #[error("the program headers are damaged")]
    ProgramHeaders,
    /// No segment is to be loaded.
    #[error("no segment is to be loaded")]
    NothingToLoad,
    /// A segment's addresses can't be true.
    #[error("the segment of {size:#x} bytes at {address:#x} is impossible: {why}")]
    Segment {
        /// Its physical address.
        address: u64,
        /// Its size in memory.
        size: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The entry point is in no segment.
    #[error("the entry point {0:#x} lies in no segment")]
    Entry(u64),
}

/// What is loaded of an ELF file, where, and where it is entered.
#[derive(Clone)]
pub(super) struct Layout {
    entry: Entry,
    /// By address, disjoint, at least one.
    segments: Vec<Segment>,
}

/// The part of an ELF file that is loaded, in memory.
pub(super) struct Program {
    layout: Layout,
    /// What the segments' data is in: the file, or as much of it as they take.
    bytes: Vec<u8>,
}

/// What a program header says of a segment.
struct Load {
    offset: u64,
    size_in_file: u64,
    address: u64,
    size: u64,
}

#[derive(Clone)]
pub(super) struct Segment {
    pub(super) address: u64,
    /// Bytes in memory; those after `data` are zero.
    size: u64,
    /// Where its bytes are in the file, or among the program's.
    pub(super) data: Range<u64>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }

    fn size_in_file(&self) -> u64 {
        self.data.end.saturating_sub(self.data.start)
    }
}

impl Layout {
    /// Of a file of `length` bytes that begins with `head`.
    fn of(head: &[u8], length: u64) -> Result<Layout, ElfError> {
        let (entry, loads) = headers(head)?;
        let segment = |load: Load| {
            let end = load.offset.checked_add(load.size_in_file).ok_or(ElfError::ProgramHeaders)?;
            // A segment without data may claim to lie anywhere.
            let data = if load.size_in_file == 0 { 0..0 } else { load.offset..end };
            if data.end > length {
                return Err(ElfError::Truncated);
            }
            Ok(Segment { address: load.address, size: load.size, data })
        };
        let mut segments: Vec<Segment> =
            loads.into_iter().map(segment).collect::<Result<_, _>>()?;
        segments.sort_by_key(|segment| segment.address);
        let mut last = 0;
        for segment in &segments {
            if segment.address < last {
                return Err(ElfError::Segment {
                    address: segment.address,
                    size: segment.size,
                    why: "it overlaps another one",
                });
            }
            last = segment.end();
        }
        if segments.is_empty() {
            return Err(ElfError::NothingToLoad);
        }
        let holds =
            |s: &Segment| (s.address..s.address + s.size_in_file()).contains(&entry.address);
        if !segments.iter().any(holds) {
            return Err(ElfError::Entry(entry.address));
        }
        Ok(Layout { entry, segments })
    }

    /// Of a file that is read no further than its headers. No byte of it belongs to two segments, so
    /// that they take no more memory than the file is long.
    pub(super) fn read(mut file: impl Read + Seek) -> Result<Layout, ElfError> {
        let mut head = Vec::with_capacity(HEAD);
        file.rewind().map_err(ElfError::Read)?;
        file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(ElfError::Read)?;
        let length = file.seek(SeekFrom::End(0)).map_err(ElfError::Read)?;
        let layout = Layout::of(&head, length)?;
        let mut end = 0;
        for data in layout.in_file() {
            if data.start < end {
                return Err(ElfError::ProgramHeaders);
            }
            end = data.end;
        }
        Ok(layout)
    }

    /// Where the segments' data is, in the order of the file.
    fn in_file(&self) -> Vec<Range<u64>> {
        let data = self.segments.iter().map(|segment| segment.data.clone());
        let mut data: Vec<_> = data.filter(|data| !data.is_empty()).collect();
        data.sort_by_key(|data| data.start);
        data
    }

    /// Where and how it is entered.
    pub(super) fn entry(&self) -> Entry {
        self.entry
    }

    /// The segments, by address.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Where the first segment begins and where the last one ends.
    pub(super) fn span(&self) -> (u64, u64) {
        let start = self.segments.first().map_or(0, |segment| segment.address);
        let end = self.segments.last().map_or(0, Segment::end);
        (start, end)
    }
}

impl Program {
    /// Takes what is to be loaded out of a file that is in memory as a whole.
    pub(super) fn parse(file: Vec<u8>) -> Result<Program, ElfError> {
        let layout = Layout::of(file.get(..HEAD).unwrap_or(&file), file.len() as u64)?;
        Ok(Program { layout, bytes: file })
    }

    /// Takes of a file with this layout what is to be loaded, and nothing else: `append` appends what
    /// is at a place in the file.
    pub(super) fn read<E>(
        mut layout: Layout,
        mut append: impl FnMut(Range<u64>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Program, E> {
        let mut bytes =
            Vec::with_capacity(at(layout.segments.iter().map(Segment::size_in_file).sum()));
        for segment in &mut layout.segments {
            let start = bytes.len() as u64;
            append(segment.data.clone(), &mut bytes)?;
            segment.data = start..bytes.len() as u64;
        }
        Ok(Program { layout, bytes })
    }

    /// What is loaded, and where.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes of all segments in the file.
    #[cfg(fuzzing)]
    pub(super) fn size_in_file(&self) -> u64 {
        self.data().map(|(_, data)| data.len() as u64).sum()
    }

    /// Whether `bytes` stand somewhere in a segment.
    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        self.data().any(|(_, data)| memmem::find(data, bytes).is_some())
    }

    /// The segments' addresses and data.
    fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.layout.segments.iter().map(|Segment { address, data, .. }| {
            (*address, self.bytes.get(at(data.start)..at(data.end)).unwrap_or_default())
        })
    }

    /// Writes the segments to where they belong. The memory is fresh: what is zero in a segment is
    /// left as it is, so that nobody pays for pages that nobody has used.
    pub(super) fn load(&self, memory: &GuestMemoryMmap) -> Result<(), GuestMemoryError> {
        for (address, data) in self.data() {
            memory.write_slice(data, GuestAddress(address))?;
        }
        Ok(())
    }
}

/// Where a file with this `head` is entered, and what is to be loaded of it, in the order of the
/// file.
fn headers(head: &[u8]) -> Result<(Entry, Vec<Load>), ElfError> {
    let mode = match head.get(CLASS) {
        Some(&CLASS_32) => EntryMode::Protected,
        _ => EntryMode::Long,
    };
    let (address, mut loads) = match mode {
        EntryMode::Protected => headers_of::<FileHeader32<LittleEndian>>(head, EM_386)?,
        EntryMode::Long => headers_of::<FileHeader64<LittleEndian>>(head, EM_X86_64)?,
    };
    loads.iter().try_for_each(Load::check)?;
    loads.sort_by_key(|load| load.offset);
    Ok((Entry { address, mode }, loads))
}

/// The entry point and what is to be loaded, of an executable of the class `H` for `machine`.
fn headers_of<H: FileHeader<Endian = LittleEndian>>(
    head: &[u8],
    machine: Machine,
) -> Result<(u64, Vec<Load>), ElfError> {
    let header = H::parse(head).map_err(|_| ElfError::NotAKernel)?;
    if header.e_type(LittleEndian) != ET_EXEC || header.e_machine(LittleEndian) != machine {
        return Err(ElfError::NotAKernel);
    }
    let headers =
        header.program_headers(LittleEndian, head).map_err(|_| ElfError::ProgramHeaders)?;
    let loads = headers
        .iter()
        .filter(|header| header.p_type(LittleEndian) == PT_LOAD)
        .map(|header| Load {
            offset: header.p_offset(LittleEndian).into(),
            size_in_file: header.p_filesz(LittleEndian).into(),
            address: header.p_paddr(LittleEndian).into(),
            size: header.p_memsz(LittleEndian).into(),
        })
        .filter(|load| load.size > 0)
        .collect();
    Ok((header.e_entry(LittleEndian).into(), loads))
}

impl Load {
    /// Whether its numbers can be those of a kernel.
    fn check(&self) -> Result<(), ElfError> {
        let (address, size) = (self.address, self.size);
        let impossible = |why| Err(ElfError::Segment { address, size, why });
        if self.size_in_file > size {
            return impossible("it is larger in the file than in memory");
        }
        if size > KERNEL_IMAGE_SIZE {
            return impossible("a kernel maps at most 1 GiB");
        }
        if address < LOWEST {
            return impossible("a kernel is loaded above 1 MiB");
        }
        if address.checked_add(size).is_none() {
            return impossible("it wraps around");
        }
        Ok(())
    }
}

/// A place in a file as an index into it.
pub(super) fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
