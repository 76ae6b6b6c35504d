//! Model-specific registers as firmware would leave them.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use thiserror::Error;

const IA32_TSC: u32 = 0x10;
const IA32_SYSENTER_CS: u32 = 0x174;
const IA32_SYSENTER_ESP: u32 = 0x175;
const IA32_SYSENTER_EIP: u32 = 0x176;
const IA32_MISC_ENABLE: u32 = 0x1a0;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SYSCALL_MASK: u32 = 0xc000_0084;
const KERNEL_GS_BASE: u32 = 0xc000_0102;

const FAST_STRING: u64 = 1;
/// MTRRs on, memory without one is write-back.
const MTRR_ENABLE_WRITE_BACK: u64 = 0x806;

const BOOT_MSRS: &[(u32, u64)] = &[
    (IA32_SYSENTER_CS, 0),
    (IA32_SYSENTER_ESP, 0),
    (IA32_SYSENTER_EIP, 0),
    (STAR, 0),
    (CSTAR, 0),
    (KERNEL_GS_BASE, 0),
    (SYSCALL_MASK, 0),
    (LSTAR, 0),
    (IA32_TSC, 0),
    (IA32_MISC_ENABLE, FAST_STRING),
    (IA32_MTRR_DEF_TYPE, MTRR_ENABLE_WRITE_BACK),
];

/// Why the registers could not be set.
#[derive(Debug, Error)]
pub enum MsrError {
    /// The list of registers could not be made.
    #[error("can't make the list of MSRs")]
    List,
    /// KVM_SET_MSRS failed.
    #[error("KVM_SET_MSRS failed")]
    Set(#[source] kvm_ioctls::Error),
    /// KVM took only those before this one: it does not know it or refuses the value.
    #[error("KVM refused MSR {index:#x} = {value:#x}")]
    Refused {
        /// Which register.
        index: u32,
        /// The value it was given.
        value: u64,
    },
}

/// Sets the registers that a kernel expects to find set.
pub(crate) fn set(vcpu: &VcpuFd) -> Result<(), MsrError> {
    let entries: Vec<kvm_msr_entry> = BOOT_MSRS
        .iter()
        .map(|&(index, data)| kvm_msr_entry { index, data, ..Default::default() })
        .collect();
    let list = Msrs::from_entries(&entries).map_err(|_| MsrError::List)?;
    let taken = vcpu.set_msrs(&list).map_err(MsrError::Set)?;
    match BOOT_MSRS.get(taken) {
        None => Ok(()),
        Some(&(index, value)) => Err(MsrError::Refused { index, value }),
    }
}
