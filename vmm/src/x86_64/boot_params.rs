//! The zero page: `struct boot_params` of Documentation/arch/x86/zero-page.rst.
//!
//! The page is zero but for the image's own setup header and what a boot loader fills in. The
//! header is copied by the length that the image gives for it, since whatever lies behind must stay
//! zero (boot.rst, "64-bit Boot Protocol").

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout;
use crate::seed::SEED_BYTES;

const PAGE: usize = 4096;

// Offsets in the page.
const EXT_RAMDISK_IMAGE: usize = 0xc0;
const EXT_RAMDISK_SIZE: usize = 0xc4;
const E820_ENTRIES: usize = 0x1e8;
const SETUP_HEADER: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const TYPE_OF_LOADER: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const COMMAND_LINE: usize = 0x228;
const KERNEL_ALIGNMENT: usize = 0x230;
const SETUP_DATA: usize = 0x250;
const E820_TABLE: usize = 0x2d0;
/// E820_MAX_ENTRIES_ZEROPAGE.
const E820_MOST: usize = 128;

/// A boot loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;

/// SETUP_RNG_SEED; kernels that do not know it (before 6.0) skip it.
const SETUP_RNG_SEED: u32 = 9;

const E820_RAM: u32 = 1;

/// Why the zero page could not be made.
#[derive(Debug, Error)]
pub enum BootParamsError {
    /// The image's setup header is longer than the zero page has room for.
    #[error("setup header of {0} bytes does not fit into the zero page")]
    Header(usize),
    /// Guest memory could not be written.
    #[error("can't write the zero page")]
    Memory(#[from] GuestMemoryError),
}

/// What the zero page tells the kernel.
#[derive(Debug)]
pub(crate) struct BootParams<'a> {
    /// The image's setup header from offset 0x1f1; empty for an ELF kernel.
    pub(crate) setup_header: &'a [u8],
    /// Where the initramfs lies, and its size in bytes.
    pub(crate) initramfs: Option<(u64, u64)>,
    /// RAM in bytes, as [`layout::ram`] places it.
    pub(crate) memory: u64,
    /// Seed for the guest's random generator, if it gets one.
    pub(crate) seed: Option<[u8; SEED_BYTES]>,
}

impl BootParams<'_> {
    /// Writes the zero page and the seed. The command line is not written here, only pointed to.
    pub(crate) fn write(&self, memory: &GuestMemoryMmap) -> Result<(), BootParamsError> {
        if let Some(seed) = &self.seed {
            let mut data = Vec::with_capacity(16 + SEED_BYTES);
            data.extend_from_slice(&0u64.to_le_bytes());
            data.extend_from_slice(&SETUP_RNG_SEED.to_le_bytes());
            data.extend_from_slice(&(SEED_BYTES as u32).to_le_bytes());
            data.extend_from_slice(seed);
            memory.write_slice(&data, GuestAddress(layout::SETUP_DATA))?;
        }
        memory.write_slice(&self.page()?, GuestAddress(layout::BOOT_PARAMS))?;
        Ok(())
    }

    /// Whether the image's header goes as far as this field, which protocol 2.09 added. The header of
    /// an ELF kernel is ours.
    fn has_setup_data(&self) -> bool {
        let end = SETUP_HEADER + self.setup_header.len();
        self.setup_header.is_empty() || end >= SETUP_DATA + size_of::<u64>()
    }

    fn page(&self) -> Result<[u8; PAGE], BootParamsError> {
        let mut page = [0; PAGE];
        if self.setup_header.is_empty() {
            put(&mut page, BOOT_FLAG, &0xaa55u16.to_le_bytes());
            put(&mut page, MAGIC, b"HdrS");
            put(&mut page, KERNEL_ALIGNMENT, &0x100_0000u32.to_le_bytes());
        } else if self.setup_header.len() > E820_TABLE - SETUP_HEADER {
            return Err(BootParamsError::Header(self.setup_header.len()));
        } else {
            put(&mut page, SETUP_HEADER, self.setup_header);
        }
        put(&mut page, TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
        put(&mut page, COMMAND_LINE, &(layout::COMMAND_LINE as u32).to_le_bytes());
        if self.seed.is_some() && self.has_setup_data() {
            put(&mut page, SETUP_DATA, &layout::SETUP_DATA.to_le_bytes());
        }
        if let Some((start, size)) = self.initramfs {
            put(&mut page, RAMDISK_IMAGE, &(start as u32).to_le_bytes());
            put(&mut page, RAMDISK_SIZE, &(size as u32).to_le_bytes());
            put(&mut page, EXT_RAMDISK_IMAGE, &((start >> 32) as u32).to_le_bytes());
            put(&mut page, EXT_RAMDISK_SIZE, &((size >> 32) as u32).to_le_bytes());
        }
        let map = e820(self.memory);
        let mut entries = 0u8;
        for (index, (start, end, kind)) in map.iter().take(E820_MOST).enumerate() {
            let at = E820_TABLE + index * 20;
            put(&mut page, at, &start.to_le_bytes());
            put(&mut page, at + 8, &(end - start).to_le_bytes());
            put(&mut page, at + 16, &kind.to_le_bytes());
            entries += 1;
        }
        put(&mut page, E820_ENTRIES, &[entries]);
        Ok(page)
    }
}

/// The memory map: start, end (exclusive), type.
///
/// A guest logs each entry, twice if there is a seed, and goes through all of them for each large page
/// that it maps. So there are no more than it needs: what no entry covers is no RAM, which is all that
/// is to be said of the tables below 1 MiB.
fn e820(memory: u64) -> Vec<(u64, u64, u32)> {
    let high = layout::ram(memory)
        .map(|(start, size)| (start.max(layout::HIGH_MEMORY), start + size, E820_RAM));
    std::iter::once((0, layout::BASE_MEMORY_END, E820_RAM)).chain(high).collect()
}

/// Copies `bytes` to `at`; what would lie outside of the page is left out.
fn put(page: &mut [u8; PAGE], at: usize, bytes: &[u8]) {
    if let Some(place) = page.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(setup_header: &[u8]) -> BootParams<'_> {
        BootParams {
            setup_header,
            initramfs: Some((0x7f00_0000, 0x1234)),
            memory: 2 << 30,
            seed: Some([7; SEED_BYTES]),
        }
    }

    #[test]
    fn header_is_kept_and_the_loader_fills_its_fields() {
        let header = vec![0x11; 0x26c - SETUP_HEADER];
        let page = params(&header).page().unwrap();
        assert_eq!(page[SETUP_HEADER], 0x11);
        assert_eq!(page[TYPE_OF_LOADER], 0xff);
        assert_eq!(page[COMMAND_LINE..][..4], 0x2_0000u32.to_le_bytes());
        assert_eq!(page[RAMDISK_IMAGE..][..8], [0, 0, 0, 0x7f, 0x34, 0x12, 0, 0]);
        assert_eq!(page[0x26c], 0, "what is behind the header stays zero");
    }

    /// The ends of the header in protocols 2.06 to 2.09, and one that ends within the field.
    #[test]
    fn a_header_without_setup_data_is_not_written_beyond() {
        for (end, written) in
            [(0x23c, false), (0x248, false), (0x250, false), (0x254, false), (0x258, true)]
        {
            let page = params(&vec![0x11; end - SETUP_HEADER]).page().unwrap();
            let behind = page[end..E820_TABLE].iter().any(|byte| *byte != 0);
            assert!(!behind, "the header ends at {end:#x}");
            let pointer = page[SETUP_DATA..][..8] == layout::SETUP_DATA.to_le_bytes();
            assert_eq!(pointer, written, "the header ends at {end:#x}");
        }
    }

    #[test]
    fn memory_map_ends_with_the_memory_and_leaves_the_tables_out() {
        let page = params(&[]).page().unwrap();
        assert_eq!(page[E820_ENTRIES], 2);
        assert_eq!(page[MAGIC..][..4], *b"HdrS");
        let map = e820(64 << 20);
        for table in [layout::MP_TABLE, layout::MP_POINTER, layout::SETUP_DATA, layout::ACPI] {
            assert!(
                !map.iter().any(|&(start, end, _)| (start..end).contains(&table)),
                "{table:#x}"
            );
        }
        assert_eq!(map.last().map(|entry| entry.1), Some(64 << 20));
        assert!(map.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }

    proptest! {
        #[test]
        fn memory_map_holds_all_memory_and_nothing_else(
            mib in layout::MIN_MEMORY >> 20..=layout::MAX_MEMORY >> 20,
        ) {
            let memory = mib << 20;
            let map = e820(memory);
            prop_assert!(map.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            prop_assert!(map.iter().all(|(start, end, _)| start < end));
            let overlaps_hole = |&(start, end, _): &(u64, u64, u32)| {
                start < layout::HOLE_END && end > layout::HOLE
            };
            prop_assert!(!map.iter().any(overlaps_hole));
            let usable: u64 = map
                .iter()
                .filter(|(.., kind)| *kind == E820_RAM)
                .map(|(start, end, _)| end - start)
                .sum();
            prop_assert_eq!(usable, memory - layout::HIGH_MEMORY + layout::BASE_MEMORY_END);
        }
    }

    #[test]
    fn seed_is_found_through_the_page_and_only_if_there_is_one() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let setup_data = |params: BootParams<'_>| -> u64 {
            params.write(&memory).unwrap();
            memory.read_obj(GuestAddress(layout::BOOT_PARAMS + SETUP_DATA as u64)).unwrap()
        };
        assert_eq!(setup_data(BootParams { seed: None, ..params(&[]) }), 0);
        let at = setup_data(params(&[]));
        let mut data = [0; 17];
        memory.read_slice(&mut data, GuestAddress(at)).unwrap();
        assert_eq!(data, [0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 32, 0, 0, 0, 7]);
    }

    #[test]
    fn too_long_a_header_is_refused() {
        assert!(matches!(params(&[0; 0x100]).page(), Err(BootParamsError::Header(0x100))));
    }
}
