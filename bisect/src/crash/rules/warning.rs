//! `WARN_ON()` and what is like it (kernel/panic.c, lib/bug.c).

use super::{Example, Find, Kind, Rule, Stack};

/// What is in every warning.
pub(in crate::crash) const HEADER: &str = "WARNING:";

const WARNING: &[(&str, Kind)] = &[("", Kind::Warning)];

const FRAME: &[Find] = &[Find::Pointer, Find::Trace];

/// The place in a `WARNING` line: `CPU: 1 PID: 2 at lib/f.c:3 f+0x1/0x2`, until 3.11 without CPU and
/// task, and since 6.18 `lib/f.c:3 at f+0x1/0x2, CPU#1: task/2`, maybe with the condition in brackets
/// before it. With words that stand in the name of the function, unless the kernel does not know which
/// one it is.
macro_rules! at {
    ($file:literal) => {
        concat!(
            r"WARNING: (?:CPU: {num} PID: {num} at |at |\[.*\] )?(?:[^ ]*/)?",
            $file,
            r":{num}(?: at)?"
        )
    };
    ($file:literal, $function:literal) => {
        concat!(at!($file), " (?:0x0,|[A-Za-z0-9_]*", $function, ")")
    };
}

const fn warning(line: &'static str, title: &'static str) -> Rule {
    Rule { header: HEADER, line, title, frame: FRAME, kind: WARNING, ..Rule::NEW }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        kind: &[("", Kind::Refcount)],
        ..warning(at!(r"refcount\.[ch]", "refcount_"), "WARNING: refcount bug in {frame}")
    },
    // Timers and work that go on although their memory goes: who frees it is to blame, and not who
    // runs it.
    Rule {
        skip: &[
            "*debug_*",
            "*timer_*",
            "*rcu*",
            "*work_*",
            "*percpu_*",
            "*vunmap*",
            "*vfree*",
            "*__free_*",
            "*kobject_*",
        ],
        ..warning(
            at!(r"lib/debugobjects\.c", "debug_(?:print|check)"),
            "WARNING: ODEBUG bug in {frame}",
        )
    },
    // A socket's lock is taken by whoever uses the socket.
    Rule {
        skip: &["*lock_sock*", "*release_sock*"],
        kind: &[("", Kind::Lockdep)],
        ..warning(at!(r"kernel/locking/lockdep\.c", "lock_"), "WARNING: locking bug in {frame}")
    },
    warning(at!(r"mm/usercopy\.c", "usercopy_"), "WARNING: bad usercopy in {frame}"),
    warning(at!(r"lib/kobject\.c", "kobject_"), "WARNING: kobject bug in {frame}"),
    Rule {
        skip: &["proc_*", "_proc_mkdir", "__proc_create"],
        ..warning(
            at!(r"fs/proc/generic\.c", "proc_register"),
            "WARNING: proc registration bug in {frame}",
        )
    },
    // More memory than there can be, wherever in mm/ that is noticed.
    Rule {
        examples: &[Example {
            title: "WARNING: kmalloc bug in asker",
            log: "WARNING: CPU: 1 PID: 2 at mm/util.c:597 kvmalloc_node+0x1/0x2 mm/util.c:597\n\
                  CPU: 1 PID: 2 Comm: a\nRIP: 0010:kvmalloc_node+0x1/0x2\nCall Trace:\n\
                  \u{20}kvmalloc_array+0x1/0x2\n asker+0x1/0x2\n caller+0x1/0x2\n",
        }],
        ..warning(
            concat!(at!(r"mm/[a-z_]+\.c"), r" k?[a-z]?malloc"),
            "WARNING: kmalloc bug in {frame}",
        )
    },
    warning(at!(r"mm/vmalloc\.c", "vmalloc_node_range"), "WARNING: zero-size vmalloc in {frame}"),
    Rule {
        skip: &[
            "usb_submit_urb",
            "usb_start_wait_urb",
            "usb_bulk_msg",
            "usb_control_msg*",
            "usb_internal_control_msg",
            "usb_interrupt_msg",
        ],
        ..warning(at!(r"drivers/usb/core/urb\.c"), "WARNING in {frame}/usb_submit_urb")
    },
    Rule {
        examples: &[
            Example {
                title: "WARNING in remover",
                log: "WARNING: CPU: 1 PID: 2 at fs/proc/generic.c:711 remove_proc_entry+0x1/0x2\n\
                  CPU: 1 PID: 2 Comm: a\nCall Trace:\n __warn+0x1/0x2\n remover+0x1/0x2\n caller+0x1/0x2\n",
            },
            Example {
                title: "WARNING in kvm_wait",
                log: "------------[ cut here ]------------\nraw_local_irq_restore() called with IRQs enabled\n\
                  WARNING: CPU: 2 PID: 1 at kernel/locking/irqflag-debug.c:10 warn_bogus_irq_restore+0x1d/0x20\n\
                  CPU: 2 PID: 1 Comm: a\nRIP: 0010:warn_bogus_irq_restore+0x1d/0x20\nCall Trace:\n\
                  \u{20}kvm_wait+0xc3/0xe0\n pv_wait_head_or_lock+0x1/0x2\n\
                  ---[ end trace 0000000000000000 ]---\n",
            },
            Example {
                title: "WARNING in loader",
                log: "WARNING: CPU: 1 PID: 2 at drivers/base/firmware_loader/fallback.c:3 loader+0x1/0x2\n\
                  CPU: 1 PID: 2 Comm: a\nRIP: 0010:loader+0x1/0x2\nCall Trace:\n caller+0x1/0x2\n",
            },
            Example {
                title: "WARNING in old_one",
                log: "WARNING: at fs/f.c:12 old_one+0x1/0x2()\nHardware name: Bochs\nModules linked in:\n\
                  Pid: 1, comm: a Not tainted 3.4.0 #1\nCall Trace:\n\
                  \u{20}[<ffffffff81000000>] warn_slowpath_common+0x1/0x2\n\
                  \u{20}[<ffffffff81000100>] old_one+0x1/0x2\n",
            },
        ],
        ..warning(at!(r"[^ ]+\.[chS]"), "WARNING in {frame}")
    },
    warning(r"WARNING: CPU: {num} PID: {num} at {func}", "WARNING in {frame}"),
    Rule {
        header: "WARNING:",
        line: r"WARNING: kernel stack (?P<what>regs|frame pointer) at .* has bad",
        title: "WARNING: kernel stack {what} has bad value",
        stack: Stack::Optional,
        examples: &[Example {
            title: "WARNING: kernel stack regs has bad value",
            log: "WARNING: kernel stack regs at 0000000012345678 in a:1 has bad 'bp' value 0000000012345678\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "WARNING:",
        line: r"WARNING: (?P<rest>.*)",
        title: "WARNING: {rest}",
        stack: Stack::Optional,
        vague: true,
        kind: WARNING,
        examples: &[Example { title: "WARNING: foo", log: "WARNING: foo\n" }],
        ..Rule::NEW
    },
];
