//! The bugs: which kernel, what is done to it.

/// A kernel that bugs are shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Config {
    /// `logs/kernel/debug.config`: locking, hangs, objects, values, KFENCE.
    Debug,
    /// `logs/kernel/kasan.config`.
    Kasan,
}

impl Config {
    /// Its name, as that of its file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Config::Debug => "debug",
            Config::Kasan => "kasan",
        }
    }
}

/// A bug, and how it is made to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bug {
    /// The name of its log, and what is written to `/proc/death`.
    pub(crate) name: &'static str,
    /// On which kernel.
    pub(crate) config: Config,
    /// Appended to the kernel's command line.
    pub(crate) append: &'static str,
    /// What the guest's shell runs instead.
    pub(crate) run: Option<&'static str>,
    /// The guest's memory in MiB.
    pub(crate) memory: u64,
    /// The number of vCPUs.
    pub(crate) vcpus: u8,
}

impl Bug {
    /// What the guest's shell runs.
    pub(crate) fn command(&self) -> String {
        self.run.map_or_else(|| format!("echo {} > /proc/death", self.name), str::to_owned)
    }
}

const fn bug(config: Config, name: &'static str) -> Bug {
    Bug { name, config, append: "", run: None, memory: 256, vcpus: 1 }
}

/// Looking for leaks makes everything slower.
const fn debug(name: &'static str) -> Bug {
    Bug { append: "kmemleak=off", ..bug(Config::Debug, name) }
}

const fn kasan(name: &'static str) -> Bug {
    bug(Config::Kasan, name)
}

/// Only the objects that are misused are checked, and by nobody else.
const SLUB_DEBUG: &str = "kmemleak=off kfence.sample_interval=0 slub_debug=FZP,kmalloc-64";

/// Every bug that a log is made of.
pub(crate) const BUGS: &[Bug] = &[
    kasan("heap_read"),
    kasan("heap_write"),
    kasan("uaf_read"),
    kasan("uaf_write"),
    kasan("uaf_rcu"),
    kasan("uaf_work"),
    kasan("double_free"),
    kasan("invalid_free"),
    kasan("stack_read"),
    kasan("global_read"),
    kasan("vmalloc_read"),
    kasan("copy_out"),
    kasan("user_access"),
    kasan("wild_access"),
    Bug { name: "kasan_null_read", run: Some("echo null_read > /proc/death"), ..kasan("") },
    debug("null_read"),
    debug("null_write"),
    debug("null_call"),
    debug("page_fault"),
    debug("rodata_write"),
    debug("kfence_uaf"),
    debug("kfence_read"),
    debug("kfence_invalid_free"),
    debug("kfence_corruption"),
    Bug { append: SLUB_DEBUG, ..debug("slab_redzone") },
    Bug { append: SLUB_DEBUG, ..debug("slab_poison") },
    Bug {
        run: Some(
            "for i in 1 2 3 4; do (echo leak > /proc/death); done; sleep 6; \
             echo scan > /sys/kernel/debug/kmemleak; sleep 6; \
             echo scan > /sys/kernel/debug/kmemleak; cat /sys/kernel/debug/kmemleak",
        ),
        append: "sysctl.kernel.hung_task_timeout_secs=0",
        ..debug("leak")
    },
    debug("list_add"),
    debug("list_del"),
    debug("usercopy"),
    debug("fortify"),
    debug("stack_smash"),
    debug("stack_overflow"),
    debug("ubsan_bounds"),
    debug("ubsan_shift"),
    debug("ubsan_bool"),
    debug("divide"),
    debug("refcount_underflow"),
    debug("refcount_raised"),
    debug("refcount_saturated"),
    debug("refcount_leak"),
    debug("lockdep_circular"),
    debug("lockdep_recursive"),
    debug("lockdep_irq"),
    debug("lockdep_inversion"),
    debug("lockdep_wait_context"),
    debug("lockdep_key"),
    debug("unlock_balance"),
    debug("spin_magic"),
    debug("held_freed"),
    debug("held_return"),
    debug("held_exit"),
    debug("work_atomic"),
    debug("rcu_usage"),
    debug("rcu_sleep"),
    debug("odebug_free"),
    debug("odebug_init"),
    debug("atomic_sleep"),
    debug("atomic_schedule"),
    debug("preemptible"),
    debug("task_state"),
    Bug {
        append: "kmemleak=off nosoftlockup rcupdate.rcu_cpu_stall_timeout=4",
        ..debug("rcu_stall")
    },
    Bug {
        append: "kmemleak=off watchdog_thresh=2 rcupdate.rcu_cpu_stall_suppress=1",
        ..debug("soft_lockup")
    },
    debug("hung_task"),
    Bug {
        append: "kmemleak=off workqueue.watchdog_thresh=3 nosoftlockup rcupdate.rcu_cpu_stall_suppress=1",
        ..debug("workqueue_lockup")
    },
    debug("bug"),
    debug("warn"),
    debug("warn_text"),
    debug("irq_oops"),
    debug("ipi_oops"),
    debug("invalid_opcode"),
    debug("int3"),
    debug("double_fault"),
    debug("panic"),
    // What needs no bug in the kernel.
    Bug { append: "kmemleak=off rdinit=/bin/true", run: Some("true"), ..debug("init_exits") },
    Bug { run: Some("tail /dev/zero"), memory: 96, ..debug("out_of_memory") },
];
