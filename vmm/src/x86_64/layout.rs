//! Where things lie in guest physical memory.
//!
//! ```text
//! 0x0000_0500  GDT
//! 0x0000_7000  boot_params, the "zero page"
//! 0x0000_8ff0  top of the boot stack
//! 0x0000_9000  page tables, six pages
//! 0x0002_0000  command line, up to 64 KiB
//! 0x0009_f000  MP table; its floating pointer at 639 KiB, where kernels look for it
//! 0x0009_f800  setup_data: the seed for the guest's random generator
//! 0x000a_0000  legacy video memory and ROMs
//! 0x000e_0000  ACPI tables, the RSDP first, where kernels look for it
//! 0x0010_0000  the kernel and everything else; the initramfs at the top
//! 0xc000_0000  hole for local APICs, I/O APIC and KVM's own pages
//! 0x1_0000_0000  the rest of the memory, if there is more than 3 GiB
//! ```
//!
//! The memory map ([`ram`]) has nothing between 0x9_f000 and 0x10_0000: what is there is no RAM to a
//! guest, which leaves it alone, and reads it all the same.

/// The global descriptor table that the boot vCPU starts with.
pub(crate) const GDT: u64 = 0x500;

/// `struct boot_params`; RSI at the entry.
pub(crate) const BOOT_PARAMS: u64 = 0x7000;

/// Initial stack pointer, below the page tables.
pub(crate) const BOOT_STACK: u64 = 0x8ff0;

/// Page map level 4; the page directory pointer table and four page directories follow.
pub(crate) const PAGE_TABLES: u64 = 0x9000;

/// The kernel command line.
pub(crate) const COMMAND_LINE: u64 = 0x2_0000;

/// Room for the command line, its NUL included.
pub(crate) const COMMAND_LINE_ROOM: usize = 0x1_0000;

/// Where base memory ends for the guest. The page that follows is ours.
pub(crate) const BASE_MEMORY_END: u64 = 0x9_f000;

/// The MP configuration table. Up to 64 processors do not fit into the last KiB below video memory.
pub(crate) const MP_TABLE: u64 = 0x9_f000;

/// `struct setup_data` with the random seed. Where it is RAM, a kernel cuts that in pieces and prints
/// a line for each.
pub(crate) const SETUP_DATA: u64 = 0x9_f800;

/// The MP floating pointer: 639 KiB, the last KiB below video memory, is one of the places where a
/// kernel searches for it (arch/x86/kernel/mpparse.c).
pub(crate) const MP_POINTER: u64 = 0x9_fc00;

/// The ACPI tables. A kernel searches for the RSDP from here on, at every multiple of 16
/// (drivers/acpi/acpica/tbxfroot.c).
pub(crate) const ACPI: u64 = 0xe_0000;

/// Start of memory proper.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;

/// First address that is never RAM below 4 GiB.
pub(crate) const HOLE: u64 = 0xc000_0000;

/// Where memory goes on behind the hole: 4 GiB.
pub(crate) const HOLE_END: u64 = 0x1_0000_0000;

/// The I/O APIC.
pub(crate) const IO_APIC: u32 = 0xfec0_0000;

/// Every vCPU's local APIC.
pub(crate) const LOCAL_APIC: u32 = 0xfee0_0000;

/// One page for Intel's identity map while a vCPU is in real mode; must be below 4 GiB.
pub(crate) const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;

/// Three pages for Intel's real mode TSS; must be below 4 GiB.
pub(crate) const KVM_TSS: usize = 0xfffb_d000;

/// Smallest amount of RAM that a machine can have.
pub(crate) const MIN_MEMORY: u64 = 64 << 20;

/// Largest amount of RAM that a machine can have, on a host that carries so much: 1 TiB. A kernel's
/// map of it and KVM's bookkeeping cost the host some GiB by then.
pub(crate) const MAX_MEMORY: u64 = 1 << 40;

/// Most vCPUs that a machine can have. The MP table has room for more; CPUID leaf 4 counts the
/// cores of a package in six bits.
pub(crate) const MAX_VCPUS: u8 = 64;

/// The I/O APIC's id: behind those of the processors and of the one that could follow.
pub(crate) fn io_apic_id(vcpus: u8) -> u8 {
    vcpus.saturating_add(1)
}

/// Where `memory` bytes of RAM lie: start and size of one range below the hole and, if they do not
/// fit there, of one behind it.
pub(crate) fn ram(memory: u64) -> impl Iterator<Item = (u64, u64)> {
    let low = memory.min(HOLE);
    [(0, low), (HOLE_END, memory - low)].into_iter().filter(|(_, size)| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_lies_around_the_hole() {
        let ram = |memory| ram(memory).collect::<Vec<_>>();
        assert_eq!(ram(64 << 20), [(0, 64 << 20)]);
        assert_eq!(ram(HOLE), [(0, HOLE)]);
        assert_eq!(ram(HOLE + 4096), [(0, HOLE), (HOLE_END, 4096)]);
        assert_eq!(ram(MAX_MEMORY), [(0, HOLE), (HOLE_END, MAX_MEMORY - HOLE)]);
    }
}
