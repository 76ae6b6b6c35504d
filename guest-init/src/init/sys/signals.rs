//! Signal handlers.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ptr;

use super::syscall;

const RT_SIGACTION: usize = 13;
const SIGALTSTACK: usize = 131;

const SA_SIGINFO: u64 = 0x4;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTART: u64 = 0x1000_0000;

/// The beginning of `siginfo_t`.
#[repr(C)]
pub(crate) struct SignalInfo {
    signal: c_int,
    error: c_int,
    code: c_int,
}

impl SignalInfo {
    /// Whether the kernel sent the signal of its own accord, as for a fault; `si_code` of what
    /// kill(2) and its like send is 0 or negative.
    pub(crate) fn is_from_the_kernel(&self) -> bool {
        self.code > 0
    }
}

type Handler = extern "C" fn(c_int, &SignalInfo);

/// The kernel's `struct sigaction`.
#[repr(C)]
struct Action {
    handler: Handler,
    flags: u64,
    restorer: unsafe extern "C" fn() -> !,
    mask: u64,
}

/// `stack_t`.
#[repr(C)]
struct Stack {
    base: usize,
    flags: c_int,
    size: usize,
}

/// Memory for signal handlers, since a fault may be an overflow of the ordinary stack. Room for
/// the largest XSAVE area and for a report.
struct SignalStack(UnsafeCell<[u8; 64 << 10]>);

// SAFETY: only the kernel uses it, as the stack of the one thread there is.
unsafe impl Sync for SignalStack {}

static SIGNAL_STACK: SignalStack = SignalStack(UnsafeCell::new([0; 64 << 10]));

/// Where a handler returns to: rt_sigreturn, with the frame on top of the stack.
#[unsafe(naked)]
unsafe extern "C" fn restore() -> ! {
    core::arch::naked_asm!("mov eax, 15", "syscall", "ud2")
}

/// Gives signal handlers a stack of their own.
pub(crate) fn use_signal_stack() {
    let stack = Stack {
        base: SIGNAL_STACK.0.get().expose_provenance(),
        flags: 0,
        size: size_of_val(&SIGNAL_STACK),
    };
    let pointer = ptr::from_ref(&stack).expose_provenance();
    // SAFETY: the memory is static and used for nothing else. Without it handlers still work,
    // unless the stack has overflowed.
    let _ = unsafe { syscall(SIGALTSTACK, [pointer, 0, 0, 0, 0]) };
}

/// Has `handler` called for a signal.
pub(crate) fn handle_signal(signal: c_int, handler: Handler) {
    let flags = SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_RESTART;
    let action = Action { handler, flags, restorer: restore, mask: 0 };
    let Ok(signal) = usize::try_from(signal) else { return };
    let pointer = ptr::from_ref(&action).expose_provenance();
    // SAFETY: the structure is the kernel's, its mask 8 bytes; the kernel passes a handler with
    // SA_SIGINFO a valid siginfo_t. It fails only for signals that can't be caught.
    let _ = unsafe { syscall(RT_SIGACTION, [signal, pointer, 0, size_of::<u64>(), 0]) };
}
