//! Registers of the boot vCPU where it enters the kernel (boot.rst): flat segments, interrupts off,
//! RSI at the zero page, RBP, RDI and RBX zero. By the "64-bit Boot Protocol" it is in long mode, by
//! the "32-bit Boot Protocol" in protected mode without paging.
//!
//! The other vCPUs get none: with KVM's own local APIC they wait for INIT and SIPI.

use kvm_bindings::{kvm_fpu, kvm_regs};
use kvm_ioctls::VcpuFd;
use thiserror::Error;

use super::gdt::Segments;
use super::layout;
use crate::kernel::{Entry, EntryMode};

/// Bit 1 is always set; IF is clear.
const RFLAGS: u64 = 0x2;
const CR0_PROTECTION: u64 = 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 1 << 8;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
/// The values after FNINIT and at reset.
const FPU_CONTROL: u16 = 0x37f;
const MXCSR: u32 = 0x1f80;

/// Why the registers could not be set.
#[derive(Debug, Error)]
pub enum RegistersError {
    /// KVM_SET_REGS failed.
    #[error("can't set the general registers")]
    General(#[source] kvm_ioctls::Error),
    /// KVM_GET_SREGS or KVM_SET_SREGS failed.
    #[error("can't set the segment and control registers")]
    Special(#[source] kvm_ioctls::Error),
    /// KVM_SET_FPU failed.
    #[error("can't set the FPU's state")]
    Fpu(#[source] kvm_ioctls::Error),
}

/// Puts the boot vCPU at `entry`. In long mode `cr3` is used.
pub(crate) fn set(
    vcpu: &VcpuFd,
    entry: Entry,
    cr3: u64,
    segments: &Segments,
) -> Result<(), RegistersError> {
    let fpu = kvm_fpu { fcw: FPU_CONTROL, mxcsr: MXCSR, ..Default::default() };
    vcpu.set_fpu(&fpu).map_err(RegistersError::Fpu)?;
    let general = kvm_regs {
        rip: entry.address,
        rsi: layout::BOOT_PARAMS,
        rsp: layout::BOOT_STACK,
        rflags: RFLAGS,
        ..Default::default()
    };
    vcpu.set_regs(&general).map_err(RegistersError::General)?;

    let mut special = vcpu.get_sregs().map_err(RegistersError::Special)?;
    special.cs = segments.code;
    for data in
        [&mut special.ds, &mut special.es, &mut special.fs, &mut special.gs, &mut special.ss]
    {
        *data = segments.data;
    }
    special.tr = segments.task;
    special.gdt.base = segments.gdt_base;
    special.gdt.limit = segments.gdt_limit;
    special.idt.base = 0;
    special.idt.limit = 0;
    special.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE;
    if entry.mode == EntryMode::Long {
        special.cr3 = cr3;
        special.cr4 = CR4_PAE;
        special.cr0 |= CR0_PAGING;
        special.efer = EFER_LONG_MODE | EFER_LONG_MODE_ACTIVE;
    }
    vcpu.set_sregs(&special).map_err(RegistersError::Special)
}
