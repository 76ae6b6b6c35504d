//! The machine and its kernel: ports, log, CPUs, names, reset.

use core::arch::asm;
use core::ffi::CStr;
use core::ptr;

use super::{Errno, exit, syscall};

const UNAME: usize = 63;
const SYSLOG: usize = 103;
const SYNC: usize = 162;
const REBOOT: usize = 169;
const IOPERM: usize = 173;
const SCHED_GETAFFINITY: usize = 204;

/// Makes one I/O port usable by [`read_port`] and [`write_port`], or no longer usable.
pub(crate) fn allow_port(port: u16, allowed: bool) -> Result<(), Errno> {
    // SAFETY: takes no memory.
    unsafe { syscall(IOPERM, [port.into(), 1, allowed.into(), 0, 0]) }.map(drop)
}

/// Reads a byte from a port that [`allow_port`] has allowed; without that it is a SIGSEGV.
pub(crate) fn read_port(port: u16) -> u8 {
    let byte;
    // SAFETY: touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack)) };
    byte
}

/// Writes a byte to a port that [`allow_port`] has allowed; without that it is a SIGSEGV.
pub(crate) fn write_port(port: u16, byte: u8) {
    // SAFETY: touches no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) };
}

/// The kernel log, or the end of it where it is longer than the buffer.
pub(crate) fn kernel_log(buffer: &mut [u8]) -> Result<usize, Errno> {
    const SYSLOG_ACTION_READ_ALL: usize = 3;
    let pointer = buffer.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes only to the buffer.
    unsafe { syscall(SYSLOG, [SYSLOG_ACTION_READ_ALL, pointer, buffer.len(), 0, 0]) }
}

/// Number of CPUs that this process may run on, which for PID 1 is those that are online.
pub(crate) fn online_cpus() -> Result<u32, Errno> {
    let mut mask = [0_u64; 128];
    let pointer = ptr::from_mut(&mut mask).expose_provenance();
    // SAFETY: the kernel writes only to the mask; PID 0 is the caller.
    unsafe { syscall(SCHED_GETAFFINITY, [0, size_of_val(&mask), pointer, 0, 0]) }?;
    Ok(mask.iter().map(|word| word.count_ones()).sum())
}

/// `struct new_utsname`: six strings.
#[repr(C)]
pub(crate) struct Names([[u8; 65]; 6]);

impl Names {
    /// The release of the kernel.
    pub(crate) fn release(&self) -> &str {
        let [_, _, release, ..] = &self.0;
        CStr::from_bytes_until_nul(release).ok().and_then(|text| text.to_str().ok()).unwrap_or("?")
    }
}

/// The kernel's names.
pub(crate) fn uname() -> Result<Names, Errno> {
    let mut names = Names([[0; 65]; 6]);
    // SAFETY: the kernel writes a `struct new_utsname`.
    unsafe { syscall(UNAME, [ptr::from_mut(&mut names).expose_provenance(), 0, 0, 0, 0]) }?;
    Ok(names)
}

/// Asks for a reset and never returns.
pub(crate) fn restart() -> ! {
    const MAGIC1: usize = 0xfee1_dead;
    const MAGIC2: usize = 0x2812_1969;
    const RB_AUTOBOOT: usize = 0x0123_4567;
    // SAFETY: takes no memory.
    let _ = unsafe { syscall(SYNC, [0; 5]) };
    // SAFETY: takes no memory.
    let _ = unsafe { syscall(REBOOT, [MAGIC1, MAGIC2, RB_AUTOBOOT, 0, 0]) };
    // A kernel that does not reset panics when PID 1 ends, which ends the guest as well.
    exit(1)
}
