//! The guest's memory, read from outside: by physical address, and through its own page tables.
//!
//! Nothing that lies there is believed: page tables may point anywhere, at themselves or at nothing. A
//! walk takes as many steps as there are levels, and what can't be read is `None`.

use std::ops::Range;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::paging::{PAGE, Page, Paging, Tables};

/// Memory that is read by physical address.
///
/// The readers of this module work on anything that implements it, so that they can be fed whatever
/// bytes one likes:
///
/// ```
/// use vmm::forensics::PhysicalMemory;
///
/// let memory: &dyn PhysicalMemory = &vec![0x2a_u8; 4096];
/// let mut bytes = [0; 2];
/// assert!(memory.read(4094, &mut bytes));
/// assert_eq!(bytes, [0x2a; 2]);
/// assert!(!memory.read(4095, &mut bytes));
/// ```
pub trait PhysicalMemory {
    /// Fills `buffer` with what lies at `address` and behind. False, and the buffer's content is
    /// unspecified, if not all of it is memory.
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool;

    /// The address behind the last byte; there may be holes below it.
    fn end(&self) -> u64;
}

impl PhysicalMemory for GuestMemoryMmap {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        self.read_slice(buffer, GuestAddress(address)).is_ok()
    }

    fn end(&self) -> u64 {
        self.last_addr().0.saturating_add(1)
    }
}

/// Memory from address 0 on.
impl PhysicalMemory for Vec<u8> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let start = usize::try_from(address).unwrap_or(usize::MAX);
        match self.get(start..start.saturating_add(buffer.len())) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    fn end(&self) -> u64 {
        self.len() as u64
    }
}

/// Where a 64-bit kernel maps its image (`__START_KERNEL_map`), up to KERNEL_IMAGE_SIZE of it.
pub(crate) const IMAGE_START: u64 = 0xffff_ffff_8000_0000;
const IMAGE_END: u64 = IMAGE_START + (1 << 30);
/// Where a 64-bit kernel's addresses begin.
const KERNEL_START: u64 = 0xffff_8000_0000_0000;

/// Where a 32-bit kernel maps physical memory from 0 on, its image in it (`PAGE_OFFSET`): what
/// CONFIG_VMSPLIT_* can make of it, the default first.
const SPLITS: [u64; 5] = [0xc000_0000, 0xb000_0000, 0x8000_0000, 0x7800_0000, 0x4000_0000];
/// KERNEL_IMAGE_SIZE of 32-bit kernels.
const IMAGE_SIZE_32: u64 = 512 << 20;

/// The least that the lowest table covers, in bytes.
const TABLE_COVERS: u64 = 2 << 20;

/// A vCPU's view of memory: through its page tables, of whichever kind, or physical addresses where
/// paging is off.
///
/// What the tables don't map is tried in the kernel's own tables, if a vCPU was in user mode with page
/// table isolation; then, for the addresses of the kernel's image, where it lies if it was not moved.
#[derive(Clone, Copy)]
pub struct AddressSpace<'a> {
    memory: &'a dyn PhysicalMemory,
    tables: Tables,
    image: (u64, u64),
}

impl<'a> AddressSpace<'a> {
    /// The view of a vCPU that pages so.
    pub fn new(memory: &'a dyn PhysicalMemory, paging: Paging) -> AddressSpace<'a> {
        let tables = Tables::new(paging);
        let image = if tables.are_32_bit() {
            // Each has the first MiB there, whatever else it maps.
            let low = 1 << 20;
            let is_there = |start: &u64| {
                tables.walk(memory, start + low).is_some_and(|page| page.physical == low)
            };
            let [default, ..] = SPLITS;
            let start = SPLITS.into_iter().find(is_there).unwrap_or(default);
            (start, start + IMAGE_SIZE_32)
        } else {
            (IMAGE_START, IMAGE_END)
        };
        AddressSpace { memory, tables, image }
    }

    /// What is below it.
    pub fn memory(&self) -> &'a dyn PhysicalMemory {
        self.memory
    }

    /// Where the kernel's image may lie.
    pub(crate) fn image(&self) -> Range<u64> {
        self.image.0..self.image.1
    }

    /// Whether an address is one of the kernel's, not of a program's.
    pub(crate) fn is_kernel(&self, address: u64) -> bool {
        let start = if self.tables.are_32_bit() { self.image.0 } else { KERNEL_START };
        address >= start && address <= self.longest()
    }

    /// Bytes of a pointer and of a `long` in the kernel: 4 under 32-bit page tables, else 8.
    pub(crate) fn word_size(&self) -> u64 {
        if self.tables.are_32_bit() { 4 } else { 8 }
    }

    /// The largest pointer, or `unsigned long`.
    pub(crate) fn longest(&self) -> u64 {
        if self.tables.are_32_bit() { u32::MAX.into() } else { u64::MAX }
    }

    /// The physical address behind `address`, and how many bytes from there on lie in one piece.
    pub fn translate(&self, address: u64) -> Option<(u64, u64)> {
        let found = self.walk(address).map(|page| (page.physical, page.left));
        found.or_else(|| {
            // The early kernel, or one whose tables are gone.
            let offset = address.checked_sub(self.image.0)?;
            (address < self.image.1 && offset < self.memory.end())
                .then_some((offset, PAGE - offset % PAGE))
        })
    }

    /// Fills `buffer` from virtual address `address` on; false if not all of it is mapped memory.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while done < buffer.len() {
            let at = address.checked_add(done as u64);
            let Some((physical, left)) = at.and_then(|at| self.translate(at)) else { return false };
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let end = done.saturating_add(left).min(buffer.len());
            let Some(part) = buffer.get_mut(done..end) else { return false };
            if part.is_empty() || !self.memory.read(physical, part) {
                return false;
            }
            done = end;
        }
        true
    }

    /// A pointer of the kernel's, or a `long`: little-endian, of [`AddressSpace::word_size`] bytes.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        if self.tables.are_32_bit() { self.u32(address).map(u64::from) } else { self.u64(address) }
    }

    /// A little-endian number of 8 bytes.
    pub fn u64(&self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }

    /// A little-endian number of 4 bytes.
    pub fn u32(&self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_le_bytes)
    }

    /// So many bytes.
    pub fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes).then_some(bytes)
    }

    /// Pages of the kernel's image that it may write to, in pieces of at most 1 GiB.
    pub(crate) fn writable_image(&self) -> impl Iterator<Item = WritablePage> + '_ {
        let Range { start: mut next, end } = self.image();
        std::iter::from_fn(move || {
            while next < end {
                let address = next;
                match self.walk(address) {
                    Some(Page { physical, left, writable }) => {
                        next = address + left;
                        if writable {
                            return Some(WritablePage { address, physical, size: left });
                        }
                    }
                    // Where there is no table there is nothing in all that it would cover.
                    None if self.tables.has_table(self.memory, address) => next = address + PAGE,
                    None => next = (address / TABLE_COVERS + 1) * TABLE_COVERS,
                }
            }
            None
        })
    }

    fn walk(&self, address: u64) -> Option<Page> {
        self.tables.walk(self.memory, address)
    }
}

/// A page of the kernel's image, or what is left of it from an address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WritablePage {
    /// Virtual address.
    pub(crate) address: u64,
    /// Physical address.
    pub(crate) physical: u64,
    /// Bytes.
    pub(crate) size: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::fake::Kind;
    use super::super::paging::{CR0_PG, CR4_LA57, EFER_LMA};
    use super::*;

    pub(in crate::forensics) fn long_mode(cr3: u64) -> Paging {
        Paging { cr0: CR0_PG, cr3, cr4: 0, efer: EFER_LMA }
    }

    impl Kind {
        pub(in crate::forensics) fn paging(self) -> Paging {
            let [cr0, cr3, cr4, efer] = self.control_registers();
            Paging { cr0, cr3, cr4, efer }
        }
    }

    /// Memory with a 4-level table at 0x1000 that maps the kernel's image at physical 0 on, in pages
    /// of 4 KiB: writable from 0x8000 on.
    pub(in crate::forensics) fn image_memory(size: usize) -> Vec<u8> {
        Kind::Long.memory(size)
    }

    #[test]
    fn every_kind_of_tables_maps_the_image() {
        for kind in Kind::ALL {
            let mut memory = kind.memory(0x10000);
            memory[0x9ffc..0xa004].copy_from_slice(&0x1122_3344_5566_7788_u64.to_le_bytes());
            let space = AddressSpace::new(&memory, kind.paging());
            let base = kind.base();
            assert_eq!(space.u64(base + 0x9ffc), Some(0x1122_3344_5566_7788), "{kind:?}");
            assert_eq!(space.word(base + 0xa000).map(|word| word & 0xff), Some(0x44), "{kind:?}");
            assert_eq!(space.u64(base + 0xfffc), None, "{kind:?}: half of it is no memory");
            assert_eq!(space.u64(0x4000_9ffc), None, "{kind:?}");
            let writable: Vec<_> = space.writable_image().collect();
            let first = WritablePage { address: base + 0x8000, physical: 0x8000, size: PAGE };
            assert_eq!((writable.len(), writable.first()), (8, Some(&first)), "{kind:?}");
            assert!(space.is_kernel(base) && !space.is_kernel(0x57ac_6e9d), "{kind:?}");
            assert_eq!(space.word_size(), kind.word());
        }
    }

    #[test]
    fn an_i386_kernel_may_lie_elsewhere_in_large_pages() {
        for split in SPLITS {
            for kind in [Kind::Pae, Kind::Legacy] {
                let mut memory = vec![0; 0x8000];
                let mut put = |at: u64, entry: u64| {
                    memory[at as usize..][..8].copy_from_slice(&entry.to_le_bytes());
                };
                let size = if kind == Kind::Pae {
                    put(0x1000 + (split >> 30) * 8, 0x2001);
                    put(0x2000 + (split >> 21 & 0x1ff) * 8, 0x83);
                    2 << 20
                } else {
                    put(0x1000 + (split >> 22) * 4, 0x83);
                    4 << 20
                };
                memory[0x7123] = 9;
                let space = AddressSpace::new(&memory, kind.paging());
                assert_eq!(space.image().start, split, "{kind:?}");
                assert_eq!(space.array::<1>(split + 0x7123), Some([9]), "{kind:?}");
                assert_eq!(space.translate(split), Some((0, size)), "{kind:?}");
                assert_eq!(space.writable_image().count(), 1, "{kind:?}");
            }
        }
    }

    #[test]
    fn four_mib_pages_may_lie_above_4_gib_and_need_to_be_turned_on() {
        let mut memory = vec![0; 0x2000];
        memory[0x1c00..0x1c04].copy_from_slice(&0x0040_2083_u32.to_le_bytes());
        let space = AddressSpace::new(&memory, Kind::Legacy.paging());
        assert_eq!(space.translate(0xc000_0010), Some((0x1_0040_0010, (4 << 20) - 0x10)));
        // It is a table else, which lies outside of this memory.
        let without = Paging { cr4: 0, ..Kind::Legacy.paging() };
        let space = AddressSpace::new(&memory, without);
        assert_eq!(space.translate(0xd000_0000), None);
        assert_eq!(space.translate(0xc000_0010), Some((0x10, PAGE - 0x10)), "as it was linked");
    }

    #[test]
    fn five_levels_large_pages_and_the_tables_of_page_table_isolation() {
        let mut memory = vec![0; 0x8000];
        let mut put = |table: usize, index: usize, entry: u64| {
            memory[table + index * 8..][..8].copy_from_slice(&entry.to_le_bytes());
        };
        // The kernel's top level at 0x2000, the user's, which maps nothing of it, at 0x3000.
        put(0x2000, 511, 0x4003);
        put(0x4000, 511, 0x5003);
        put(0x5000, 510, 0x6003);
        put(0x6000, 1, 0x83); // 2 MiB at 0
        memory[0x7123] = 9;
        let paging = Paging { cr4: CR4_LA57, ..long_mode(0x3000) };
        let space = AddressSpace::new(&memory, paging);
        assert_eq!(space.array::<1>(IMAGE_START + (2 << 20) + 0x7123), Some([9]));
        assert_eq!(space.translate(IMAGE_START + (2 << 20)), Some((0, 2 << 20)));
    }

    #[test]
    fn without_paging_addresses_are_physical_and_some_are_not_canonical() {
        let memory = vec![7; 0x2000];
        let off = Paging { cr0: 0, cr3: 0, cr4: 0, efer: 0 };
        assert_eq!(AddressSpace::new(&memory, off).array::<1>(0x1fff), Some([7]));
        let space = AddressSpace::new(&memory, Kind::Long.paging());
        assert_eq!(space.u64(0x0001_0000_0000_0000), None);
        let space = AddressSpace::new(&memory, Kind::Pae.paging());
        assert_eq!(space.u64(0x1_c000_0000), None);
    }

    proptest! {
        /// Tables that point anywhere, at themselves too.
        #[test]
        fn no_table_panics_or_reads_without_end(
            words in prop::collection::vec(prop_oneof![
                (0u64..16).prop_map(|page| (page * PAGE) | 3),
                (0u64..16).prop_map(|page| (page * PAGE) | 0x83),
                (0u64..16).prop_map(|page| (page * PAGE) | 3 | ((page * PAGE) | 3) << 32),
                any::<u64>(),
            ], 1024),
            kind in prop::sample::select(Kind::ALL.to_vec()),
            cr3: u64, cr4: u64, address: u64, any_cr4: bool,
        ) {
            let memory: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            for cr3 in [cr3, 0, 0x1000] {
                let paging = Paging { cr3, ..kind.paging() };
                let paging = if any_cr4 { Paging { cr4, ..paging } } else { paging };
                let space = AddressSpace::new(&memory, paging);
                let mut buffer = [0; 9000];
                for address in [address, address >> 32, IMAGE_START, 0xc000_0000, u64::MAX, 0] {
                    let _ = space.read(address, &mut buffer);
                }
                let _ = space.writable_image().take(1000).count();
            }
        }
    }
}
