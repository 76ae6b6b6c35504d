//! Signal handlers that do not return.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ptr;

use super::syscall;

const RT_SIGACTION: usize = 13;
const SIGALTSTACK: usize = 131;

const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;

/// The kernel's `struct sigaction`.
#[repr(C)]
struct Action {
    handler: extern "C" fn(c_int) -> !,
    flags: u64,
    restorer: extern "C" fn(c_int) -> !,
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

/// Gives signal handlers a stack of their own.
pub(crate) fn use_signal_stack() {
    let stack = Stack {
        base: SIGNAL_STACK.0.get().expose_provenance(),
        flags: 0,
        size: size_of_val(&SIGNAL_STACK),
    };
    // SAFETY: the memory is static and used for nothing else. Without it handlers still work,
    // unless the stack has overflowed.
    let _ =
        unsafe { syscall(SIGALTSTACK, [ptr::from_ref(&stack).expose_provenance(), 0, 0, 0, 0]) };
}

/// Has `handler` called for a signal.
pub(crate) fn handle_signal(signal: c_int, handler: extern "C" fn(c_int) -> !) {
    // x86-64 insists on a restorer, which is where a handler returns to. These never return.
    let action = Action { handler, flags: SA_RESTORER | SA_ONSTACK, restorer: handler, mask: 0 };
    let Ok(signal) = usize::try_from(signal) else { return };
    let pointer = ptr::from_ref(&action).expose_provenance();
    // SAFETY: the structure is the kernel's, its mask 8 bytes; a handler that does not return
    // may do what any other code may. It fails only for signals that can't be caught.
    let _ = unsafe { syscall(RT_SIGACTION, [signal, pointer, 0, size_of::<u64>(), 0]) };
}
