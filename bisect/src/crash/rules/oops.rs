//! Oopses: page faults, protection faults, `BUG()` and other exceptions (arch/*/mm/fault.c,
//! arch/*/kernel/traps.c).

use super::{Example, Find, Kind, Rule, Stack};

const ACCESS: &[Find] = &[Find::Pointer, Find::Trace];
const DOS: &[(&str, Kind)] = &[("", Kind::DoS)];

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "nable to handle kernel",
        line: r"(?:BUG: )?[uU]nable to handle kernel NULL pointer dereference",
        title: "BUG: unable to handle kernel NULL pointer dereference in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::NullPointerDereference)],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: kernel NULL pointer dereference",
        title: "BUG: unable to handle kernel NULL pointer dereference in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::NullPointerDereference)],
        examples: &[Example {
            title: "BUG: unable to handle kernel NULL pointer dereference in follower",
            log: "BUG: kernel NULL pointer dereference, address: 0000000000000000\n\
                  #PF: supervisor read access in kernel mode\nOops: 0000 [#1] PREEMPT SMP\n\
                  CPU: 0 PID: 1 Comm: a\nRIP: 0010:follower+0x1/0x2\nCall Trace:\n <TASK>\n\
                  \u{20}caller+0x1/0x2\n </TASK>\n---[ end trace 0000000000000000 ]---\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "nable to handle kernel",
        line: r"(?:BUG: )?[uU]nable to handle kernel (?P<what>access to user memory|instruction fetch|execution of user memory|unaligned access|data access)",
        title: "BUG: unable to handle kernel {what} in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        ..Rule::NEW
    },
    Rule {
        header: "nable to handle kernel",
        line: r"(?:BUG: )?[uU]nable to handle kernel (?:paging request|pointer dereference|page fault)",
        title: "BUG: unable to handle kernel paging request in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::MemorySafetyBug)],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: unable to handle page fault for address",
        title: "BUG: unable to handle kernel paging request in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::MemorySafetyBug)],
        ..Rule::NEW
    },
    Rule {
        header: "eneral protection fault",
        line: r"(?:Oops: )?general protection fault(?:, probably|: |, )",
        title: "general protection fault in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "general protection fault in follower",
            log: "general protection fault: 0000 [#1] SMP\nCPU: 0 PID: 1 Comm: a\n\
                  RIP: 0010:follower+0x1/0x2\nCall Trace:\n caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "stack segment: ",
        line: r"stack segment: ",
        title: "stack segment fault in {frame}",
        frame: ACCESS,
        kind: DOS,
        ..Rule::NEW
    },
    Rule {
        header: "divide",
        line: r"divide[ _]error: ",
        title: "divide error in {frame}",
        frame: ACCESS,
        kind: DOS,
        ..Rule::NEW
    },
    Rule {
        header: "int3: ",
        line: r"int3: ",
        title: "int3 in {frame}",
        frame: ACCESS,
        kind: DOS,
        ..Rule::NEW
    },
    Rule {
        header: "rust_kernel: panicked",
        line: r"rust_kernel: panicked",
        title: "rust_kernel panicked in {frame}",
        frame: ACCESS,
        kind: DOS,
        ..Rule::NEW
    },
    Rule {
        header: "invalid opcode: ",
        line: r"invalid opcode: ",
        title: "invalid opcode in {frame}",
        frame: ACCESS,
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "ernel BUG at",
        line: r"[kK]ernel BUG at (?:[^ ]*/)?mm/usercopy\.c",
        title: "BUG: bad usercopy in {frame}",
        frame: ACCESS,
        kind: &[("", Kind::Bug)],
        ..Rule::NEW
    },
    Rule {
        header: "ernel BUG at",
        line: r"[kK]ernel BUG at",
        title: "kernel BUG in {frame}",
        frame: ACCESS,
        kind: &[("", Kind::Bug)],
        examples: &[Example {
            title: "kernel BUG in asserter",
            log: "------------[ cut here ]------------\nkernel BUG at lib/f.c:12!\n\
                  invalid opcode: 0000 [#1] SMP\nCPU: 0 PID: 1 Comm: a\nRIP: 0010:asserter+0x1/0x2\n\
                  Call Trace:\n caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "Internal error:",
        line: r"Internal error:",
        title: "Internal error in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "Unhandled fault:",
        line: r"Unhandled fault:",
        title: "Unhandled fault in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: DOS,
        ..Rule::NEW
    },
    Rule {
        header: "PANIC: double fault",
        line: r"PANIC: double fault",
        title: "PANIC: double fault in {frame}",
        frame: ACCESS,
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "stack guard page was hit",
        line: r"BUG: (?:[A-Z]+ )?stack guard page was hit",
        title: "BUG: stack guard page was hit in {frame}",
        alts: &["stack-overflow in {frame}"],
        frame: &[Find::Entry],
        ..Rule::NEW
    },
    Rule {
        header: "Alignment trap:",
        line: r"Alignment trap:",
        title: "Alignment trap in corrupted",
        stack: Stack::Corrupted,
        kind: DOS,
        ..Rule::NEW
    },
];
