//! What does not go on: RCU stalls, lockups, hung tasks, stuck workqueues, and the machines that the
//! VMM itself found to hang.

use super::{Example, Find, Joins, Kind, Rule, Stack};

/// What a task waits for is not what it waits in.
const HANG_SKIP: &[&str] = &[
    "*sched*",
    "*_lock*",
    "*_slowlock*",
    "*down*",
    "*rwsem*",
    "*completion*",
    "*kthread*",
    "*wait*",
    "*synchronize*",
    "*context_switch*",
    "*__switch_to*",
    "*flush_work*",
    "*cancel_*work*",
    "*rcu_barrier*",
];

/// What found the stall is no part of it.
const STALL_SKIP: &[&str] = &["*rcu*", "*apic_timer_interrupt*"];

const HANG: &[(&str, Kind)] = &[("", Kind::Hang)];

/// What runs and does not stop running.
const STALL: Rule = Rule {
    alts: &["stall in {frame}"],
    frame: &[Find::Running],
    skip: STALL_SKIP,
    kind: HANG,
    ..Rule::NEW
};

const HARD_LOCKUP: Rule = Rule { title: "hard lockup in {frame}", ..STALL };

pub(super) const RULES: &[Rule] = &[
    // Written by `trial::hang`, which has found the guilty function already.
    Rule {
        header: "vmbisect: hang",
        line: r"^vmbisect: hang in {func}: ",
        title: "hang in {frame}",
        frame: &[Find::Named],
        stack: Stack::Optional,
        kind: HANG,
        examples: &[Example {
            title: "hang in kvm_wait",
            log: "vmbisect: hang in kvm_wait: every vCPU halted with interrupts off, silent for 2 s\n\n\
                  vCPU 0: halted, interrupts off, 0 requested, 0 in service, 10 exits\n\
                  RIP: 0010:kvm_wait+0x1/0x2\nCall Trace:\n kvm_wait+0x1/0x2\n do_dup2+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "vmbisect: hang",
        line: r"^vmbisect: hang: (?P<what>[a-zA-Z ]{1,64}), silent for",
        title: "hang: {what}",
        stack: Stack::Optional,
        kind: HANG,
        examples: &[Example {
            title: "hang: every vCPU idle",
            log: "vmbisect: hang: every vCPU idle, silent for 60 s\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "INFO: rcu",
        line: r"INFO: rcu_(?:sched|preempt|bh|state) (?:self-)?detected(?: expedited)? stalls?",
        title: "INFO: rcu detected stall in {frame}",
        frame: &[Find::Interrupted],
        examples: &[Example {
            title: "INFO: rcu detected stall in looper",
            log: "rcu: INFO: rcu_preempt self-detected stall on CPU\nrcu: \t0-....: (1 GPs behind)\n\
                  CPU: 0 PID: 1 Comm: a\nCall Trace:\n <IRQ>\n dump_stack+0x1/0x2\n apic_timer_interrupt+0x1/0x2\n </IRQ>\nRIP: 0010:inner+0x1/0x2\n middle+0x1/0x2\n\
                  \u{20}looper+0x1/0x2\n __x64_sys_ioctl+0x1/0x2\n do_syscall_64+0x1/0x2\n",
        }],
        ..STALL
    },
    Rule {
        header: "BUG: soft lockup",
        line: r"BUG: soft lockup",
        title: "BUG: soft lockup in {frame}",
        examples: &[Example {
            title: "BUG: soft lockup in looper",
            log: "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]\nCPU: 0 PID: 1 Comm: a\n\
                  RIP: 0010:inner+0x1/0x2\nCall Trace:\n <TASK>\n looper+0x1/0x2\n\
                  \u{20}__x64_sys_ioctl+0x1/0x2\n do_syscall_64+0x1/0x2\n",
        }],
        ..STALL
    },
    Rule {
        header: "hard LOCKUP",
        line: r"(?:Watchdog |self-| )detected hard LOCKUP",
        examples: &[Example {
            title: "hard lockup in guilty",
            log: "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:inner+0x1/0x2\n\
              Call Trace:\n\
              \u{20}guilty+0x1/0x2\n\
              \u{20}__x64_sys_ioctl+0x1/0x2\n\
              \u{20}do_syscall_64+0x1/0x2\n",
        }],
        ..HARD_LOCKUP
    },
    // The same on powerpc and on sparc.
    Rule {
        header: "ard LOCKUP",
        line: r"watchdog: CPU {num} Hard LOCKUP",
        examples: &[Example {
            title: "hard lockup in guilty",
            log: "watchdog: CPU 1 Hard LOCKUP\n\
              watchdog: CPU 1 TB:12345, last heartbeat TB:1234 (20000ms ago)\n\
              CPU: 1 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              NIP [c000000000001000] inner+0x1/0x2\n\
              LR [c000000000001100] guilty+0x1/0x2\n\
              Call Trace:\n\
              [c000000000003000] [c000000000001100] guilty+0x1/0x2\n\
              [c000000000003000] [c000000000001200] sys_ioctl+0x1/0x2\n",
        }],
        ..HARD_LOCKUP
    },
    Rule {
        header: "NMI Watchdog detected LOCKUP",
        line: r"(?:BUG: )?NMI Watchdog detected LOCKUP",
        examples: &[Example {
            title: "hard lockup in guilty",
            log: "BUG: NMI Watchdog detected LOCKUP on CPU0, ip 004049c8, registers:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}[00000000004049c8] inner+0x1/0x2\n\
              \u{20}[00000000004049d0] guilty+0x1/0x2\n\
              \u{20}[00000000004049e0] sys_ioctl+0x1/0x2\n",
        }],
        ..HARD_LOCKUP
    },
    Rule {
        header: "INFO: task ",
        line: r"INFO: task .* blocked (?:in I/O wait )?for more than {num} seconds",
        title: "INFO: task hung in {frame}",
        alts: &["hang in {frame}"],
        frame: &[Find::Waiting],
        skip: HANG_SKIP,
        joins: Joins::Same,
        kind: HANG,
        examples: &[Example {
            title: "INFO: task hung in sleeper",
            log: "INFO: task a:1 blocked for more than 120 seconds.\n      Not tainted 6.1.0 #1\n\
                  task:a state:D stack:0 pid:1\nCall Trace:\n <TASK>\n __schedule+0x1/0x2\n\
                  \u{20}schedule+0x1/0x2\n sleeper+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "INFO: rcu",
        line: r"INFO: rcu_tasks(?:_[a-z]+)? detected stalls",
        title: "INFO: rcu detected stall in {frame}",
        examples: &[Example {
            title: "INFO: rcu detected stall in guilty",
            log: "INFO: rcu_tasks detected stalls on tasks:\n\
              00000000abcdef01: .. nvcsw: 1/1 holdout: 1 idle_cpu: -1/0\n\
              Call Trace:\n\
              \u{20}inner+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n\
              \u{20}do_syscall_64+0x1/0x2\n",
        }],
        ..STALL
    },
    Rule {
        header: "INFO: task ",
        line: r"INFO: task .* can't die for more than {num} seconds",
        title: "INFO: task can't die in {frame}",
        alts: &["hang in {frame}"],
        frame: &[Find::Waiting],
        skip: HANG_SKIP,
        joins: Joins::Same,
        kind: HANG,
        examples: &[Example {
            title: "INFO: task can't die in guilty",
            log: "INFO: task a:1 can't die for more than 120 seconds.\n\
              task:a state:R stack:0 pid:1\n\
              Call Trace:\n\
              \u{20}__schedule+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: workqueue lockup",
        line: r"BUG: workqueue lockup",
        title: "BUG: workqueue lockup",
        stack: Stack::Optional,
        kind: HANG,
        examples: &[Example {
            title: "BUG: workqueue lockup",
            log: "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "unregister_netdevice: waiting for",
        line: r"unregister_netdevice: waiting for (?P<dev>[a-zA-Z]+)[^ ]* to become free",
        title: "unregister_netdevice: waiting for DEV to become free",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        joins: Joins::Any,
        examples: &[Example {
            title: "unregister_netdevice: waiting for DEV to become free",
            log: "unregister_netdevice: waiting for lo to become free. Usage count = 2\n",
        }],
        ..Rule::NEW
    },
];
