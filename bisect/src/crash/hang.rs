//! What a CPU hangs in: the innermost function that is neither a messenger nor how kernels wait.

use std::sync::LazyLock;

use super::frames;
use super::names::Names;

/// How kernels wait, idle and stop: what is to blame has led there.
const WAITING: &str = include_str!("waiting.txt");

static WAITERS: LazyLock<Names> = LazyLock::new(|| Names::parse(WAITING));

/// The function to blame for a CPU that does not go on, in a stack from the innermost function
/// outwards. None where all that can be said is that it idles.
///
/// ```
/// let stack = ["native_halt", "kvm_wait", "__pv_queued_spin_lock_slowpath", "do_dup2"];
/// assert_eq!(vmbisect::crash::hangs_in(stack), Some("kvm_wait".to_owned()));
/// assert_eq!(vmbisect::crash::hangs_in(["default_idle", "do_idle"]), None);
/// ```
pub fn hangs_in<'a>(stack: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names = stack.into_iter().map(|name| name.split('.').next().unwrap_or(name));
    names
        .into_iter()
        .find(|name| !WAITERS.contains(name) && !frames::is_innocent(name))
        .map(frames::canonical)
}
