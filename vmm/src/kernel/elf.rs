//! The kernel as ELF: the segments that are loaded, and where it is entered.

use std::io::{self, Read, Seek, SeekFrom};

use object::LittleEndian;
use object::elf::{EM_X86_64, ET_EXEC, FileHeader64, PT_LOAD, ProgramHeader64};
use object::read::elf::FileHeader;
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

/// The file's first bytes, in which its header and its program headers must lie. The linker puts
/// them first, and what comes out of a decompressor can't be read twice.
const HEAD: usize = 4096;

/// KERNEL_IMAGE_SIZE, the most that a 64-bit kernel maps for itself.
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
    /// The header is not one of a 64-bit x86 kernel.
    #[error("not an ELF executable for x86-64")]
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

/// What is read from front to back.
pub(super) trait Source: Read {
    /// Passes over `count` bytes.
    fn skip(&mut self, count: u64) -> io::Result<()>;
}

/// A source that can seek.
pub(super) struct Seekable<T>(pub(super) T);

impl<T: Read> Read for Seekable<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<T: Read + Seek> Source for Seekable<T> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let count = i64::try_from(count).map_err(io::Error::other)?;
        self.0.seek(SeekFrom::Current(count)).map(drop)
    }
}

/// The part of an ELF file that is loaded.
pub(super) struct Program {
    entry: u64,
    /// By address, disjoint, at least one.
    segments: Vec<Segment>,
}

struct Segment {
    address: u64,
    /// Bytes in memory; those after `data` are zero.
    size: u64,
    data: Vec<u8>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
}

impl Program {
    /// Reads from front to back what is to be loaded, and nothing behind it.
    pub(super) fn read(source: &mut dyn Source) -> Result<Program, ElfError> {
        let mut head = Vec::with_capacity(HEAD);
        source.take(HEAD as u64).read_to_end(&mut head).map_err(ElfError::Read)?;
        let header =
            FileHeader64::<LittleEndian>::parse(&*head).map_err(|_| ElfError::NotAKernel)?;
        let (kind, machine) = (header.e_type(LittleEndian), header.e_machine(LittleEndian));
        if kind != ET_EXEC || machine != EM_X86_64 {
            return Err(ElfError::NotAKernel);
        }
        let headers =
            header.program_headers(LittleEndian, &*head).map_err(|_| ElfError::ProgramHeaders)?;
        let mut loads: Vec<_> = headers
            .iter()
            .filter(|header| header.p_type.get(LittleEndian) == PT_LOAD)
            .filter(|header| header.p_memsz.get(LittleEndian) > 0)
            .collect();
        loads.sort_by_key(|header| header.p_offset.get(LittleEndian));
        let mut reader = Reader { head: &head, source, position: head.len() as u64, end: 0 };
        let mut segments = Vec::with_capacity(loads.len());
        for header in loads {
            check(header)?;
            segments.push(Segment {
                address: header.p_paddr.get(LittleEndian),
                size: header.p_memsz.get(LittleEndian),
                data: reader
                    .range(header.p_offset.get(LittleEndian), header.p_filesz.get(LittleEndian))?,
            });
        }
        Program::new(header.e_entry.get(LittleEndian), segments)
    }

    fn new(entry: u64, mut segments: Vec<Segment>) -> Result<Program, ElfError> {
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
        let holds = |s: &Segment| (s.address..s.address + s.data.len() as u64).contains(&entry);
        if !segments.iter().any(holds) {
            return Err(ElfError::Entry(entry));
        }
        Ok(Program { entry, segments })
    }

    /// Where the first segment begins and where the last one ends.
    pub(super) fn span(&self) -> (u64, u64) {
        let start = self.segments.first().map_or(0, |segment| segment.address);
        let end = self.segments.last().map_or(0, Segment::end);
        (start, end)
    }

    /// Writes the segments to where they belong and gives the entry point. The memory is fresh: what is
    /// zero in a segment is left as it is, so that nobody pays for pages that nobody has used.
    pub(super) fn load(&self, memory: &GuestMemoryMmap) -> Result<u64, GuestMemoryError> {
        for segment in &self.segments {
            memory.write_slice(&segment.data, GuestAddress(segment.address))?;
        }
        Ok(self.entry)
    }
}

/// Whether a program header's numbers can be those of a kernel.
fn check(header: &ProgramHeader64<LittleEndian>) -> Result<(), ElfError> {
    let address = header.p_paddr.get(LittleEndian);
    let size = header.p_memsz.get(LittleEndian);
    let impossible = |why| Err(ElfError::Segment { address, size, why });
    if header.p_filesz.get(LittleEndian) > size {
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

/// Reads ranges of a file in the order of their offsets.
struct Reader<'a> {
    head: &'a [u8],
    source: &'a mut dyn Source,
    /// Where `source` stands.
    position: u64,
    /// Where the last range ended.
    end: u64,
}

impl Reader<'_> {
    fn range(&mut self, offset: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        if size == 0 {
            return Ok(Vec::new());
        }
        let end = offset.checked_add(size).ok_or(ElfError::ProgramHeaders)?;
        if offset < self.end {
            return Err(ElfError::ProgramHeaders);
        }
        self.end = end;
        let mut data = Vec::new();
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.head.len());
        data.extend_from_slice(self.head.get(at(offset)..at(end)).unwrap_or_default());
        if offset > self.position {
            self.source.skip(offset - self.position).map_err(ElfError::Read)?;
            self.position = offset;
        }
        // It grows with what is really there, not with what the header says.
        let rest = size.saturating_sub(data.len() as u64);
        let count = self.source.take(rest).read_to_end(&mut data).map_err(ElfError::Read)?;
        self.position += count as u64;
        if (data.len() as u64) < size {
            return Err(ElfError::Truncated);
        }
        data.shrink_to_fit();
        Ok(data)
    }
}
