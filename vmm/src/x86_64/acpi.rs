//! ACPI tables, by which a kernel without CONFIG_X86_MPPARSE finds its processors: RSDP, XSDT, MADT,
//! and a hardware-reduced FADT with a DSDT that knows the serial port (ACPI specification 6.5,
//! chapter 5.2).
//!
//! They lie beside the [MP table](super::mptable) in every machine. A kernel that can read both takes
//! ACPI unless `acpi=off` is on its command line. "Hardware-reduced" saves the machine the fixed
//! registers, the timer and the interrupt of ACPI, but a kernel also takes it to mean that there is
//! neither an 8254 timer nor a pair of 8259s (`acpi_generic_reduced_hw_init()`). It then needs
//! kvm-clock to know how fast its TSC is, and the interrupts of legacy devices from the DSDT. The
//! machine has those chips all the same, and a kernel that boots by the MP table uses them.
//!
//! There is no `_S5`: a kernel does not know how to power off, and halts, as it does without ACPI.

use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, aml};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout;
use crate::devices::bus::{RESET_CONTROL, SERIAL};
use crate::devices::serial;

const OEM: [u8; 6] = *b"VMBSCT";
const OEM_TABLE: [u8; 8] = *b"VMBISECT";
const OEM_REVISION: u32 = 1;

/// Bytes of a table's header.
const HEADER: u32 = 36;
/// Revisions of the tables in ACPI 6.5.
const DSDT_REVISION: u8 = 2;
const MADT_REVISION: u8 = 5;

/// MADT flag PCAT_COMPAT: there is a pair of 8259s, to be disabled where the APICs are used.
const PCAT_COMPAT: u32 = 1;
/// IAPC_BOOT_ARCH: no VGA, no MSI, no ASPM. Nor is there an 8042, it says: there is
/// [one](crate::devices::i8042), but without a keyboard, and a kernel that takes the table's word for it
/// saves itself the probing. Resetting the machine through it works all the same.
const BOOT_ARCHITECTURE: u16 = 1 << 2 | 1 << 3 | 1 << 4;
/// What the reset control register takes for a reset of everything.
const RESET_VALUE: u8 = 0x06;

/// Why the tables could not be made.
#[derive(Debug, Error)]
pub enum AcpiError {
    /// The tables are larger than the room that the layout gives them.
    #[error("ACPI tables of {0} bytes do not fit below 1 MiB")]
    TooLarge(u64),
    /// Guest memory could not be written.
    #[error("can't write the ACPI tables")]
    Memory(#[from] GuestMemoryError),
}

/// Writes the tables for `vcpus` processors, whose APIC ids count from 0.
pub(crate) fn write(memory: &GuestMemoryMmap, vcpus: u8) -> Result<(), AcpiError> {
    let tables = tables(vcpus);
    let end = tables.iter().map(|(at, table)| at + table.len() as u64).max().unwrap_or(0);
    if end > layout::HIGH_MEMORY {
        return Err(AcpiError::TooLarge(end - layout::ACPI));
    }
    for (at, table) in tables {
        memory.write_slice(&table, GuestAddress(at))?;
    }
    Ok(())
}

/// Each table and where it lies; the RSDP comes first, where kernels search for it.
fn tables(vcpus: u8) -> Vec<(u64, Vec<u8>)> {
    let mut free = layout::ACPI + Rsdp::len() as u64;
    let mut placed = Vec::with_capacity(5);
    let mut place = |table: Vec<u8>| {
        let at = free.next_multiple_of(16);
        free = at + table.len() as u64;
        placed.push((at, table));
        at
    };
    let dsdt = place(dsdt());
    let described = [place(fadt(dsdt)), place(madt(vcpus))];
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    described.into_iter().for_each(|table| xsdt.add_entry(table));
    let xsdt = place(bytes(&xsdt));
    placed.push((layout::ACPI, bytes(&Rsdp::new(OEM, xsdt))));
    placed
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// What is there besides processors: the serial port and its interrupt.
fn dsdt() -> Vec<u8> {
    let io = aml::IO::new(SERIAL, SERIAL, 1, serial::PORTS);
    let interrupt = aml::Interrupt::new(true, true, false, false, serial::IRQ);
    let resources = aml::ResourceTemplate::new(vec![&io, &interrupt]);
    let id = aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0501"));
    let unit = aml::Name::new("_UID".into(), &aml::ZERO);
    let resources = aml::Name::new("_CRS".into(), &resources);
    let port = aml::Device::new("COM1".into(), vec![&id, &unit, &resources]);
    let bus = aml::Scope::new("\\_SB_".into(), vec![&port]);
    let mut table = Sdt::new(*b"DSDT", HEADER, DSDT_REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&bytes(&bus));
    table.as_slice().to_vec()
}

fn fadt(dsdt: u64) -> Vec<u8> {
    let mut table = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::Headless)
        .flag(Flags::Wbinvd)
        .flag(Flags::ResetRegSup);
    table.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    table.reset_reg =
        GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, RESET_CONTROL.into());
    table.reset_value = RESET_VALUE;
    bytes(&table.finalize())
}

/// The processors, the I/O APIC, and NMI on LINT1 of every processor.
fn madt(vcpus: u8) -> Vec<u8> {
    const LOCAL_APIC: u8 = 0;
    const IO_APIC: u8 = 1;
    const LOCAL_NMI: u8 = 4;
    const ENABLED: u32 = 1;
    let mut body = Vec::new();
    body.extend(layout::LOCAL_APIC.to_le_bytes());
    body.extend(PCAT_COMPAT.to_le_bytes());
    for id in 0..vcpus {
        body.extend([LOCAL_APIC, 8, id, id]);
        body.extend(ENABLED.to_le_bytes());
    }
    // Its id, a reserved byte, its address, and its first interrupt.
    body.extend([IO_APIC, 12, layout::io_apic_id(vcpus), 0]);
    body.extend(layout::IO_APIC.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    // Every processor; polarity and trigger conform to the bus.
    body.extend([LOCAL_NMI, 6, 0xff, 0, 0, 1]);
    let mut table = Sdt::new(*b"APIC", HEADER, MADT_REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&body);
    table.as_slice().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte))
    }

    fn memory(vcpus: u8) -> GuestMemoryMmap {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        write(&memory, vcpus).unwrap();
        memory
    }

    fn read(memory: &GuestMemoryMmap, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn long(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// A whole table, whose checksum is right.
    fn table(memory: &GuestMemoryMmap, at: u64) -> Vec<u8> {
        let length = word(&read(memory, at, 8), 4) as usize;
        let table = read(memory, at, length);
        assert_eq!(sum(&table), 0, "{:?}", &table[..4]);
        table
    }

    /// Finds the tables as `acpi_find_root_pointer()` and its callers do.
    fn find(memory: &GuestMemoryMmap) -> Vec<Vec<u8>> {
        let rsdp = (0xe_0000..0x10_0000)
            .step_by(16)
            .map(|at| read(memory, at, 36))
            .find(|bytes| bytes.starts_with(b"RSD PTR "))
            .unwrap();
        assert_eq!((sum(&rsdp[..20]), sum(&rsdp), rsdp[15]), (0, 0, 2));
        let xsdt = table(memory, long(&rsdp, 24));
        let listed = (36..xsdt.len()).step_by(8).map(|at| table(memory, long(&xsdt, at)));
        let mut tables: Vec<_> = listed.collect();
        let fadt = tables.iter().find(|table| table.starts_with(b"FACP")).unwrap();
        let dsdt = table(memory, long(fadt, 140));
        tables.push(dsdt);
        tables
    }

    #[test]
    fn a_kernel_finds_every_table() {
        let tables = find(&memory(2));
        let signatures: Vec<_> = tables.iter().map(|table| &table[..4]).collect();
        assert_eq!(signatures, [b"FACP", b"APIC", b"DSDT"]);
        let fadt = &tables[0];
        assert_eq!(word(fadt, 112) & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
        // The reset register: port 0xcf9, a byte wide.
        assert_eq!(fadt[116..120], [1, 8, 0, 1]);
        assert_eq!((long(fadt, 120), fadt[128]), (0xcf9, 6));
        // PNP0501 as EISA packs it, port 0x3f8 to 0x3f8, interrupt 4.
        let holds = |wanted: &[u8]| tables[2].windows(wanted.len()).any(|bytes| bytes == wanted);
        assert!(holds(&[0x41, 0xd0, 0x05, 0x01]));
        assert!(holds(&[0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8]));
        assert!(holds(&[0x89, 6, 0, 0b11, 1, 4, 0, 0, 0]));
    }

    proptest! {
        #[test]
        fn madt_lists_each_processor_once(vcpus in 1..=layout::MAX_VCPUS) {
            let tables = find(&memory(vcpus));
            let madt = tables.iter().find(|table| table.starts_with(b"APIC")).unwrap();
            let (mut at, mut ids, mut io_apics) = (44, Vec::new(), Vec::new());
            while at < madt.len() {
                match madt[at] {
                    0 => {
                        prop_assert_eq!(word(madt, at + 4), 1);
                        ids.push(madt[at + 3]);
                    }
                    1 => io_apics.push(madt[at + 2]),
                    _ => {}
                }
                at += usize::from(madt[at + 1]);
            }
            prop_assert_eq!(at, madt.len());
            prop_assert_eq!(&ids, &(0..vcpus).collect::<Vec<_>>());
            prop_assert_eq!(io_apics.len(), 1);
            prop_assert!(!ids.contains(&io_apics[0]));
        }
    }
}
