//! The global descriptor table for both entries of a kernel.
//!
//! boot.rst wants `__BOOT_CS` (0x10) to be a flat code segment and `__BOOT_DS` (0x18) a flat data
//! segment. Newer kernels load a table of their own at once; the exception handlers of older
//! decompressors rely on these selectors.

use kvm_bindings::kvm_segment;
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout;
use crate::kernel::EntryMode;

/// `__BOOT_CS`
const CODE: u16 = 0x10;
/// `__BOOT_DS`
const DATA: u16 = 0x18;
/// `__BOOT_TSS`
const TASK: u16 = 0x20;

const CODE_64: u64 = 0x00af_9b00_0000_ffff;
const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
const FLAT_DATA: u64 = 0x00cf_9300_0000_ffff;
/// A busy TSS. In long mode its upper half follows, which is zero.
const BUSY_TSS: u64 = 0x0000_8b00_0000_0067;

/// Descriptors by selector / 8.
fn table(mode: EntryMode) -> [u64; 6] {
    let code = match mode {
        EntryMode::Protected => CODE_32,
        EntryMode::Long => CODE_64,
    };
    [0, 0, code, FLAT_DATA, BUSY_TSS, 0]
}

/// The descriptor table could not be written.
#[derive(Debug, Error)]
#[error("can't write the boot GDT")]
pub struct GdtError(#[from] GuestMemoryError);

/// Segment registers as they are after loading the table's selectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    pub(crate) code: kvm_segment,
    pub(crate) data: kvm_segment,
    pub(crate) task: kvm_segment,
    pub(crate) gdt_base: u64,
    pub(crate) gdt_limit: u16,
}

/// Writes the table and returns what the segment registers have to hold.
pub(crate) fn write(memory: &GuestMemoryMmap, mode: EntryMode) -> Result<Segments, GdtError> {
    let table = table(mode);
    for (entry, address) in table.iter().zip((layout::GDT..).step_by(8)) {
        memory.write_obj(*entry, GuestAddress(address))?;
    }
    let long = u8::from(mode == EntryMode::Long);
    let flat = kvm_segment { limit: 0xffff_ffff, present: 1, s: 1, g: 1, ..Default::default() };
    Ok(Segments {
        code: kvm_segment { selector: CODE, type_: 0xb, l: long, db: 1 - long, ..flat },
        data: kvm_segment { selector: DATA, type_: 0x3, db: 1, ..flat },
        task: kvm_segment {
            selector: TASK,
            limit: 0x67,
            type_: 0xb,
            present: 1,
            ..Default::default()
        },
        gdt_base: layout::GDT,
        gdt_limit: (table.len() * 8 - 1) as u16,
    })
}
