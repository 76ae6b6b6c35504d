//! Whether the guest's spinlocks are paravirtual, read from where the kernel keeps the answer.
//!
//! A kernel with CONFIG_PARAVIRT_SPINLOCKS calls the slow path of its spinlocks through a table of
//! functions, and `kvm_spinlock_init()` (arch/x86/kernel/kvm.c) puts the paravirtual one there if all
//! that it asks for is given: KVM_FEATURE_PV_UNHALT, more than one CPU, no KVM_HINTS_REALTIME, no
//! `nopvspin`. What it prints about that differs between versions, and some print nothing; the table
//! says it in all of them since 4.2, when these locks became queued.

use super::{AddressSpace, KernelSymbols};

/// The tables that have the slow path in them: with the locks' functions alone up to 4.19 and again
/// in recent kernels, with all paravirtual functions in between.
const TABLES: [&str; 3] = ["pv_lock_ops", "pv_ops_lock", "pv_ops"];

/// More bytes than any of the tables has.
const TABLE_BYTES: u64 = 2048;

const NATIVE: &str = "native_queued_spin_lock_slowpath";
const PARAVIRTUAL: &str = "__pv_queued_spin_lock_slowpath";
/// The only slow path of a kernel without CONFIG_PARAVIRT_SPINLOCKS.
const PLAIN: &str = "queued_spin_lock_slowpath";

/// Whether the kernel's spinlocks are paravirtual. None if it can't be told: the symbols aren't known,
/// the kernel has no queued spinlocks, or the table can't be read. `slide` is by how much it was moved.
pub fn pv_spinlocks(space: &AddressSpace<'_>, symbols: &KernelSymbols, slide: u64) -> Option<bool> {
    let address = |name| symbols.get(name).map(|address| address.wrapping_add(slide));
    let Some(paravirtual) = address(PARAVIRTUAL) else {
        // There are none to turn on.
        return address(PLAIN).or(address(NATIVE)).map(|_| false);
    };
    let native = address(NATIVE)?;
    let table = TABLES.iter().find_map(|name| address(name))?;
    let last = table.checked_add(TABLE_BYTES)?;
    let word = usize::try_from(space.word_size()).ok()?;
    (table..last).step_by(word).find_map(|entry| match space.word(entry)? {
        function if function == paravirtual => Some(true),
        function if function == native => Some(false),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forensics::fake::Kind;

    const NATIVE_AT: u64 = 0x100;
    const PARAVIRTUAL_AT: u64 = 0x200;

    /// What is read of a kernel of this kind where `table` lies at 0x9000 of the image and `function`,
    /// also of the image, at `offset` in it.
    fn read(kind: Kind, table: &str, offset: u64, function: u64, slide: u64) -> Option<bool> {
        let mut memory = kind.memory(0x10000);
        let at = (0x9000 + slide + offset) as usize;
        let function = kind.pointer(kind.base() + function);
        memory[at..at + function.len()].copy_from_slice(&function);
        let space = AddressSpace::new(&memory, kind.paging());
        let symbols = KernelSymbols::collect(|name| {
            let at = match name {
                NATIVE => NATIVE_AT,
                PARAVIRTUAL => PARAVIRTUAL_AT,
                name if name == table => 0x9000,
                _ => return None,
            };
            Some(kind.base() + at)
        });
        pv_spinlocks(&space, &symbols, slide)
    }

    #[test]
    fn the_tables_of_every_version_are_read() {
        for kind in Kind::ALL {
            for (table, words) in [("pv_lock_ops", 0), ("pv_ops", 85), ("pv_ops_lock", 0)] {
                let read =
                    |function, slide| read(kind, table, words * kind.word(), function, slide);
                assert_eq!(read(PARAVIRTUAL_AT, 0), Some(true), "{table}");
                assert_eq!(read(NATIVE_AT, 0), Some(false), "{table}");
                assert_eq!(read(PARAVIRTUAL_AT + 0x1000, 0x1000), Some(true), "{table}");
                assert_eq!(read(PARAVIRTUAL_AT, 0x1000), None, "not where it was moved to");
            }
            assert_eq!(read(kind, "pv_ops", 0, 0, 0), None);
            assert_eq!(read(kind, "something_else", 0, PARAVIRTUAL_AT, 0), None);
        }
    }

    #[test]
    fn a_kernel_without_them_has_them_off() {
        let memory = Kind::Long.memory(0x1000 * 8);
        let space = AddressSpace::new(&memory, Kind::Long.paging());
        let symbols = KernelSymbols::collect(|name| (name == PLAIN).then_some(Kind::Long.base()));
        assert_eq!(pv_spinlocks(&space, &symbols, 0), Some(false));
        assert_eq!(pv_spinlocks(&space, &KernelSymbols::default(), 0), None);
    }
}
