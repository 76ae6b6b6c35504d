//! What a CPU hangs in: the innermost function that is neither a messenger nor how kernels wait.

use std::sync::LazyLock;

use super::frames;
use super::names::Names;

/// How kernels wait, idle and stop: what is to blame has led there.
const WAITING: &str = include_str!("waiting.txt");

/// By what an interrupt comes in, where its name does not begin with `asm_sysvec_`
/// (arch/x86/entry/entry_64.S).
const INTERRUPT_ENTRIES: &[&str] = &[
    "asm_common_interrupt",
    "common_interrupt",
    "ret_from_intr",
    "apic_timer_interrupt",
    "reschedule_interrupt",
    "call_function_interrupt",
    "call_function_single_interrupt",
    "irq_work_interrupt",
];

/// What runs on a CPU that waits for another one: to let go of a spinlock, or to answer.
const FOR_ANOTHER: &[&str] = &[
    "*spin_lock*",
    "*unfair_trylock",
    "*raw_read_lock*",
    "*raw_write_lock*",
    "queued_read_lock*",
    "queued_write_lock*",
    "csd_lock_wait*",
    "smp_call_function_*",
    "multi_cpu_stop",
];

static WAITERS: LazyLock<Names> = LazyLock::new(|| Names::parse(WAITING));
static WAITERS_FOR_ANOTHER: LazyLock<Names> =
    LazyLock::new(|| Names::new(FOR_ANOTHER.iter().copied()));

/// The function to blame for a CPU that does not go on, in a stack from the innermost function
/// outwards. None where all that can be said is that it idles.
///
/// ```
/// let stack = ["native_halt", "kvm_wait", "__pv_queued_spin_lock_slowpath", "do_dup2"];
/// assert_eq!(vmbisect::crash::hangs_in(stack), Some("kvm_wait".to_owned()));
/// assert_eq!(vmbisect::crash::hangs_in(["default_idle", "do_idle"]), None);
/// ```
pub fn hangs_in<'a>(stack: impl IntoIterator<Item = &'a str>) -> Option<String> {
    stack.into_iter().map(plain).find(|name| is_to_blame(name)).map(frames::canonical)
}

/// Whether a CPU waits for another one, which has its lock or does not answer: what it hangs in is where
/// it does so, and not why.
///
/// ```
/// let stack = ["native_queued_spin_lock_slowpath", "_raw_spin_lock", "do_dup2"];
/// assert!(vmbisect::crash::waits_for_another(stack));
/// assert!(!vmbisect::crash::waits_for_another(["do_dup2", "_raw_spin_lock", "ksys_dup3"]));
/// ```
pub fn waits_for_another<'a>(stack: impl IntoIterator<Item = &'a str>) -> bool {
    let waits = |name: &&str| WAITERS_FOR_ANOTHER.contains(name);
    stack
        .into_iter()
        .map(plain)
        .find(|name| waits(name) || is_to_blame(name))
        .is_some_and(|name| waits(&name))
}

/// A function's name without what a compiler has added to it.
fn plain(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn is_to_blame(function: &str) -> bool {
    !WAITERS.contains(function) && !frames::is_innocent(function)
}

/// What an interrupt took the CPU from: the stack behind the innermost way in of an interrupt, which
/// is `asm_sysvec_*` or `asm_common_interrupt` since Linux 5.8 and was named for the vector before.
/// The whole stack where it holds none.
///
/// ```
/// let stack = ["hrtimer_interrupt", "asm_sysvec_apic_timer_interrupt", "do_dup2"];
/// assert_eq!(vmbisect::crash::interrupted(&stack), ["do_dup2"]);
/// ```
pub fn interrupted<S: AsRef<str>>(stack: &[S]) -> &[S] {
    let enters = |name: &S| {
        let name = name.as_ref();
        name.starts_with("asm_sysvec_") || INTERRUPT_ENTRIES.contains(&name)
    };
    match stack.iter().position(enters) {
        Some(entry) => &stack[entry + 1..],
        None => stack,
    }
}
