//! PID 1 of the guest: mount what a workload needs, run it, report how it ended, reset.
//!
//! Static, without `std`, without libc and without an allocator, so that it is small, starts on
//! any kernel that can execute an ELF file, and depends on nothing in the guest. Whatever a small
//! kernel lacks is done without; the one thing that is never left out is a last report followed by
//! a reset.

#![no_std]
#![no_main]

mod compiler_needs;
mod dev;
mod fatal;
mod mounts;
mod report;
#[allow(dead_code)] // the host uses the rest of it
#[path = "../shared/mod.rs"]
mod shared;
mod sys;
mod workload;

use shared::cmdline::Terminal;
use shared::message::{Message, fact};
use shared::{cmdline, kernel_log};

/// Most bytes of the kernel log that are looked at; twice the usual size of its buffer.
const LOG_BYTES: usize = 256 << 10;

/// Where the kernel enters. The stack is aligned to 16 bytes there, as the System V ABI wants it
/// before a call.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    core::arch::naked_asm!("xor ebp, ebp", "call {main}", "ud2", main = sym main)
}

extern "C" fn main() -> ! {
    fatal::catch_signals();
    run()
}

// A function of its own, so that its large frame is entered when faults are caught already.
#[inline(never)]
fn run() -> ! {
    dev::populate();
    dev::open_console();
    report::choose_channel();
    // The host hears of us as soon as we can say it, before what a workload needs is made.
    let proc = mounts::proc();
    let terminal = begin_by_proc();
    mounts::others(proc);

    let mut log = [0; LOG_BYTES];
    let length = sys::kernel_log(&mut log).unwrap_or(0);
    let log = log.get(..length).unwrap_or_default();
    // Without /proc the kernel's log has the command line.
    let terminal = terminal.or_else(|| kernel_log::command_line(log).and_then(begin));
    let Some(terminal) = terminal else {
        fatal::give_up(format_args!("no {} on the command line", cmdline::NONCE_PARAMETER));
    };
    facts(log);

    match workload::run(terminal) {
        Ok(status) => report::send(Message::Exit(status)),
        Err(failure) => report::send(Message::Fail(format_args!("{failure}"))),
    }
    sys::restart()
}

/// [`begin`]s with the command line that /proc has, if there is one.
fn begin_by_proc() -> Option<Option<Terminal>> {
    let mut text = [0; 4096];
    let length = sys::read_file(c"/proc/cmdline", &mut text).ok()?;
    begin(text.get(..length)?)
}

/// Takes the nonce from the command line and reports that init runs; the terminal that the workload
/// gets, if any, or `None` without a nonce.
fn begin(line: &[u8]) -> Option<Option<Terminal>> {
    cmdline::nonce(line).map(report::set_nonce)?;
    report::send(Message::Init);
    Some(cmdline::terminal(line))
}

/// Reports what the host can't know of a kernel that prints nothing.
fn facts(log: &[u8]) {
    if let Ok(cpus) = sys::online_cpus() {
        report::send(Message::Fact(fact::CPUS, format_args!("{cpus}")));
    }
    if let Ok(names) = sys::uname() {
        report::send(Message::Fact(fact::RELEASE, format_args!("{}", names.release())));
    }
    if let Some(enabled) = kernel_log::pv_spinlocks(log) {
        let word = if enabled { "enabled" } else { "disabled" };
        report::send(Message::Fact(fact::PV_SPINLOCKS, format_args!("{word}")));
    }
}
