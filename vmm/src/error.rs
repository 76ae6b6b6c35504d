//! Why a machine could not be started.

use std::io;

use thiserror::Error;
use vm_memory::GuestMemoryError;

use crate::KernelError;
use crate::x86_64::acpi::AcpiError;
use crate::x86_64::boot_params::BootParamsError;
use crate::x86_64::cpuid::CpuidError;
use crate::x86_64::gdt::GdtError;
use crate::x86_64::lapic::LapicError;
use crate::x86_64::layout::HOLE;
use crate::x86_64::mptable::MpTableError;
use crate::x86_64::msr::MsrError;
use crate::x86_64::page_tables::PageTablesError;
use crate::x86_64::registers::RegistersError;

/// Why a machine could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// /dev/kvm does not exist, or there is no driver behind it.
    #[error(
        "there is no working /dev/kvm: load kvm_intel or kvm_amd, and turn virtualization on in the \
         firmware, or nested virtualization if this is a virtual machine"
    )]
    NoKvm,
    /// The user may not open /dev/kvm.
    #[error(
        "no permission on /dev/kvm: become a member of the group kvm \
         (`sudo usermod -aG kvm \"$USER\"`, then log in again)"
    )]
    KvmPermission,
    /// /dev/kvm can't be opened for another reason.
    #[error("can't open /dev/kvm")]
    OpenKvm(#[source] io::Error),
    /// The kernel of the host speaks another KVM API than the one that has been stable since 2007.
    #[error("KVM has API version {0}, not 12")]
    KvmApiVersion(i32),
    /// KVM lacks something without which no machine can run.
    #[error("this host's KVM lacks KVM_CAP_{0}: boot a newer kernel, any since 2018 has it")]
    MissingCapability(&'static str),
    /// The number of vCPUs is out of range.
    #[error("{asked} vCPUs are not possible: this host carries 1 to {most}")]
    Vcpus {
        /// How many were asked for.
        asked: u8,
        /// How many are possible.
        most: u8,
    },
    /// The amount of memory is out of range or not a multiple of 1 MiB.
    #[error(
        "{asked} bytes of memory are not possible: give a multiple of 1 MiB between {} and {} MiB",
        .least >> 20, .most >> 20
    )]
    MemorySize {
        /// Bytes that were asked for.
        asked: u64,
        /// The least that a machine can have.
        least: u64,
        /// The most that a machine can have.
        most: u64,
    },
    /// The amount of memory is more than this host carries.
    #[error(
        "{} MiB of memory are more than this host carries: {what} {} MiB",
        .asked >> 20, .most >> 20
    )]
    MoreThanHost {
        /// Bytes that were asked for.
        asked: u64,
        /// The most that it carries.
        most: u64,
        /// What the limit is, with a verb.
        what: &'static str,
    },
    /// The kernel needs more memory than the machine has.
    #[error(
        "the kernel needs at least {} MiB of memory to start, the machine has {} MiB{}",
        .needed.div_ceil(1 << 20), .given >> 20,
        if *.given == HOLE { " below its hole" } else { "" }
    )]
    TooLittleMemory {
        /// Bytes that it needs, from address 0.
        needed: u64,
        /// Bytes that the machine has from there on: up to 3 GiB, where the hole begins.
        given: u64,
    },
    /// The initramfs does not fit beside the kernel.
    #[error(
        "the initramfs of {} KiB does not fit: beside the kernel there is room for {} KiB; \
         give the machine more memory",
        .size.div_ceil(1024), .room / 1024
    )]
    InitramfsTooLarge {
        /// Its size in bytes.
        size: u64,
        /// Bytes that there is room for.
        room: u64,
    },
    /// The command line is longer than this kernel takes.
    #[error("the command line has {length} bytes, this kernel takes {limit}")]
    CommandLineTooLong {
        /// Its length in bytes.
        length: usize,
        /// What the kernel takes.
        limit: usize,
    },
    /// The command line has a byte that can't be in one.
    #[error("the command line has a NUL byte at offset {0}")]
    CommandLineNul(usize),
    /// The kernel image can't be booted so.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The host does not give the guest's memory.
    #[error(
        "can't get {} MiB of guest memory: give the machine less, or run fewer at a time",
        .bytes >> 20
    )]
    AllocateMemory {
        /// How much.
        bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Guest memory can't be written.
    #[error("can't write guest memory")]
    WriteMemory(#[from] GuestMemoryError),
    /// A KVM ioctl failed.
    #[error("{ioctl} failed")]
    Kvm {
        /// Which one, by its name in KVM's api.rst.
        ioctl: &'static str,
        /// Why.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// The host does not give an event, a timer, a mapping or a thread.
    #[error("can't get {what} from the host")]
    Host {
        /// What it is.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The zero page can't be made.
    #[error(transparent)]
    BootParams(#[from] BootParamsError),
    /// The ACPI tables can't be made.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The MP table can't be made.
    #[error(transparent)]
    MpTable(#[from] MpTableError),
    /// The page tables can't be made.
    #[error(transparent)]
    PageTables(#[from] PageTablesError),
    /// The descriptor table can't be made.
    #[error(transparent)]
    Gdt(#[from] GdtError),
    /// A vCPU can't be set up.
    #[error("can't set up vCPU {vcpu}")]
    Vcpu {
        /// Which one.
        vcpu: u8,
        /// Why.
        #[source]
        source: VcpuSetupError,
    },
}

/// Why a vCPU could not be set up.
#[derive(Debug, Error)]
pub enum VcpuSetupError {
    /// KVM_CREATE_VCPU failed.
    #[error("KVM_CREATE_VCPU failed")]
    Create(#[source] kvm_ioctls::Error),
    /// The CPUID leaves can't be made.
    #[error(transparent)]
    Cpuid(#[from] CpuidError),
    /// KVM_SET_CPUID2 or KVM_GET_CPUID2 failed.
    #[error("KVM_SET_CPUID2 failed")]
    SetCpuid(#[source] kvm_ioctls::Error),
    /// The model-specific registers can't be set.
    #[error(transparent)]
    Msrs(#[from] MsrError),
    /// The local APIC can't be set up.
    #[error(transparent)]
    Lapic(#[from] LapicError),
    /// The registers can't be set.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// The vCPU's page can't be mapped or its signal can't be handled.
    #[error("can't prepare to interrupt it")]
    Control(#[source] io::Error),
}
