//! A vmlinux that stays in its file until a machine is made of it.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use vm_memory::bitmap::BitmapSlice;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryMmap, ReadVolatile, VolatileMemoryError, VolatileSlice,
};

use super::KernelError;
use super::elf::{ElfError, Layout, Program, Segment, at};

/// An open vmlinux.
pub(super) struct Vmlinux {
    path: PathBuf,
    file: File,
    layout: Layout,
    seen: Stamp,
}

/// What shows that a file was written to.
#[derive(PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Vmlinux {
    /// Reads the headers of `file`, which is at `path`.
    pub(super) fn open(path: &Path, file: File) -> Result<Vmlinux, KernelError> {
        let failed = |source| KernelError::Io { path: path.to_owned(), source };
        let seen = Stamp::of(&file.metadata().map_err(failed)?);
        let layout = Layout::read(&file).map_err(|error| match error {
            ElfError::Read(source) => failed(source),
            other => other.into(),
        })?;
        Ok(Vmlinux { path: path.to_owned(), file, layout, seen })
    }

    /// What is loaded, and where.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Reads what is to be loaded.
    pub(super) fn read(&self) -> Result<Program, KernelError> {
        let program = Program::read(self.layout.clone(), |data, bytes| {
            let start = bytes.len();
            bytes.resize(start.saturating_add(length(&data)), 0);
            self.file.read_exact_at(bytes.get_mut(start..).unwrap_or_default(), data.start)
        });
        self.checked(program)
    }

    /// Reads the segments to where they belong, without a copy on the way.
    pub(super) fn load(&self, memory: &GuestMemoryMmap) -> Result<(), KernelError> {
        for Segment { address, data, .. } in self.layout.segments() {
            let mut from = At { file: &self.file, offset: data.start };
            let address = GuestAddress(*address);
            let read = memory.read_exact_volatile_from(address, &mut from, length(data));
            self.checked(read.map_err(io::Error::other))?;
        }
        Ok(())
    }

    /// What was read, if nobody has written to the file meanwhile: only then it belongs together.
    fn checked<T>(&self, read: io::Result<T>) -> Result<T, KernelError> {
        let unreadable = |source| KernelError::Io { path: self.path.clone(), source };
        let metadata = self.file.metadata().map_err(unreadable)?;
        if Stamp::of(&metadata) != self.seen {
            return Err(KernelError::Changed { path: self.path.clone() });
        }
        read.map_err(unreadable)
    }
}

fn length(data: &Range<u64>) -> usize {
    at(data.end.saturating_sub(data.start))
}

/// A file from an offset on, which has no part in where others read in it.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl ReadVolatile for At<'_> {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        let offset = libc::off_t::try_from(self.offset)
            .map_err(|error| VolatileMemoryError::IOError(io::Error::other(error)))?;
        let guard = buffer.ptr_guard_mut();
        // SAFETY: the guard keeps `buffer.len()` bytes writable there for as long as it lives, and
        // nothing is assumed of what is in them.
        let read = unsafe {
            libc::pread(self.file.as_raw_fd(), guard.as_ptr().cast(), buffer.len(), offset)
        };
        let read = usize::try_from(read)
            .map_err(|_| VolatileMemoryError::IOError(io::Error::last_os_error()))?;
        buffer.bitmap().mark_dirty(0, read);
        self.offset = self.offset.saturating_add(read as u64);
        Ok(read)
    }
}
