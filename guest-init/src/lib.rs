//! PID 1 inside the guest, the archive it is booted from, and how it reports.
//!
//! The host side of the crate: PID 1 as a binary ([`INIT`]), the wire format that it speaks
//! ([`protocol`]), the archive writer ([`cpio`]) and the archive with everything in it
//! ([`initramfs`]).

pub mod cpio;
pub mod initramfs;
pub mod protocol;
#[allow(dead_code)] // PID 1 uses the rest of it
mod shared;

// PID 1 is compiled by build.rs and never here; this is how `cargo fmt` finds its sources.
#[cfg(any())]
#[path = "init/main.rs"]
mod init;

/// PID 1: a static x86-64 ELF executable that needs nothing else in the guest.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// PID 1 for kernels that run no 64-bit programs: a static i386 ELF executable. Empty if the C compiler
/// that this was built with makes none.
pub const INIT_I386: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init-i386"));

/// Where [`INIT_I386`] lies in the archive: what such a kernel is told by `rdinit=`.
pub const INIT_I386_PATH: &str = "/vmbisect/init-i386";

/// A workload in C that fights over a spinlock: `spinlock [SECONDS [THREADS]]`, 10 seconds and 8
/// threads if not given, exit status 0. Needs POSIX threads and nothing of the kernel beyond
/// `CONFIG_FUTEX`.
///
/// Every thread does nothing but `close(dup(0))`. Both take `files->file_lock`, so that with
/// paravirt spinlocks and more vCPUs than CPUs the waiters end in the kernel's `pv_wait`.
pub const SPINLOCK_C: &str = include_str!("../workloads/spinlock.c");
