//! What an x86-64 guest finds when it starts: tables in memory, and the state of its vCPUs.

pub(crate) mod acpi;
pub(crate) mod boot_params;
pub(crate) mod cpuid;
pub(crate) mod features;
pub(crate) mod gdt;
pub(crate) mod lapic;
pub(crate) mod layout;
pub(crate) mod mptable;
pub(crate) mod msr;
pub(crate) mod page_tables;
pub(crate) mod registers;

pub use acpi::AcpiError;
pub use boot_params::BootParamsError;
pub use cpuid::CpuidError;
pub use gdt::GdtError;
pub use lapic::LapicError;
pub use mptable::MpTableError;
pub use msr::MsrError;
pub use page_tables::PageTablesError;
pub use registers::RegistersError;
