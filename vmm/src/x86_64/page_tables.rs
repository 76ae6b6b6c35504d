//! Identity mapped page tables for the 64-bit entry.
//!
//! boot.rst asks for an identity mapping of the kernel, the zero page and the command line. All of
//! them, and whatever else a boot can touch, lie below 4 GiB, so the first 4 GiB are mapped in pages
//! of 2 MiB.

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout::PAGE_TABLES;

const TABLE: u64 = 4096;
const ENTRIES: u64 = 512;
const DIRECTORIES: u64 = 4;
const LARGE_PAGE: u64 = 2 << 20;

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

/// The page tables could not be written.
#[derive(Debug, Error)]
#[error("can't write the boot page tables")]
pub struct PageTablesError(#[from] GuestMemoryError);

/// Writes the tables and returns the value for CR3.
pub(crate) fn write(memory: &GuestMemoryMmap) -> Result<u64, PageTablesError> {
    let pointers = PAGE_TABLES + TABLE;
    let directories = pointers + TABLE;
    memory.write_obj(pointers | PRESENT_WRITABLE, GuestAddress(PAGE_TABLES))?;
    for directory in 0..DIRECTORIES {
        let table = directories + directory * TABLE;
        memory.write_obj(table | PRESENT_WRITABLE, GuestAddress(pointers + directory * 8))?;
        let mut entries = Vec::with_capacity(TABLE as usize);
        for entry in 0..ENTRIES {
            let page = (directory * ENTRIES + entry) * LARGE_PAGE;
            entries.extend_from_slice(&(page | PRESENT_WRITABLE | LARGE).to_le_bytes());
        }
        memory.write_slice(&entries, GuestAddress(table))?;
    }
    Ok(PAGE_TABLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_map_to_themselves() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let cr3 = write(&memory).unwrap();
        let entry = |table: u64, index: u64| -> u64 {
            memory.read_obj(GuestAddress((table & !0xfff) + index * 8)).unwrap()
        };
        for address in [0, 0x7000, 0x100_0000, 0xbfff_ffff, 0xffff_ffff_u64] {
            let pointers = entry(cr3, address >> 39 & 511);
            let directory = entry(pointers, address >> 30 & 511);
            let page = entry(directory, address >> 21 & 511);
            assert_eq!(page & !0x1f_ffff, address & !0x1f_ffff);
            assert_eq!(page & 0x83, 0x83);
        }
    }
}
