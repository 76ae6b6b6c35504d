//! Panics without a report of their own before them.

use super::{Example, Find, Joins, Kind, Rule, Stack};

const DOS: &[(&str, Kind)] = &[("", Kind::DoS)];

pub(super) const RULES: &[Rule] = &[
    // Said after the report of what really happened, which is missing here.
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: (?:[A-Za-z ]+: )?(?P<why>Fatal exception|Fatal machine check|panic_on_warn set|kmsan\.panic set|hung_task: blocked tasks|softlockup: hung tasks|Hard LOCKUP|RCU Stall|panic_on_oops)",
        title: "kernel panic: {why}",
        stack: Stack::Corrupted,
        kind: DOS,
        joins: Joins::Any,
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: stack-protector:.* corrupted in: (?:{func})?",
        title: "kernel panic: stack is corrupted in {frame}",
        frame: &[Find::Trace, Find::Known],
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "kernel panic: stack is corrupted in guilty",
            log: "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: guilty+0x1/0x2\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}panic+0x1/0x2\n\
              \u{20}__stack_chk_fail+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        title: "kernel panic: corrupted stack end in {frame}",
        alts: &["stack-overflow in {frame}"],
        frame: &[Find::Entry],
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "kernel panic: corrupted stack end in guilty",
            log: "Kernel panic - not syncing: corrupted stack end detected inside scheduler\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}panic+0x1/0x2\n\
              \u{20}__schedule+0x1/0x2\n\
              \u{20}inner+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n\
              \u{20}process_one_work+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: Attempted to kill init!",
        title: "kernel panic: Attempted to kill init!",
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "kernel panic: Attempted to kill init!",
            log: "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: (?P<why>VFS: Unable to mount root fs.*)",
        title: "kernel panic: {why}",
        stack: Stack::Optional,
        kind: DOS,
        examples: &[Example {
            title: "kernel panic: VFS: Unable to mount root fs on unknown-block(NUM,NUM)",
            log: "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
        }],
        joins: Joins::Any,
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: Couldn't open N_TTY ldisc",
        title: "kernel panic: Couldn't open N_TTY ldisc",
        stack: Stack::Optional,
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "kernel panic: Couldn't open N_TTY ldisc",
            log: "Kernel panic - not syncing: Couldn't open N_TTY ldisc for ptm1 --- error -12.\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: (?P<why>.*)",
        title: "kernel panic: {why}",
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "kernel panic: sysrq triggered crash",
            log: "Kernel panic - not syncing: sysrq triggered crash\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
];
