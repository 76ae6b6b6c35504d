//! System calls (x86-64), each behind a safe function. Numbers and flags are those of Linux's
//! uapi headers.

mod errno;
mod files;
mod machine;
mod processes;
mod signals;

use core::arch::asm;

pub(crate) use errno::Errno;
pub(crate) use files::*;
pub(crate) use machine::*;
pub(crate) use processes::*;
pub(crate) use signals::*;

/// Enters the kernel.
///
/// # Safety
/// The arguments must be what the system call `number` wants, and memory it writes to must be
/// valid for that and not be in use as anything else.
unsafe fn syscall(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let result: isize;
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller answers for the arguments; the kernel clobbers rcx and r11 and nothing
    // else (System V ABI, A.2.1).
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, out("rcx") _, out("r11") _, options(nostack));
    }
    Errno::check(result)
}
