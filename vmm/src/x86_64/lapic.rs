//! The local APIC's own interrupt pins.

use kvm_bindings::kvm_lapic_state;
use kvm_ioctls::VcpuFd;
use thiserror::Error;

// Register offsets (SDM volume 3, table "Local APIC Register Address Map").
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const ISR: usize = 0x100;
const IRR: usize = 0x200;

const MODE_NMI: u32 = 0b100 << 8;
const MODE_EXTINT: u32 = 0b111 << 8;
const MODE: u32 = 0b111 << 8;
const MASKED: u32 = 1 << 16;

/// KVM_GET_LAPIC or KVM_SET_LAPIC failed.
#[derive(Debug, Error)]
#[error("can't set up the local APIC")]
pub struct LapicError(#[from] kvm_ioctls::Error);

/// Wires LINT0 to the 8259s and LINT1 to NMI, as the MP table says.
pub(crate) fn set_pins(vcpu: &VcpuFd) -> Result<(), LapicError> {
    let mut state = vcpu.get_lapic()?;
    for (pin, mode) in [(LVT_LINT0, MODE_EXTINT), (LVT_LINT1, MODE_NMI)] {
        let value = register(&state, pin) & !MODE | mode;
        set_register(&mut state, pin, value);
    }
    vcpu.set_lapic(&state)?;
    Ok(())
}

/// How many vectors wait in the interrupt request register.
pub(crate) fn requested(state: &kvm_lapic_state) -> u32 {
    vectors(state, IRR)
}

/// How many vectors are in the in-service register.
pub(crate) fn in_service(state: &kvm_lapic_state) -> u32 {
    vectors(state, ISR)
}

fn vectors(state: &kvm_lapic_state, start: usize) -> u32 {
    (0..8).map(|word| register(state, start + word * 0x10).count_ones()).sum()
}

/// Whether LINT0 is wired to NMI and not masked. KVM's PIT then ticks by NMI, as old kernels had it
/// for their NMI watchdog.
pub(crate) fn timer_is_nmi(state: &kvm_lapic_state) -> bool {
    register(state, LVT_LINT0) & (MODE | MASKED) == MODE_NMI
}

fn register(state: &kvm_lapic_state, offset: usize) -> u32 {
    let mut bytes = [0u8; 4];
    for (byte, value) in bytes.iter_mut().zip(state.regs.iter().skip(offset)) {
        *byte = *value as u8;
    }
    u32::from_le_bytes(bytes)
}

fn set_register(state: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (place, byte) in state.regs.iter_mut().skip(offset).zip(value.to_le_bytes()) {
        *place = byte as _;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_little_endian_and_counted_over_all_words() {
        let mut state = kvm_lapic_state::default();
        set_register(&mut state, LVT_LINT0, 0x1_0700);
        assert!(!timer_is_nmi(&state));
        assert_eq!(register(&state, LVT_LINT0), 0x1_0700);
        assert_eq!(requested(&state), 0);
        set_register(&mut state, IRR, 1 << 31);
        set_register(&mut state, IRR + 0x70, 0b11);
        assert_eq!((requested(&state), in_service(&state)), (3, 0));
    }
}
