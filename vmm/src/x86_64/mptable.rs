//! The MP configuration table (Intel MultiProcessor Specification 1.4), by which a kernel without
//! ACPI finds its processors, its I/O APIC and how interrupts are wired.

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout;
use crate::devices::{i8042, serial};

/// A local APIC that is not an external 82489DX.
const APIC_VERSION: u8 = 0x14;
/// What KVM's I/O APIC has in its version register.
const IO_APIC_VERSION: u8 = 0x11;
const SPEC_1_4: u8 = 4;
const ENABLED: u8 = 1;
const BOOT_PROCESSOR: u8 = 2;
/// FPU and APIC on chip.
const PROCESSOR_FEATURES: u32 = 0x201;
const PROCESSOR_SIGNATURE: u32 = 0x600;
/// The interval timer's.
const TIMER_IRQ: u32 = 0;
/// Those of the devices that are there, each on the I/O APIC's pin of its number. A kernel sets up every
/// one that is listed, and each access to the I/O APIC is an exit.
const ISA_INTERRUPTS: [u32; 3] = [TIMER_IRQ, i8042::IRQ, serial::IRQ];

// Entry types.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

// Interrupt types.
const VECTORED: u8 = 0;
const NMI: u8 = 1;
const EXTERNAL: u8 = 3;

/// Why the table could not be made.
#[derive(Debug, Error)]
pub enum MpTableError {
    /// The table is larger than the room that the layout gives it.
    #[error("MP table of {0} bytes does not fit below what follows it")]
    TooLarge(usize),
    /// Guest memory could not be written.
    #[error("can't write the MP table")]
    Memory(#[from] GuestMemoryError),
}

/// Writes the table for `vcpus` processors, whose APIC ids count from 0.
pub(crate) fn write(memory: &GuestMemoryMmap, vcpus: u8) -> Result<(), MpTableError> {
    let table = table(vcpus);
    if table.len() as u64 > layout::SETUP_DATA - layout::MP_TABLE {
        return Err(MpTableError::TooLarge(table.len()));
    }
    memory.write_slice(&table, GuestAddress(layout::MP_TABLE))?;
    memory.write_slice(&pointer(), GuestAddress(layout::MP_POINTER))?;
    Ok(())
}

fn pointer() -> Vec<u8> {
    let mut pointer = Vec::with_capacity(16);
    pointer.extend_from_slice(b"_MP_");
    pointer.extend_from_slice(&(layout::MP_TABLE as u32).to_le_bytes());
    // Length in paragraphs, version, checksum, five feature bytes: a table is present, and
    // interrupts start in virtual wire mode.
    pointer.extend_from_slice(&[1, SPEC_1_4, 0, 0, 0, 0, 0, 0]);
    seal(&mut pointer, 10);
    pointer
}

fn table(vcpus: u8) -> Vec<u8> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for id in 0..vcpus {
        let flags = if id == 0 { ENABLED | BOOT_PROCESSOR } else { ENABLED };
        let mut entry = vec![PROCESSOR, id, APIC_VERSION, flags];
        entry.extend_from_slice(&PROCESSOR_SIGNATURE.to_le_bytes());
        entry.extend_from_slice(&PROCESSOR_FEATURES.to_le_bytes());
        entry.extend_from_slice(&[0; 8]);
        entries.push(entry);
    }
    let io_apic = layout::io_apic_id(vcpus);
    entries.push([&[BUS, 0], b"ISA   ".as_slice()].concat());
    let mut entry = vec![IO_APIC, io_apic, IO_APIC_VERSION, ENABLED];
    entry.extend_from_slice(&layout::IO_APIC.to_le_bytes());
    entries.push(entry);
    // Polarity and trigger (two bytes of flags) conform to the bus: high, edge.
    for irq in ISA_INTERRUPTS.map(|irq| irq as u8) {
        entries.push(vec![IO_INTERRUPT, VECTORED, 0, 0, 0, irq, io_apic, irq]);
    }
    // The 8259s reach LINT0 of the boot processor, NMI reaches LINT1 of all.
    entries.push(vec![LOCAL_INTERRUPT, EXTERNAL, 0, 0, 0, 0, 0, 0]);
    entries.push(vec![LOCAL_INTERRUPT, NMI, 0, 0, 0, 0, 0xff, 1]);

    let count = entries.len() as u16;
    let entries = entries.concat();
    let mut table = Vec::with_capacity(44 + entries.len());
    table.extend_from_slice(b"PCMP");
    table.extend_from_slice(&((44 + entries.len()) as u16).to_le_bytes());
    table.extend_from_slice(&[SPEC_1_4, 0]);
    table.extend_from_slice(b"VMBISECT");
    table.extend_from_slice(b"MACHINE     ");
    table.extend_from_slice(&[0; 6]); // no OEM table
    table.extend_from_slice(&count.to_le_bytes());
    table.extend_from_slice(&layout::LOCAL_APIC.to_le_bytes());
    table.extend_from_slice(&[0; 4]); // no extended table
    table.extend_from_slice(&entries);
    seal(&mut table, 7);
    table
}

/// Sets the byte at `at` so that all bytes add up to zero.
fn seal(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(at) {
        *checksum = checksum.wrapping_sub(sum);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte))
    }

    proptest! {
        #[test]
        fn table_lists_each_processor_once_and_adds_up(vcpus in 1..=layout::MAX_VCPUS) {
            let table = table(vcpus);
            prop_assert_eq!(sum(&table), 0);
            prop_assert_eq!(table.len(), 100 + 20 * usize::from(vcpus));
            prop_assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
            let (mut at, mut count) = (44, 0);
            let (mut ids, mut io_apics) = (Vec::new(), Vec::new());
            while at < table.len() {
                match table[at] {
                    PROCESSOR => {
                        ids.push(table[at + 1]);
                        prop_assert_eq!(table[at + 3] & BOOT_PROCESSOR != 0, table[at + 1] == 0);
                    }
                    IO_APIC => io_apics.push(table[at + 1]),
                    _ => {}
                }
                at += if table[at] == PROCESSOR { 20 } else { 8 };
                count += 1;
            }
            prop_assert_eq!(&ids, &(0..vcpus).collect::<Vec<_>>());
            prop_assert_eq!(count, u16::from_le_bytes([table[34], table[35]]));
            prop_assert_eq!(io_apics.len(), 1);
            prop_assert!(!ids.contains(&io_apics[0]));
        }
    }

    #[test]
    fn pointer_is_where_kernels_look() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        write(&memory, layout::MAX_VCPUS).unwrap();
        let mut pointer = [0; 16];
        memory.read_slice(&mut pointer, GuestAddress(639 << 10)).unwrap();
        assert_eq!(pointer[..4], *b"_MP_");
        assert_eq!(sum(&pointer), 0);
    }
}
