//! What an x86-64 guest finds when it starts: tables in memory, and the state of its vCPUs.

pub(crate) mod boot_params;
pub(crate) mod cpuid;
pub(crate) mod gdt;
pub(crate) mod lapic;
pub(crate) mod layout;
pub(crate) mod mptable;
pub(crate) mod msr;
pub(crate) mod page_tables;
pub(crate) mod registers;
