//! The guest's memory as the host has it.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use vm_memory::mmap::MmapRegion;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap};

use crate::x86_64::layout;

/// A large page, which KVM gives the guest in one piece where the host's and the guest's address of
/// it are both multiples of this.
const LARGE_PAGE: usize = 2 << 20;

/// Guest memory around the hole ([`layout::ram`]): anonymous, given by the host as the guest touches
/// it, a large page at a time where the host has them. Each page that is touched for the first time
/// costs an exit, and a boot touches thousands of small ones.
#[derive(Debug)]
pub(crate) struct Ram {
    // Dropped before what it points to.
    memory: GuestMemoryMmap,
    _mapping: Mapping,
}

impl Ram {
    /// Memory of `size` bytes, a multiple of the page size.
    pub(crate) fn new(size: usize) -> io::Result<Ram> {
        let mapping = Mapping::aligned(size)?;
        // It has no use for it; only a read-only mapping would be told from others by it.
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let mut host = mapping.address.as_ptr();
        let mut regions = Vec::with_capacity(2);
        for (guest, size) in layout::ram(size as u64) {
            // It is no more than the mapping's own size.
            let size = size as usize;
            // SAFETY: the range is mapped so, is used for nothing else, and outlives the region.
            let region = unsafe { MmapRegion::build_raw(host, size, protection, FLAGS) };
            let region = region.map_err(io::Error::other)?;
            let region = GuestRegionMmap::new(region, GuestAddress(guest))
                .ok_or(io::ErrorKind::InvalidInput)
                .map_err(io::Error::from)?;
            regions.push(region);
            // SAFETY: the ranges add up to the mapping, so this is inside of it or at its end.
            host = unsafe { host.add(size) };
        }
        let memory = GuestMemoryMmap::from_regions(regions).map_err(io::Error::other)?;
        Ok(Ram { memory, _mapping: mapping })
    }

    /// Has the host give the large pages in `range`, one after the other until `is_enough`
    /// says so. For memory that the guest will touch all of: it costs less now than by an
    /// exit for each page. A host that can't is none the worse.
    pub(crate) fn populate(&self, range: Range<u64>, is_enough: impl Fn() -> bool) {
        let step = LARGE_PAGE as u64;
        let mut address = range.start - range.start % step;
        while address < range.end && !is_enough() {
            let Ok(slice) = self.memory.get_slice(GuestAddress(address), LARGE_PAGE) else {
                return;
            };
            let guard = slice.ptr_guard_mut();
            // SAFETY: the guard's range is mapped, and the advice changes nothing that is read from it.
            let failed = unsafe {
                libc::madvise(guard.as_ptr().cast(), slice.len(), libc::MADV_POPULATE_WRITE)
            };
            // Linux before 5.14 does not know it.
            if failed != 0 {
                return;
            }
            address += step;
        }
    }

    /// For reading and writing it.
    pub(crate) fn guest(&self) -> &GuestMemoryMmap {
        &self.memory
    }
}

/// The host's memory in bytes, swap included; none if it does not say.
pub(crate) fn of_host() -> Option<u64> {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the call, which fills the structure.
    if unsafe { libc::sysinfo(&raw mut info) } != 0 {
        return None;
    }
    let units = info.totalram.saturating_add(info.totalswap);
    Some(units.saturating_mul(u64::from(info.mem_unit)))
}

// NORESERVE, so that several machines fit a host by what they touch.
const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// A mapping that is unmapped when it is dropped.
#[derive(Debug)]
struct Mapping {
    address: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and nothing here dereferences it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(size: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel picks; the result is checked.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, FLAGS, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Mapping { address, size })
    }

    /// A mapping that begins at a multiple of [`LARGE_PAGE`], with large pages where there are.
    fn aligned(size: usize) -> io::Result<Mapping> {
        let mut mapping = Mapping::new(size.saturating_add(LARGE_PAGE))?;
        let before = mapping.address.as_ptr().align_offset(LARGE_PAGE);
        mapping.cut_front(before);
        mapping.cut_back(size);
        // A host without large pages has small ones, which do as well.
        // SAFETY: the range is ours, and the advice changes nothing that is read from it.
        unsafe {
            libc::madvise(mapping.address.as_ptr().cast(), size, libc::MADV_HUGEPAGE);
        }
        Ok(mapping)
    }

    /// Gives back the first `bytes`, fewer than there are.
    fn cut_front(&mut self, bytes: usize) {
        let front = Mapping { address: self.address, size: bytes };
        // SAFETY: still inside of the mapping.
        self.address = unsafe { self.address.add(bytes) };
        self.size -= bytes;
        drop(front);
    }

    /// Gives back what is behind the first `bytes`.
    fn cut_back(&mut self, bytes: usize) {
        // SAFETY: still inside of the mapping, or at its end.
        let address = unsafe { self.address.add(bytes) };
        drop(Mapping { address, size: self.size - bytes });
        self.size = bytes;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.size > 0 {
            // SAFETY: the range was mapped by `new` and nobody has a pointer into it any more.
            unsafe { libc::munmap(self.address.as_ptr().cast(), self.size) };
        }
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    #[test]
    fn memory_is_aligned_zeroed_and_as_large_as_asked_for() {
        for size in [1 << 20, LARGE_PAGE, 5 << 20] {
            let ram = Ram::new(size).unwrap();
            let start = ram.guest().get_host_address(GuestAddress(0)).unwrap();
            assert_eq!(start.align_offset(LARGE_PAGE), 0);
            let last = GuestAddress(size as u64 - 8);
            assert_eq!(ram.guest().read_obj::<u64>(last).unwrap(), 0);
            ram.guest().write_obj(7u64, last).unwrap();
            assert_eq!(ram.guest().read_obj::<u64>(last).unwrap(), 7);
            assert_eq!(ram.guest().check_address(GuestAddress(size as u64)), None);
        }
    }

    #[test]
    fn memory_goes_on_behind_the_hole() {
        let ram = Ram::new((layout::HOLE + (6 << 20)) as usize).unwrap();
        let memory = ram.guest();
        for (address, there) in [
            (layout::HOLE - 1, true),
            (layout::HOLE, false),
            (layout::HOLE_END - 1, false),
            (layout::HOLE_END, true),
            (layout::HOLE_END + (6 << 20) - 1, true),
            (layout::HOLE_END + (6 << 20), false),
        ] {
            assert_eq!(memory.address_in_range(GuestAddress(address)), there, "{address:#x}");
        }
        memory.write_obj(7u64, GuestAddress(layout::HOLE_END)).unwrap();
        memory.write_obj(5u64, GuestAddress(layout::HOLE - 8)).unwrap();
        assert_eq!(memory.read_obj::<u64>(GuestAddress(layout::HOLE_END)).unwrap(), 7);
        let behind = memory.get_host_address(GuestAddress(layout::HOLE_END)).unwrap();
        assert_eq!(behind.align_offset(LARGE_PAGE), 0, "large pages there as well");
    }

    #[test]
    fn populating_keeps_what_is_there_and_stops_when_told_or_at_the_end() {
        let ram = Ram::new(7 << 20).unwrap();
        ram.guest().write_obj(7u64, GuestAddress(3 << 20)).unwrap();
        let looks = std::cell::Cell::new(0);
        let count = |most: usize| {
            looks.set(looks.get() + 1);
            looks.get() > most
        };
        ram.populate(1 << 20..u64::MAX, || count(2));
        assert!(looks.get() <= 3, "{}", looks.get());
        ram.populate(1 << 20..u64::MAX, || false);
        ram.populate(1 << 40..u64::MAX, || false);
        assert_eq!(ram.guest().read_obj::<u64>(GuestAddress(3 << 20)).unwrap(), 7);
        assert_eq!(ram.guest().read_obj::<u64>(GuestAddress(5 << 20)).unwrap(), 0);
    }

    #[test]
    fn more_than_an_address_space_is_refused() {
        assert!(Ram::new(1 << 60).is_err());
    }
}
