//! Page tables of all the kinds that kernels use, walked as a processor walks them (SDM volume 3,
//! "Paging").

use super::memory::PhysicalMemory;

pub(super) const CR0_PG: u64 = 1 << 31;
pub(super) const CR4_PSE: u64 = 1 << 4;
pub(super) const CR4_PAE: u64 = 1 << 5;
pub(super) const CR4_LA57: u64 = 1 << 12;
pub(super) const EFER_LMA: u64 = 1 << 10;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// Bits 51 to 12 of an entry of 8 bytes, or of what is left of one of 4.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
pub(super) const PAGE: u64 = 4096;
/// With page table isolation the user's top-level table is the page behind the kernel's.
const PTI_USER: u64 = PAGE;

/// How a vCPU translates addresses (SDM volume 3, "Paging").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// CR0; bit 31 turns paging on.
    pub cr0: u64,
    /// CR3: the top-level table.
    pub cr3: u64,
    /// CR4; bit 4 allows for 4 MiB pages in 32-bit paging, bit 5 makes its entries 8 bytes long, bit
    /// 12 adds a fifth level in long mode.
    pub cr4: u64,
    /// IA32_EFER; bit 10 says that the vCPU is in long mode.
    pub efer: u64,
}

impl Paging {
    /// Whether addresses are translated at all.
    pub(super) fn is_on(&self) -> bool {
        self.cr0 & CR0_PG != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// There are none.
    Off,
    /// Two levels with entries of 4 bytes.
    Legacy { large_pages: bool },
    /// Three levels with entries of 8 bytes for 32-bit addresses.
    Pae,
    /// Long mode: so many levels.
    Long { levels: u32 },
}

/// The tables of a vCPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    mode: Mode,
    root: u64,
}

/// A page, or what is left of it from an address on.
pub(super) struct Page {
    pub(super) physical: u64,
    /// Bytes to the page's end.
    pub(super) left: u64,
    pub(super) writable: bool,
}

impl Tables {
    pub(super) fn new(paging: Paging) -> Tables {
        let on = |register: u64, bit: u64| register & bit != 0;
        let (mode, root) = if !on(paging.cr0, CR0_PG) {
            (Mode::Off, 0)
        } else if on(paging.efer, EFER_LMA) {
            let levels = if on(paging.cr4, CR4_LA57) { 5 } else { 4 };
            (Mode::Long { levels }, paging.cr3 & ADDRESS)
        } else if on(paging.cr4, CR4_PAE) {
            // The only table that need not fill a page.
            (Mode::Pae, paging.cr3 & 0xffff_ffe0)
        } else {
            let large_pages = on(paging.cr4, CR4_PSE);
            (Mode::Legacy { large_pages }, paging.cr3 & 0xffff_f000)
        };
        Tables { mode, root }
    }

    /// Whether the kernel that made them is a 32-bit one.
    pub(super) fn are_32_bit(&self) -> bool {
        matches!(self.mode, Mode::Legacy { .. } | Mode::Pae)
    }

    /// The page that holds a virtual address; none if nothing is mapped there.
    pub(super) fn walk(&self, memory: &dyn PhysicalMemory, address: u64) -> Option<Page> {
        if self.mode == Mode::Off {
            let left = PAGE - address % PAGE;
            return Some(Page { physical: address, left, writable: true });
        }
        if !self.is_canonical(address) {
            return None;
        }
        self.walk_from(self.root, memory, address).or_else(|| {
            let kernels = self.root & !PTI_USER;
            (kernels != self.root).then(|| self.walk_from(kernels, memory, address)).flatten()
        })
    }

    /// Whether all tables are there that lead to an address, down to the lowest level.
    pub(super) fn has_table(&self, memory: &dyn PhysicalMemory, address: u64) -> bool {
        let mut table = self.root;
        for level in (2..=self.levels()).rev() {
            match self.entry(memory, table, level, address) {
                Some(entry) if entry & PRESENT != 0 && !self.is_page(level, entry) => {
                    table = entry & ADDRESS;
                }
                _ => return false,
            }
        }
        true
    }

    fn levels(&self) -> u32 {
        match self.mode {
            Mode::Off => 0,
            Mode::Legacy { .. } => 2,
            Mode::Pae => 3,
            Mode::Long { levels } => levels,
        }
    }

    /// Bits of an address that choose among a table's entries, and an entry's bytes.
    fn entries(&self) -> (u32, u64) {
        if matches!(self.mode, Mode::Legacy { .. }) { (10, 4) } else { (9, 8) }
    }

    /// Whether the bits above the translated ones are copies of the highest of these.
    fn is_canonical(&self, address: u64) -> bool {
        match self.mode {
            Mode::Long { levels } => {
                let unused = 64 - (12 + 9 * levels);
                (((address << unused) as i64) >> unused) as u64 == address
            }
            _ => address <= u32::MAX.into(),
        }
    }

    /// Whether an entry of this level maps a page instead of pointing at a table.
    fn is_page(&self, level: u32, entry: u64) -> bool {
        let large = match self.mode {
            Mode::Off => false,
            Mode::Legacy { large_pages } => level == 2 && large_pages,
            Mode::Pae => level == 2,
            Mode::Long { .. } => level == 2 || level == 3,
        };
        level == 1 || large && entry & LARGE != 0
    }

    fn walk_from(&self, root: u64, memory: &dyn PhysicalMemory, address: u64) -> Option<Page> {
        let mut table = root;
        let mut writable = true;
        for level in (1..=self.levels()).rev() {
            let entry = self.entry(memory, table, level, address)?;
            if entry & PRESENT == 0 {
                return None;
            }
            // PAE's four topmost entries have no such bit.
            writable &= entry & WRITABLE != 0 || self.mode == Mode::Pae && level == 3;
            if self.is_page(level, entry) {
                let size = PAGE << (self.entries().0 * (level - 1));
                let high = match self.mode {
                    // The bits that an entry of 4 bytes has no room for (PSE-36).
                    Mode::Legacy { .. } if level == 2 => (entry >> 13 & 0xff) << 32,
                    _ => 0,
                };
                let offset = address % size;
                let physical = (entry & ADDRESS & !(size - 1) | high) + offset;
                return Some(Page { physical, left: size - offset, writable });
            }
            table = entry & ADDRESS;
        }
        None
    }

    fn entry(
        &self,
        memory: &dyn PhysicalMemory,
        table: u64,
        level: u32,
        address: u64,
    ) -> Option<u64> {
        let (bits, size) = self.entries();
        let index = address >> (12 + bits * (level - 1)) & ((1 << bits) - 1);
        let at = table + index * size;
        if size == 4 {
            let mut bytes = [0; 4];
            memory.read(at, &mut bytes).then(|| u32::from_le_bytes(bytes).into())
        } else {
            let mut bytes = [0; 8];
            memory.read(at, &mut bytes).then(|| u64::from_le_bytes(bytes))
        }
    }
}
