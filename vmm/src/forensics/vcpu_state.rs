//! What each vCPU was doing.

use std::fmt;

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE,
    KVM_MP_STATE_SIPI_RECEIVED, KVM_MP_STATE_UNINITIALIZED, kvm_vcpu_events,
};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

use super::paging::{EFER_LMA, Paging};
use super::unwind::Frame;
use crate::x86_64::lapic;

/// RFLAGS.IF
const INTERRUPTS: u64 = 1 << 9;

/// What a vCPU does, as KVM_GET_MP_STATE says (KVM api.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MpState {
    /// It executes instructions.
    #[default]
    Running,
    /// It executed HLT and waits for an interrupt.
    Halted,
    /// The guest has not started it: it waits for INIT or SIPI.
    NotStarted,
    /// Some other state, by KVM's number.
    Other(u32),
}

/// A vCPU's registers, as far as they say what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the processor's names")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Behind the HLT of a halted vCPU.
    pub rip: u64,
    pub rflags: u64,
    /// The selector; its lowest two bits are the privilege level.
    pub cs: u16,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
}

impl Registers {
    fn of(fd: &VcpuFd) -> Result<Registers, kvm_ioctls::Error> {
        let (regs, sregs) = (fd.get_regs()?, fd.get_sregs()?);
        Ok(Registers {
            rax: regs.rax,
            rbx: regs.rbx,
            rcx: regs.rcx,
            rdx: regs.rdx,
            rsi: regs.rsi,
            rdi: regs.rdi,
            rsp: regs.rsp,
            rbp: regs.rbp,
            r8: regs.r8,
            r9: regs.r9,
            r10: regs.r10,
            r11: regs.r11,
            r12: regs.r12,
            r13: regs.r13,
            r14: regs.r14,
            r15: regs.r15,
            rip: regs.rip,
            rflags: regs.rflags,
            cs: sregs.cs.selector,
            cr0: sregs.cr0,
            cr2: sregs.cr2,
            cr3: sregs.cr3,
            cr4: sregs.cr4,
            efer: sregs.efer,
        })
    }

    /// Whether it runs a program of the guest's, not its kernel.
    pub fn is_user(&self) -> bool {
        self.cs & 3 == 3
    }

    /// EFER.LMA: whether its kernel is a 64-bit one (and past its first steps).
    pub fn is_long_mode(&self) -> bool {
        self.efer & EFER_LMA != 0
    }

    /// RFLAGS.IF: whether it takes interrupts.
    pub fn interrupts_on(&self) -> bool {
        self.rflags & INTERRUPTS != 0
    }

    /// How it translates addresses.
    pub fn paging(&self) -> Paging {
        Paging { cr0: self.cr0, cr3: self.cr3, cr4: self.cr4, efer: self.efer }
    }
}

/// What a vCPU was doing when it was taken out of KVM_RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuState {
    /// Which vCPU; the guest's APIC id.
    pub vcpu: u8,
    /// Whether it runs, is halted, or was never started.
    pub mp_state: MpState,
    /// Its registers.
    pub registers: Registers,
    /// Interrupts that its local APIC holds back (bits set in the IRR).
    pub interrupts_requested: u32,
    /// Interrupts that it has not come to the end of (bits set in the ISR).
    pub interrupts_in_service: u32,
    /// Whether an NMI or an SMI waits to be delivered.
    pub nmi_pending: bool,
    /// Whether the timer's ticks come as NMIs, through LINT0 of the local APIC.
    pub nmi_timer: bool,
    /// KVM exits to the VMM so far.
    pub exits: u64,
    /// Whether it spins: it was in one place of its kernel whenever the silent machine was looked at.
    /// This one look may have found any vCPU at an interrupt, or about to be idle.
    #[serde(default)]
    pub spins: bool,
    /// The functions that led there, the innermost first. Empty if the vCPU was only glanced at, or
    /// never started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<Frame>,
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
        let lapic = fd.get_lapic()?;
        Ok(VcpuState {
            vcpu,
            mp_state,
            registers: Registers::of(fd)?,
            interrupts_requested: lapic::requested(&lapic),
            interrupts_in_service: lapic::in_service(&lapic),
            nmi_pending: unmaskable(&fd.get_vcpu_events()?),
            nmi_timer: lapic::timer_is_nmi(&lapic),
            exits,
            spins: false,
            backtrace: Vec::new(),
        })
    }

    /// Halted so that only another vCPU can wake it. What its APIC holds back does not matter: HLT
    /// with interrupts off ends by NMI, SMI, INIT or a paravirtual kick alone. None of the machine's
    /// devices sends any of them; the one that could is the timer, where it is wired to NMI by LINT0.
    /// (The I/O APIC could turn its ticks into NMIs as well. No kernel has it do so, and it is not
    /// asked.)
    pub(super) fn is_dead(&self) -> bool {
        self.mp_state == MpState::Halted
            && !self.registers.interrupts_on()
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
        let interrupts = if self.registers.interrupts_on() { "on" } else { "off" };
        write!(f, " at {:#x}, interrupts {interrupts}", self.registers.rip)
    }
}
