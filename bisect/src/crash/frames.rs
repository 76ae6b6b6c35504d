//! Functions that are never to blame: they say that something is wrong, or do what they were told.

use std::{collections::HashSet, sync::LazyLock};

/// Functions that are passed over when the guilty one is looked for.
const INNOCENT: &str = include_str!("innocent.txt");

/// A list of names, sorted for looking up.
struct Names {
    exact: HashSet<&'static str>,
    /// Those with a `*`, as what stands before it and behind it.
    wild: Vec<(&'static str, &'static str)>,
}

static INNOCENTS: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { exact: HashSet::new(), wild: Vec::new() };
    let lines = INNOCENT.lines().filter(|line| !line.starts_with('#'));
    for name in lines.flat_map(str::split_ascii_whitespace) {
        match name.split_once('*') {
            Some(parts) => names.wild.push(parts),
            None => {
                names.exact.insert(name);
            }
        }
    }
    names
});

/// Whether a function is never to blame.
pub(super) fn is_innocent(function: &str) -> bool {
    INNOCENTS.exact.contains(function)
        || INNOCENTS.wild.iter().any(|&(start, end)| is_like(function, start, end))
}

fn is_like(function: &str, start: &str, end: &str) -> bool {
    function.strip_prefix(start).is_some_and(|rest| match end.strip_suffix('*') {
        Some(middle) => rest.contains(middle),
        None => rest.ends_with(end),
    })
}

/// Whether a name is in a list of that form.
pub(super) fn is_in(function: &str, list: &[&str]) -> bool {
    list.iter().any(|name| match name.split_once('*') {
        Some((start, end)) => is_like(function, start, end),
        None => function == *name,
    })
}

/// Functions that hand work on to others: what a CPU hangs in is the function just below one of
/// these.
const DISPATCHERS: &[&str] = &[
    "do_syscall_*",
    "__do_fast_syscall*",
    "do_fast_syscall*",
    "entry_SYSCALL*",
    "el0_svc*",
    "invoke_syscall*",
    "ret_fast_syscall",
    "x64_sys_call",
    "process_one_work",
    "kthread",
    "do_softirq*",
    "__do_softirq",
    "handle_softirqs",
    "call_timer_fn",
    "__run_timers",
    "run_timer_softirq",
    "__hrtimer_run_queues",
    "__run_hrtimer",
    "hrtimer_run_softirq",
    "tasklet_action*",
    "__netif_receive_skb*",
    "netif_receive_skb*",
    "do_one_initcall",
    "__handle_irq_event_percpu",
    "rtnetlink_rcv_msg",
    "nfnetlink_rcv_msg",
    "nfnetlink_rcv*",
    "genl_rcv_msg",
    "genl_family_rcv_msg*",
    "netlink_rcv_skb",
    "netlink_dump",
    "genl_*dumpit",
    "exit_to_usermode_loop",
    "task_work_run",
    "____fput",
    "__fput",
    "__do_fault",
    "compat_ioctl*",
    "*_compat_ioctl",
    "mmap_region",
    "do_mmap*",
    "call_mmap",
    "load_elf_binary",
];

/// System calls by which one gets anywhere: the function that they called says more than they do.
const GATES: &[&str] = &[
    "ioctl",
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv*",
    "pwritev*",
    "sendto",
    "sendmsg",
    "connect",
    "bind",
    "accept*",
    "setsockopt",
    "getsockopt",
    "close",
    "openat*",
    "open",
    "socket",
    "socketpair",
    "sendfile*",
    "splice",
    "fcntl*",
];

/// Whether a function hands work on.
pub(super) fn is_dispatcher(function: &str) -> bool {
    is_in(function, DISPATCHERS)
        || syscall(function).is_some_and(|name| is_in(name, GATES))
        || is_in(
            function,
            &[
                "vfs_ioctl",
                "do_vfs_ioctl",
                "call_read_iter",
                "call_write_iter",
                "vfs_read",
                "vfs_write",
                "new_sync_write",
                "new_sync_read",
                "__vfs_read",
                "__vfs_write",
            ],
        )
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

/// Functions that are one and the same to whom waits in them.
const FAMILIES: &[(&str, &[&str])] = &[
    ("smp_call_function", &["smp_call_function*"]),
    (
        "synchronize_rcu",
        &[
            "synchronize_rcu*",
            "__synchronize_rcu*",
            "synchronize_srcu*",
            "__synchronize_srcu*",
            "synchronize_sched*",
            "_synchronize_rcu*",
        ],
    ),
];

/// The name by which titles know the function: entries of system calls are spelled in a dozen ways.
pub(super) fn canonical(function: &str) -> String {
    if let Some((family, _)) = FAMILIES.iter().find(|(_, names)| is_in(function, names)) {
        return (*family).to_owned();
    }
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
