//! Oopses: page faults, protection faults, `BUG()` and other exceptions (arch/*/mm/fault.c,
//! arch/*/kernel/traps.c).

use super::{Example, Find, Joins, Kind, Rule, Stack};

const ACCESS: &[Find] = &[Find::Pointer, Find::Trace];
const DOS: &[(&str, Kind)] = &[("", Kind::DoS)];

/// The line that all oopses have, with their number. Most have said more before it; what follows the
/// first one of a boot follows from it.
const NUMBERED: Rule =
    Rule { title: "{what} in {frame}", frame: ACCESS, kind: DOS, joins: Joins::Any, ..Rule::NEW };

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "nable to handle kernel",
        line: r"(?:BUG: )?[uU]nable to handle kernel NULL pointer dereference",
        title: "BUG: unable to handle kernel NULL pointer dereference in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::NullPointerDereference)],
        examples: &[Example {
            title: "BUG: unable to handle kernel NULL pointer dereference in guilty",
            log: "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008\n\
              Mem abort info:\n\
              Internal error: Oops: 96000006 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              pc : guilty+0x1/0x2\n\
              lr : caller+0x1/0x2\n\
              Call trace:\n\
              \u{20}guilty+0x1/0x2\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: [kK]ernel NULL pointer dereference",
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
        line: r"(?:BUG: )?[uU]nable to handle kernel (?:paging request|pointer dereference|page fault|data access)",
        title: "BUG: unable to handle kernel paging request in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::MemorySafetyBug)],
        examples: &[Example {
            title: "BUG: unable to handle kernel paging request in guilty",
            log: "BUG: unable to handle kernel paging request at ffffc90000000000\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "nable to handle kernel",
        line: r"(?:BUG: )?[uU]nable to handle kernel (?P<what>[a-z][a-z -]*?)(?: (?:at|on|in|without|outside) | ?[\[(.]|$)",
        title: "BUG: unable to handle kernel {what} in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        examples: &[
            Example {
                title: "BUG: unable to handle kernel access to user memory in guilty",
                log: "Unable to handle kernel access to user memory without uaccess routines at virtual address 0000000020000000\n\
              Oops [#1]\n\
              epc : guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
            },
            Example {
                title: "BUG: unable to handle kernel instruction fetch in caller",
                log: "BUG: Unable to handle kernel instruction fetch (NULL pointer?)\n\
              Faulting instruction address: 0x00000000\n\
              Oops: Kernel access of bad area, sig: 11 [#1]\n\
              NIP [0000000000000000] 0x0\n\
              LR [c000000000001100] caller+0x1/0x2\n\
              Call Trace:\n\
              [c000000000003000] [c000000000001100] caller+0x1/0x2\n",
            },
            Example {
                title: "BUG: unable to handle kernel write to read-only memory in guilty",
                log: "Unable to handle kernel write to read-only memory at virtual address ffff800010000000\n\
              Internal error: Oops: 9600004f [#1] PREEMPT SMP\n\
              pc : guilty+0x1/0x2\n\
              lr : caller+0x1/0x2\n\
              Call trace:\n\
              \u{20}guilty+0x1/0x2\n\
              \u{20}caller+0x1/0x2\n",
            },
        ],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: unable to handle page fault for address",
        title: "BUG: unable to handle kernel paging request in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: &[("", Kind::MemorySafetyBug)],
        examples: &[Example {
            title: "BUG: unable to handle kernel paging request in guilty",
            log: "BUG: unable to handle page fault for address: ffffc90000000000\n\
              #PF: supervisor write access in kernel mode\n\
              Oops: 0002 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
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
        line: r"(?:Oops: )?stack segment: ",
        title: "stack segment fault in {frame}",
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "stack segment fault in guilty",
            log: "stack segment: 0000 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "divide",
        line: r"(?:Oops: )?divide[ _]error: ",
        title: "divide error in {frame}",
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "divide error in guilty",
            log: "divide error: 0000 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "int3: ",
        line: r"(?:Oops: )?int3: ",
        title: "int3 in {frame}",
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "int3 in guilty",
            log: "int3: 0000 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "rust_kernel: panicked",
        line: r"rust_kernel: panicked",
        title: "rust_kernel panicked in {frame}",
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "rust_kernel panicked in guilty",
            log: "rust_kernel: panicked at 'explicit panic', drivers/f.rs:12:3\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "invalid opcode: ",
        line: r"(?:Oops: )?invalid opcode: ",
        title: "invalid opcode in {frame}",
        frame: ACCESS,
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "invalid opcode in guilty",
            log: "invalid opcode: 0000 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "ernel BUG ",
        line: r"[kK]ernel BUG at (?:[^ ]*/)?mm/usercopy\.c",
        title: "BUG: bad usercopy in {frame}",
        frame: ACCESS,
        kind: &[("", Kind::Bug)],
        examples: &[Example {
            title: "BUG: bad usercopy in guilty",
            log: "kernel BUG at mm/usercopy.c:102!\n\
              invalid opcode: 0000 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:usercopy_abort+0x1/0x2\n\
              Call Trace:\n\
              \u{20}__check_object_size+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "ernel BUG ",
        line: r"[kK]ernel BUG at (?:[^ ]*/)?lib/list_debug\.c",
        title: "BUG: corrupted list in {frame}",
        frame: ACCESS,
        skip: &["*list_*"],
        kind: &[("", Kind::MemorySafetyBug)],
        examples: &[Example {
            title: "BUG: corrupted list in unlinker",
            log: "list_del corruption, ffff888000000000->next is LIST_POISON1 (dead000000000100)\n\
              ------------[ cut here ]------------\n\
              kernel BUG at lib/list_debug.c:56!\n\
              invalid opcode: 0000 [#1] PREEMPT SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:__list_del_entry_valid+0x1/0x2\n\
              Call Trace:\n\
              \u{20}unlinker+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "ernel BUG ",
        line: r"[kK]ernel BUG (?:at|\[verbose debug info unavailable\])",
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
        joins: Joins::Any,
        examples: &[Example {
            title: "Internal error in guilty",
            log: "Internal error: synchronous external abort: 96000010 [#1] SMP\n\
              pc : guilty+0x1/0x2\n\
              Call trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "Unhandled fault:",
        line: r"Unhandled fault:",
        title: "Unhandled fault in {frame}",
        alts: &["bad-access in {frame}"],
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "Unhandled fault in guilty",
            log: "Unhandled fault: page domain fault (0x01b) at 0x20000000\n\
              Internal error: : 1b [#1] PREEMPT SMP ARM\n\
              PC is at guilty+0x1/0x2\n\
              LR is at caller+0x1/0x2\n\
              Backtrace:\n\
              [<80100000>] (guilty) from [<80100100>] (caller+0x1/0x2)\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "PANIC: double fault",
        line: r"PANIC: double fault",
        title: "PANIC: double fault in {frame}",
        frame: ACCESS,
        kind: DOS,
        joins: Joins::Any,
        examples: &[Example {
            title: "PANIC: double fault in guilty",
            log: "PANIC: double fault, error_code: 0x0\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "PANIC: early exception",
        line: r"PANIC: early exception",
        title: "PANIC: early exception in {frame}",
        frame: ACCESS,
        kind: DOS,
        examples: &[Example {
            title: "PANIC: early exception in guilty",
            log: "PANIC: early exception 0x0e IP 10:ffffffff81000000 error 0 cr2 0xffff888000000000\n\
              CPU: 0 PID: 0 Comm: swapper Not tainted 6.1.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\n\
              Call Trace:\n\
              \u{20}caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "stack guard page was hit",
        line: r"BUG: (?:[A-Z]+ )?stack guard page was hit",
        title: "BUG: stack guard page was hit in {frame}",
        alts: &["stack-overflow in {frame}"],
        frame: &[Find::Entry],
        examples: &[Example {
            title: "BUG: stack guard page was hit in guilty",
            log: "BUG: stack guard page was hit at ffffc90000000ff8 (stack is ffffc90000001000..ffffc90000008fff)\n\
              kernel stack overflow (double-fault): 0000 [#1] SMP\n\
              RIP: 0010:inner+0x1/0x2\n\
              Call Trace:\n\
              \u{20}recursive+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n\
              \u{20}rtnetlink_rcv_msg+0x1/0x2\n\
              \u{20}netlink_rcv_skb+0x1/0x2\n",
        }],
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
    // Exceptions that nothing but their names says before (arch/x86/kernel/traps.c,
    // arch/s390/kernel/traps.c).
    Rule {
        header: " [#1]",
        line: r"(?P<what>segment not present|invalid TSS|bounds|overflow|alignment check|simd exception|fpu exception|device not available|coprocessor segment overrun|control protection|iret exception|unexpected #[A-Z]{2} exception|(?:illegal|addressing|specification|protection|operation|execute|privileged operation|translation|(?:decimal|fixpoint) (?:divide|overflow)|data|transaction constraint|vector processing) (?:operation|exception)): [0-9a-f]{4} (?:ilc:{num} )?\[#1\]",
        title: "{what} in {frame}",
        frame: ACCESS,
        kind: DOS,
        examples: &[
            Example {
                title: "segment not present in guilty",
                log: "Oops: segment not present: 0000 [#1] SMP\n\
                  CPU: 0 PID: 1 Comm: a Not tainted 6.12.0 #1\n\
                  RIP: 0010:guilty+0x1/0x2\nCall Trace:\n caller+0x1/0x2\n",
            },
            Example {
                title: "illegal operation in guilty",
                log: "illegal operation: 0001 ilc:1 [#1] SMP\n\
                  CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
                  Krnl PSW : 0704c00180000000 000003ff80000000 (guilty+0x1/0x2)\n\
                  Call Trace:\n [<000003ff80000000>] guilty+0x1/0x2\n [<000003ff80000100>] caller+0x1/0x2\n",
            },
        ],
        ..Rule::NEW
    },
    Rule {
        header: " [#1]",
        line: r"Kernel BUG \[#1\]",
        title: "kernel BUG in {frame}",
        kind: &[("", Kind::Bug)],
        examples: &[Example {
            title: "kernel BUG in guilty",
            log: "Kernel BUG [#1]\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              epc : guilty+0x1/0x2\n ra : caller+0x1/0x2\n\
              [<ffffffff80001000>] guilty+0x1/0x2\n[<ffffffff80001100>] caller+0x1/0x2\n",
        }],
        ..NUMBERED
    },
    Rule {
        header: "[#1]:",
        line: r"Kernel bug detected\[#1\]:",
        title: "kernel BUG in {frame}",
        frame: ACCESS,
        kind: &[("", Kind::Bug)],
        examples: &[Example {
            title: "kernel BUG in guilty",
            log: "Kernel bug detected[#1]:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              epc   : 80100000 guilty+0x1/0x2\nra    : 80100100 caller+0x1/0x2\n\
              Call Trace:\n[<80100000>] guilty+0x1/0x2\n[<80100100>] caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: " [#1]",
        line: r"Oops(?: -|:) (?P<what>[A-Za-z][A-Za-z ()-]*[a-z)])(?:: [0-9a-f]{4}|, sig: {num})? \[#1\]",
        examples: &[
            Example {
                title: "illegal instruction in guilty",
                log: "Oops - illegal instruction [#1]\n\
                  CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
                  epc : guilty+0x1/0x2\n ra : caller+0x1/0x2\n\
                  [<ffffffff80001000>] guilty+0x1/0x2\n[<ffffffff80001100>] caller+0x1/0x2\n",
            },
            Example {
                title: "Exception in kernel mode in guilty",
                log: "Oops: Exception in kernel mode, sig: 4 [#1]\n\
                  CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
                  NIP [c000000000001000] guilty+0x1/0x2\nLR [c000000000001100] caller+0x1/0x2\n\
                  Call Trace:\n[c000000000003000] [c000000000001100] caller+0x1/0x2\n",
            },
        ],
        ..NUMBERED
    },
    Rule {
        header: " [#1]",
        line: r"(?P<what>[A-Za-z][A-Za-z -]*[a-z](?: \([a-z -]+\))?): [0-9a-f]{4} (?:ilc:{num} )?\[#1\]",
        examples: &[Example {
            title: "kernel stack overflow (double-fault) in guilty",
            log: "kernel stack overflow (double-fault): 0000 [#1] SMP\n\
              CPU: 0 PID: 1 Comm: a Not tainted 4.19.0 #1\n\
              RIP: 0010:guilty+0x1/0x2\nCall Trace:\n caller+0x1/0x2\n",
        }],
        ..NUMBERED
    },
    Rule {
        header: "[#1]:",
        line: r"(?P<what>Oops|[A-Z][A-Za-z -]* (?:in kernel code|access|error|exception))\[#1\]:$",
        examples: &[Example {
            title: "Reserved instruction in kernel code in guilty",
            log: "Reserved instruction in kernel code[#1]:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              epc   : 80100000 guilty+0x1/0x2\nra    : 80100100 caller+0x1/0x2\n\
              Call Trace:\n[<80100000>] guilty+0x1/0x2\n[<80100100>] caller+0x1/0x2\n",
        }],
        ..NUMBERED
    },
];
