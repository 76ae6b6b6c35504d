//! The guest's memory, read from outside: by physical address, and through its own page tables.
//!
//! Nothing that lies there is believed: page tables may point anywhere, at themselves or at nothing. A
//! walk takes as many steps as there are levels, and what can't be read is `None`.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

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

const CR0_PG: u64 = 1 << 31;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// Bits 51 to 12 of a page table entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE: u64 = 4096;
/// With page table isolation the user's top-level table is the page behind the kernel's.
const PTI_USER: u64 = PAGE;

/// Where a 64-bit kernel maps its image (`__START_KERNEL_map`), up to KERNEL_IMAGE_SIZE of it.
pub(crate) const IMAGE_START: u64 = 0xffff_ffff_8000_0000;
pub(crate) const IMAGE_END: u64 = IMAGE_START + (1 << 30);
const LARGE_PAGE: u64 = 2 << 20;

/// How a vCPU translates addresses (SDM volume 3, "Paging").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// CR0; bit 31 turns paging on.
    pub cr0: u64,
    /// CR3: the top-level table.
    pub cr3: u64,
    /// CR4; bit 12 adds a fifth level.
    pub cr4: u64,
    /// IA32_EFER; bit 10 says that the vCPU is in long mode.
    pub efer: u64,
}

/// A vCPU's view of memory: 4-level and 5-level page tables, or physical addresses where paging is off.
///
/// What the tables don't map is tried in the kernel's own tables, if a vCPU was in user mode with page
/// table isolation; then, for the addresses of the kernel's image, where it lies if it was not moved.
/// 32-bit page tables are not read.
#[derive(Clone, Copy)]
pub struct AddressSpace<'a> {
    memory: &'a dyn PhysicalMemory,
    paging: Paging,
}

impl<'a> AddressSpace<'a> {
    /// The view of a vCPU that pages so.
    pub fn new(memory: &'a dyn PhysicalMemory, paging: Paging) -> AddressSpace<'a> {
        AddressSpace { memory, paging }
    }

    /// What is below it.
    pub fn memory(&self) -> &'a dyn PhysicalMemory {
        self.memory
    }

    /// Whether addresses can be translated: 64-bit page tables, or none.
    pub fn is_readable(&self) -> bool {
        self.paging.cr0 & CR0_PG == 0 || self.paging.efer & EFER_LMA != 0
    }

    /// The physical address behind `address`, and how many bytes from there on lie in one piece.
    pub fn translate(&self, address: u64) -> Option<(u64, u64)> {
        let found = self.walk(address).map(|page| (page.physical, page.left));
        found.or_else(|| {
            // The early kernel, or one whose tables are gone.
            let offset = address.checked_sub(IMAGE_START)?;
            (address < IMAGE_END && self.is_readable() && offset < self.memory.end())
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
        let mut next = IMAGE_START;
        std::iter::from_fn(move || {
            while next < IMAGE_END {
                let address = next;
                match self.walk(address) {
                    Some(Page { physical, left, writable }) => {
                        next = address + left;
                        if writable {
                            return Some(WritablePage { address, physical, size: left });
                        }
                    }
                    // Where there is no table there is nothing in all that it would cover.
                    None if self.has_table(address) => next = address + PAGE,
                    None => next = (address / LARGE_PAGE + 1) * LARGE_PAGE,
                }
            }
            None
        })
    }

    fn has_table(&self, address: u64) -> bool {
        let mut table = self.root();
        for level in (2..=self.levels()).rev() {
            match self.entry(table, level, address) {
                Some(entry) if entry & PRESENT != 0 && entry & LARGE == 0 => {
                    table = entry & ADDRESS
                }
                _ => return false,
            }
        }
        true
    }

    fn root(&self) -> u64 {
        self.paging.cr3 & ADDRESS
    }

    fn levels(&self) -> u32 {
        if self.paging.cr4 & CR4_LA57 != 0 { 5 } else { 4 }
    }

    fn walk(&self, address: u64) -> Option<Page> {
        if self.paging.cr0 & CR0_PG == 0 {
            let left = PAGE - address % PAGE;
            return Some(Page { physical: address, left, writable: true });
        }
        if self.paging.efer & EFER_LMA == 0 || !self.is_canonical(address) {
            return None;
        }
        let root = self.root();
        self.walk_from(root, address).or_else(|| {
            let kernels = root & !PTI_USER;
            (kernels != root).then(|| self.walk_from(kernels, address)).flatten()
        })
    }

    /// Whether the bits above the translated ones are copies of the highest of these.
    fn is_canonical(&self, address: u64) -> bool {
        let unused = 64 - (12 + 9 * self.levels());
        (((address << unused) as i64) >> unused) as u64 == address
    }

    fn walk_from(&self, root: u64, address: u64) -> Option<Page> {
        let mut table = root;
        let mut writable = true;
        for level in (1..=self.levels()).rev() {
            let entry = self.entry(table, level, address)?;
            if entry & PRESENT == 0 {
                return None;
            }
            writable &= entry & WRITABLE != 0;
            // Pages of 4 KiB, 2 MiB and 1 GiB.
            let size = PAGE << (9 * (level - 1));
            if level == 1 || level <= 3 && entry & LARGE != 0 {
                let offset = address % size;
                let physical = (entry & ADDRESS & !(size - 1)) + offset;
                return Some(Page { physical, left: size - offset, writable });
            }
            table = entry & ADDRESS;
        }
        None
    }

    fn entry(&self, table: u64, level: u32, address: u64) -> Option<u64> {
        let index = address >> (12 + 9 * (level - 1)) & 0x1ff;
        let mut bytes = [0; 8];
        self.memory.read(table + index * 8, &mut bytes).then(|| u64::from_le_bytes(bytes))
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

struct Page {
    physical: u64,
    /// Bytes to the page's end.
    left: u64,
    writable: bool,
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::forensics) fn long_mode(cr3: u64) -> Paging {
        Paging { cr0: CR0_PG, cr3, cr4: 0, efer: EFER_LMA }
    }

    /// Memory with a 4-level table at 0x1000 that maps the kernel's image at physical 0 on, in pages
    /// of 4 KiB: writable from 0x8000 on.
    pub(in crate::forensics) fn image_memory(size: usize) -> Vec<u8> {
        let mut memory = vec![0; size];
        let mut put = |table: usize, index: usize, entry: u64| {
            memory[table + index * 8..][..8].copy_from_slice(&entry.to_le_bytes());
        };
        put(0x1000, 511, 0x2003);
        put(0x2000, 510, 0x3003);
        put(0x3000, 0, 0x4003);
        for page in 0..(size / 4096).min(512) {
            let flags = if page < 8 { 1 } else { 3 };
            put(0x4000, page, (page as u64 * PAGE) | flags);
        }
        memory
    }

    #[test]
    fn four_levels_and_what_is_not_mapped() {
        let mut memory = image_memory(0x10000);
        memory[0x9ffc..0xa004].copy_from_slice(&0x1122_3344_5566_7788_u64.to_le_bytes());
        let space = AddressSpace::new(&memory, long_mode(0x1000));
        assert_eq!(space.u64(IMAGE_START + 0x9ffc), Some(0x1122_3344_5566_7788));
        assert_eq!(space.u64(0xffff_8880_0000_9ffc), None);
        assert_eq!(space.u64(IMAGE_START + 0xfffc), None, "half of it is no memory");
        assert_eq!(space.u64(0x0001_0000_0000_0000), None, "not canonical");
        let writable: Vec<_> = space.writable_image().collect();
        let first = WritablePage { address: IMAGE_START + 0x8000, physical: 0x8000, size: PAGE };
        assert_eq!(writable.first(), Some(&first));
        assert_eq!(writable.len(), 8);
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
        assert_eq!(space.array::<1>(IMAGE_START + LARGE_PAGE + 0x7123), Some([9]));
        assert_eq!(space.translate(IMAGE_START + LARGE_PAGE), Some((0, LARGE_PAGE)));
    }

    #[test]
    fn without_paging_addresses_are_physical_and_without_long_mode_there_are_none() {
        let memory = vec![7; 0x2000];
        let off = Paging { cr0: 0, cr3: 0, cr4: 0, efer: 0 };
        assert_eq!(AddressSpace::new(&memory, off).array::<1>(0x1fff), Some([7]));
        let legacy = AddressSpace::new(&memory, Paging { cr0: CR0_PG, ..off });
        assert_eq!(legacy.u64(0), None);
        assert!(!legacy.is_readable());
    }

    proptest! {
        /// Tables that point anywhere, at themselves too.
        #[test]
        fn no_table_panics_or_reads_without_end(
            words in prop::collection::vec(prop_oneof![
                (0u64..16).prop_map(|page| (page * PAGE) | 3),
                (0u64..16).prop_map(|page| (page * PAGE) | 0x83),
                any::<u64>(),
            ], 1024),
            cr3: u64, cr4: u64, address: u64,
        ) {
            let memory: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            for cr3 in [cr3, 0, 0x1000] {
                let space = AddressSpace::new(&memory, Paging { cr4, ..long_mode(cr3) });
                let mut buffer = [0; 9000];
                for address in [address, IMAGE_START, u64::MAX, 0] {
                    let _ = space.read(address, &mut buffer);
                }
                let _ = space.writable_image().take(1000).count();
            }
        }
    }
}
