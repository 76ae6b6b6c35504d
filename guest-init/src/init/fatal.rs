//! When PID 1 itself goes wrong: report it, then reset.

use core::ffi::c_int;
use core::fmt;
use core::panic::PanicInfo;

use crate::report;
use crate::shared::message::Message;
use crate::sys;

/// Signals that the kernel sends for something the program did, and which kill even PID 1.
const SYNCHRONOUS: &[(c_int, &str)] =
    &[(4, "SIGILL"), (5, "SIGTRAP"), (7, "SIGBUS"), (8, "SIGFPE"), (11, "SIGSEGV"), (31, "SIGSYS")];

/// Makes a fault in PID 1 a report instead of the kernel's "Attempted to kill init!".
pub(crate) fn catch_signals() {
    sys::use_signal_stack();
    for &(signal, _) in SYNCHRONOUS {
        sys::handle_signal(signal, on_signal);
    }
}

/// A process that sends PID 1 one of these signals is to have no more effect than with any other.
extern "C" fn on_signal(signal: c_int, info: &sys::SignalInfo) {
    if info.is_from_the_kernel() {
        let known = SYNCHRONOUS.iter().find(|(number, _)| *number == signal);
        give_up(format_args!("PID 1 got {}", known.map_or("a signal", |(_, name)| name)))
    }
}

#[panic_handler]
fn on_panic(panic: &PanicInfo<'_>) -> ! {
    give_up(format_args!("PID 1: {panic}"))
}

/// Reports a failure as the last thing before the reset.
pub(crate) fn give_up(reason: fmt::Arguments<'_>) -> ! {
    report::send(Message::Fail(reason));
    sys::restart()
}
