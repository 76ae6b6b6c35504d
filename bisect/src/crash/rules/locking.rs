//! The locking rules: lockdep's reports (kernel/locking/lockdep.c), the debug checks of the locks
//! themselves, sleeping and switching where that is forbidden.

use super::{Example, Find, Kind, Lost, Rule, Stack};

/// A report whose title is the line that begins it has lost the rest.
const LOCKDEP: &[(&str, Kind)] = &[(" detected", Kind::Warning), ("", Kind::Lockdep)];
const ATOMIC: &[(&str, Kind)] = &[("", Kind::AtomicSleep)];

/// Where a lock was taken: `(lock){+.+.}, at: f+0x1/0x2`.
const AT: &[Find] = &[Find::Line(AT_LINE), Find::Trace, Find::NamedLine(AT_LINE)];
const AT_LINE: &str = r"at: (?:\[<{addr}>\] )?{func}";

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "possible ",
        line: r"(?:WARNING: |INFO: )?possible (?:circular|recursive|irq lock inversion|irq) .*detected",
        more: &[r"is trying to acquire lock|just changed the state of lock"],
        lost: Lost::Line,
        title: "possible deadlock in {frame}",
        frame: AT,
        kind: LOCKDEP,
        examples: &[Example {
            title: "possible deadlock in taker",
            log: "WARNING: possible circular locking dependency detected\n6.1.0 #1 Not tainted\n\
                  a/1 is trying to acquire lock:\n (&x){+.+.}, at: taker+0x1/0x2\n\n\
                  but task is already holding lock:\n (&y){+.+.}, at: holder+0x1/0x2\n\n\
                  stack backtrace:\nCall Trace:\n dump_stack+0x1/0x2\n taker+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "-safe -> ",
        line: r"(?:WARNING: |INFO: )?[A-Z_-]+-safe -> [A-Z_-]+-unsafe lock order detected",
        more: &[r"is trying to acquire"],
        lost: Lost::Line,
        title: "possible deadlock in {frame}",
        frame: &[Find::TraceAfter("which became"), Find::Line(AT_LINE), Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "possible deadlock in guilty",
            log: "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected\n\
              a/1 [HC0[0]:SC0[2]:HE1:SE0] is trying to acquire:\n\
              \u{20}(&x){+.+.}, at: other+0x1/0x2\n\
              \n\
              but this new dependency connects a SOFTIRQ-irq-safe lock:\n\
              \u{20}(&y){+.-.}\n\
              \n\
              ... which became SOFTIRQ-irq-safe at:\n\
              \u{20}lock_acquire+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n\
              \n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "inconsistent lock state",
        line: r"(?:WARNING: |INFO: )?inconsistent lock state",
        more: &[r"takes:", AT_LINE],
        lost: Lost::Line,
        title: "inconsistent lock state in {frame}",
        frame: &[Find::Known, Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "inconsistent lock state in guilty",
            log: "WARNING: inconsistent lock state\n\
              6.1.0 #1 Not tainted\n\
              inconsistent {SOFTIRQ-ON-W} -> {IN-SOFTIRQ-W} usage.\n\
              a/1 [HC0[0]:SC1[1]:HE1:SE0] takes:\n\
              \u{20}(&x){+.?.}, at: guilty+0x1/0x2\n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "suspicious ",
        line: r"(?P<what>WARNING|INFO): suspicious (?:RCU|rcu_dereference_check\(\)) usage",
        more: &[r"other info that might help"],
        lost: Lost::Line,
        title: "{what}: suspicious RCU usage in {frame}",
        frame: &[Find::Trace],
        skip: &["*rcu*", "*kmem*", "*slab*"],
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: suspicious RCU usage in guilty",
            log: "WARNING: suspicious RCU usage\n\
              6.1.0 #1 Not tainted\n\
              lib/f.c:12 suspicious rcu_dereference_check() usage!\n\
              \n\
              other info that might help us debug this:\n\
              \n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "still has locks held",
        line: r"(?P<what>WARNING|BUG): .* still has locks held",
        title: "{what}: still has locks held in {frame}",
        frame: AT,
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: still has locks held in guilty",
            log: "WARNING: a/1 still has locks held!\n\
              6.1.0 #1 Not tainted\n\
              a/1 is doing it:\n\
              \u{20}(&x){+.+.}, at: guilty+0x1/0x2\n\
              \n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "lock held when returning to user space",
        line: r"(?P<what>WARNING|BUG): lock held when returning to user space",
        title: "{what}: lock held when returning to user space in {frame}",
        frame: AT,
        stack: Stack::Optional,
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: lock held when returning to user space in guilty",
            log: "WARNING: lock held when returning to user space!\n\
              6.1.0 #1 Not tainted\n\
              a/1 is leaving the kernel with locks still held!\n\
              1 lock held by a/1:\n\
              \u{20}#0: (&x){+.+.}, at: guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "bad unlock balance",
        line: r"WARNING: bad unlock balance detected",
        more: &[r"is trying to release lock"],
        title: "WARNING: bad unlock balance in {frame}",
        frame: &[Find::TraceAfter(r"is trying to release lock"), Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: bad unlock balance in letgo",
            log: "WARNING: bad unlock balance detected!\n6.1.0 #1 Not tainted\n\
                  a/1 is trying to release lock (x) at:\n[<00000000c4ef30ff>] letgo+0x1/0x2\n\
                  but there are no more locks to release!\n\nstack backtrace:\nCall Trace:\n\
                  \u{20}dump_stack+0x1/0x2\n letgo+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "bad unlock balance",
        line: r"BUG: bad unlock balance detected",
        more: &[r"is trying to release lock"],
        title: "BUG: bad unlock balance in {frame}",
        frame: &[Find::TraceAfter(r"is trying to release lock"), Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "BUG: bad unlock balance in guilty",
            log: "[ BUG: bad unlock balance detected! ]\n\
              6.1.0 #1 Not tainted\n\
              a/1 is trying to release lock (x) at:\n\
              [<ffffffff81000000>] guilty+0x1/0x2\n\
              but there are no more locks to release!\n\
              \n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "bad contention detected",
        line: r"(?P<what>WARNING|BUG): bad contention detected",
        title: "{what}: bad contention in {frame}",
        frame: &[Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: bad contention in guilty",
            log: "WARNING: bad contention detected!\n\
              6.1.0 #1 Not tainted\n\
              a/1 is trying to contend lock (x) at:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "held lock freed",
        line: r"(?P<what>WARNING|BUG): held lock freed",
        title: "{what}: held lock freed in {frame}",
        frame: AT,
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: held lock freed in guilty",
            log: "WARNING: held lock freed!\n\
              6.1.0 #1 Not tainted\n\
              a/1 is doing it:\n\
              \u{20}(&x){+.+.}, at: guilty+0x1/0x2\n\
              \n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "ested lock was not taken",
        line: r"(?P<what>WARNING|BUG): [Nn]ested lock was not taken",
        title: "{what}: nested lock was not taken in {frame}",
        frame: AT,
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: nested lock was not taken in guilty",
            log: "WARNING: Nested lock was not taken\n\
              6.1.0 #1 Not tainted\n\
              a/1 is doing it:\n\
              \u{20}(&x){+.+.}, at: guilty+0x1/0x2\n\
              \n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "nvalid wait context",
        line: r"BUG: [Ii]nvalid wait context",
        title: "WARNING: locking bug in {frame}",
        frame: &[Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "WARNING: locking bug in guilty",
            log: "[ BUG: Invalid wait context ]\n\
              6.1.0 #1 Not tainted\n\
              a/1 is trying to lock:\n\
              \u{20}(&x){....}-{3:3}, at: guilty+0x1/0x2\n\
              stack backtrace:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "trying to register non-static key",
        line: r"INFO: trying to register non-static key",
        title: "INFO: trying to register non-static key in {frame}",
        frame: &[Find::Trace],
        examples: &[Example {
            title: "INFO: trying to register non-static key in guilty",
            log: "INFO: trying to register non-static key.\n\
              the code is fine but needs lockdep annotation.\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: (?P<what>(?:spinlock|rwlock|mutex|rwsem|rtmutex)[ -][A-Za-z ]*?)(?: on CPU|,| detected|$)",
        title: "BUG: {what} in {frame}",
        frame: &[Find::Trace],
        kind: LOCKDEP,
        examples: &[
            Example {
                title: "BUG: spinlock bad magic in user",
                log: "BUG: spinlock bad magic on CPU#0, a/1\n lock: 0xffff8880, .magic: 00000000\n\
                  CPU: 0 PID: 1 Comm: a\nCall Trace:\n dump_stack+0x1/0x2\n spin_bug+0x1/0x2\n\
                  \u{20}do_raw_spin_lock+0x1/0x2\n user+0x1/0x2\n",
            },
            Example {
                title: "BUG: rwlock-lockup in user",
                log: "BUG: rwlock-lockup on CPU#0, a/1, 00000000abcdef01\n\
                  CPU: 0 PID: 1 Comm: a\nCall Trace:\n dump_stack+0x1/0x2\n\
                  \u{20}do_raw_write_lock+0x1/0x2\n user+0x1/0x2\n",
            },
        ],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: (?P<what>MAX_[A-Z_]+ too low)",
        title: "BUG: {what}!",
        stack: Stack::Optional,
        examples: &[Example {
            title: "BUG: MAX_LOCKDEP_KEYS too low!",
            log: "BUG: MAX_LOCKDEP_KEYS too low!\n\
              turning off the locking correctness validator.\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: using (?P<what>[a-z_]+\(\)) in preemptible",
        title: "BUG: using {what} in preemptible code in {frame}",
        frame: &[Find::Trace],
        kind: LOCKDEP,
        examples: &[Example {
            title: "BUG: using smp_processor_id() in preemptible code in guilty",
            log: "BUG: using smp_processor_id() in preemptible [00000000] code: a/1\n\
              caller is guilty+0x1/0x2\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: sleeping function called from invalid context",
        title: "BUG: sleeping function called from invalid context in {frame}",
        frame: &[Find::Trace],
        kind: ATOMIC,
        examples: &[Example {
            title: "BUG: sleeping function called from invalid context in sleeper",
            log: "BUG: sleeping function called from invalid context at mm/slab.h:1\n\
                  in_atomic(): 1, irqs_disabled(): 0, pid: 1, name: a\nCPU: 0 PID: 1 Comm: a\n\
                  Call Trace:\n dump_stack+0x1/0x2\n ___might_sleep.cold+0x1/0x2\n\
                  \u{20}kmem_cache_alloc+0x1/0x2\n sleeper+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: assuming (?P<what>atomic|non migratable) context",
        title: "BUG: assuming {what} context in {frame}",
        frame: &[Find::Trace],
        kind: ATOMIC,
        examples: &[Example {
            title: "BUG: assuming atomic context in guilty",
            log: "BUG: assuming atomic context at lib/f.c:12\n\
              in_atomic(): 0, irqs_disabled(): 0, pid: 1, name: a\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: workqueue leaked (?:lock|atomic)",
        more: &[r"(?:last function: |workfn=){func}"],
        title: "BUG: workqueue leaked lock or atomic in {frame}",
        frame: &[Find::Known],
        kind: LOCKDEP,
        examples: &[
            Example {
                title: "BUG: workqueue leaked lock or atomic in guilty",
                log: "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/17\n\
              \u{20}    last function: guilty+0x1/0x2\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
            },
            Example {
                title: "BUG: workqueue leaked lock or atomic in guilty",
                log: "BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[17]\n\
              \u{20}    preempt=0x00000000 lock=0->1 RCU=0->0 workfn=guilty\n\
              CPU: 0 UID: 0 PID: 17 Comm: kworker/0:1 Not tainted 6.12.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack_lvl+0x1/0x2\n\
              \u{20}process_one_work+0x1/0x2\n",
            },
        ],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: scheduling (?:while atomic|in a non-blocking section)",
        title: "BUG: scheduling while atomic in {frame}",
        frame: &[Find::Trace],
        kind: ATOMIC,
        examples: &[Example {
            title: "BUG: scheduling while atomic in guilty",
            log: "BUG: scheduling while atomic: a/1/0x00000002\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}__schedule_bug+0x1/0x2\n\
              \u{20}__schedule+0x1/0x2\n\
              \u{20}schedule+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
];
