//! Functions that are never to blame: they say that something is wrong, or do what they were told.

use std::sync::LazyLock;

use super::names::Names;

/// Functions that are passed over when the guilty one is looked for.
const INNOCENT: &str = include_str!("innocent.txt");

static INNOCENTS: LazyLock<Names> = LazyLock::new(|| Names::parse(INNOCENT));

/// Whether a function is never to blame.
pub(super) fn is_innocent(function: &str) -> bool {
    INNOCENTS.contains(function)
}

/// Functions that hand work on to others.
const DISPATCHERS: &str = include_str!("dispatchers.txt");

static DISPATCHING: LazyLock<Names> = LazyLock::new(|| Names::parse(DISPATCHERS));

/// Whether a function hands work on, so that what hangs is the function just below it.
pub(super) fn is_dispatcher(function: &str) -> bool {
    // By `ioctl()` one gets anywhere; other calls say enough by themselves, unless what they call is
    // a dispatcher too.
    DISPATCHING.contains(function) || syscall(function) == Some("ioctl")
}

const SYSCALL_PREFIXES: &[&str] = &[
    "__x64_sys_",
    "__ia32_sys_",
    "__ia32_compat_sys_",
    "__x32_compat_sys_",
    "__se_sys_",
    "__se_compat_sys_",
    "__do_sys_",
    "__do_compat_sys_",
    "__arm64_sys_",
    "__arm64_compat_sys_",
    "__riscv_sys_",
    "__s390x_sys_",
    "compat_SyS_",
    "SyS_",
    "SYSC_",
    "C_SYSC_",
    "compat_sys_",
    "ksys_",
    "__sys_",
    "sys_",
];

/// The name of the system call that a function is the entry of.
pub(super) fn syscall(function: &str) -> Option<&str> {
    SYSCALL_PREFIXES.iter().find_map(|prefix| function.strip_prefix(prefix))
}

/// Where tasks wait for something that another one holds up: which of them waits there, and what for,
/// says nothing about who is to blame. Wherever in the stack it is, this is its name.
const CROWDS: &[(&str, &[&str])] = &[
    ("rtnl_lock", &["rtnl_lock"]),
    (
        "synchronize_rcu",
        &["synchronize_rcu", "synchronize_srcu", "synchronize_net", "synchronize_sched"],
    ),
];

/// The name of the crowd that waits in a function, which says enough by itself.
pub(super) fn crowd(function: &str) -> Option<&'static str> {
    let is_of = |names: &[&str]| names.iter().any(|name| function.contains(name));
    CROWDS.iter().find(|(_, names)| is_of(names)).map(|(crowd, _)| *crowd)
}

/// The name of all functions that wait for other CPUs to do something: a CPU hangs in one because
/// another does.
pub(super) fn call_of_cpus(function: &str) -> Option<&'static str> {
    const CALL: &str = "smp_call_function";
    function.contains(CALL).then_some(CALL)
}

/// The name by which titles know the function: entries of system calls are spelled in a dozen ways.
pub(super) fn canonical(function: &str) -> String {
    let old = ["compat_SyS_", "compat_SYSC_", "C_SYSC_", "SyS_", "SYSC_"];
    if let Some(name) = old.iter().find_map(|prefix| function.strip_prefix(prefix)) {
        return name.to_owned();
    }
    match syscall(function) {
        Some(name) if function.starts_with("__") && !function.starts_with("__sys_") => {
            format!("sys_{name}")
        }
        _ => function.to_owned(),
    }
}
