//! What each vCPU was doing.

use std::fmt;

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE,
    KVM_MP_STATE_SIPI_RECEIVED, KVM_MP_STATE_UNINITIALIZED, kvm_vcpu_events,
};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

use crate::HangKind;
use crate::x86_64::lapic;

/// RFLAGS.IF
const INTERRUPTS: u64 = 1 << 9;

/// What a vCPU does, as KVM_GET_MP_STATE says (KVM api.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MpState {
    /// It executes instructions.
    Running,
    /// It executed HLT and waits for an interrupt.
    Halted,
    /// The guest has not started it: it waits for INIT or SIPI.
    NotStarted,
    /// Some other state, by KVM's number.
    Other(u32),
}

/// What a vCPU was doing when it was taken out of KVM_RUN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuState {
    /// Which vCPU; the guest's APIC id.
    pub vcpu: u8,
    /// Whether it runs, is halted, or was never started.
    pub mp_state: MpState,
    /// Instruction pointer; behind the HLT of a halted one.
    pub rip: u64,
    /// RFLAGS.IF: whether it takes interrupts.
    pub interrupts_on: bool,
    /// Interrupts that its local APIC holds back (bits set in the IRR).
    pub interrupts_requested: u32,
    /// Whether an NMI or an SMI waits to be delivered.
    pub nmi_pending: bool,
    /// Whether the timer's ticks come as NMIs, through LINT0 of the local APIC.
    pub nmi_timer: bool,
    /// KVM exits to the VMM so far.
    pub exits: u64,
}

impl VcpuState {
    /// Inspects a vCPU; must be called on its own thread, outside of KVM_RUN.
    ///
    /// MP_STATE comes first: asking for it folds a paravirtual kick that is on its way into the
    /// state, so a vCPU that is about to wake does not look halted.
    pub(crate) fn of(fd: &VcpuFd, vcpu: u8, exits: u64) -> Result<VcpuState, kvm_ioctls::Error> {
        let mp_state = match fd.get_mp_state()?.mp_state {
            // One that has got its SIPI runs as soon as it is let.
            KVM_MP_STATE_RUNNABLE | KVM_MP_STATE_SIPI_RECEIVED => MpState::Running,
            KVM_MP_STATE_HALTED => MpState::Halted,
            KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED => MpState::NotStarted,
            other => MpState::Other(other),
        };
        let registers = fd.get_regs()?;
        let lapic = fd.get_lapic()?;
        Ok(VcpuState {
            vcpu,
            mp_state,
            rip: registers.rip,
            interrupts_on: registers.rflags & INTERRUPTS != 0,
            interrupts_requested: lapic::requested(&lapic),
            nmi_pending: unmaskable(&fd.get_vcpu_events()?),
            nmi_timer: lapic::timer_is_nmi(&lapic),
            exits,
        })
    }

    /// Halted so that only another vCPU can wake it. What its APIC holds back does not matter: HLT
    /// with interrupts off ends by NMI, SMI, INIT or a paravirtual kick alone. None of the machine's
    /// devices sends any of them; the one that could is the timer, where it is wired to NMI by LINT0.
    /// (The I/O APIC could turn its ticks into NMIs as well. No kernel has it do so, and it is not
    /// asked.)
    fn is_dead(&self) -> bool {
        self.mp_state == MpState::Halted
            && !self.interrupts_on
            && !self.nmi_pending
            && !self.nmi_timer
    }
}

fn unmaskable(events: &kvm_vcpu_events) -> bool {
    events.nmi.pending != 0 || events.smi.pending != 0
}

impl fmt::Display for VcpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {} ", self.vcpu)?;
        match self.mp_state {
            MpState::Running => f.write_str("running")?,
            MpState::Halted => f.write_str("halted")?,
            MpState::NotStarted => return f.write_str("not started"),
            MpState::Other(state) => write!(f, "in MP state {state}")?,
        }
        let interrupts = if self.interrupts_on { "on" } else { "off" };
        write!(f, " at {:#x}, interrupts {interrupts}", self.rip)
    }
}

/// What can be told for certain from two looks at every vCPU.
///
/// Each of them halted with interrupts off (or never started), and none has moved in between: nobody
/// is left to wake anybody. It holds if none of them ran while the second look was taken.
///
/// A vCPU that was not started wakes nobody: it waits for an INIT or SIPI that only another vCPU
/// could send.
pub(crate) fn certain_hang(before: &[VcpuState], after: &[VcpuState]) -> Option<HangKind> {
    let dead = |states: &[VcpuState]| {
        states.iter().any(VcpuState::is_dead)
            && states.iter().all(|state| state.is_dead() || state.mp_state == MpState::NotStarted)
    };
    let still = before.len() == after.len()
        && before.iter().zip(after).all(|(a, b)| a.rip == b.rip && a.exits == b.exits);
    (dead(before) && dead(after) && still).then_some(HangKind::HaltedInterruptsOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halted(vcpu: u8, interrupts_on: bool) -> VcpuState {
        VcpuState {
            vcpu,
            mp_state: MpState::Halted,
            rip: 0x1000,
            interrupts_on,
            interrupts_requested: 1,
            nmi_pending: false,
            nmi_timer: false,
            exits: 10,
        }
    }

    #[test]
    fn all_must_be_dead_and_stay_so() {
        let not_started = VcpuState { mp_state: MpState::NotStarted, ..halted(1, false) };
        let dead = [halted(0, false), not_started.clone()];
        assert_eq!(certain_hang(&dead, &dead), Some(HangKind::HaltedInterruptsOff));
        let idle = [halted(0, false), halted(1, true)];
        assert_eq!(certain_hang(&idle, &idle), None);
        let nmi = [VcpuState { nmi_pending: true, ..halted(0, false) }];
        assert_eq!(certain_hang(&nmi, &nmi), None);
        let timer = [VcpuState { nmi_timer: true, ..halted(0, false) }];
        assert_eq!(certain_hang(&timer, &timer), None);
        let moved = [VcpuState { exits: 11, ..halted(0, false) }, not_started.clone()];
        assert_eq!(certain_hang(&dead, &moved), None);
        let none_started = [not_started];
        assert_eq!(certain_hang(&none_started, &none_started), None);
        assert_eq!(certain_hang(&[], &[]), None);
    }
}
