//! UBSAN, KMSAN, KCSAN, KFENCE.

use super::{Example, Find, Kind, Rule, Stack};

const KMSAN: &[(&str, Kind)] = &[
    ("infoleak", Kind::KmsanInfoLeak),
    ("uninit-value", Kind::KmsanUninitValue),
    ("use-after-free", Kind::KmsanUseAfterFreeRead),
    ("", Kind::KmsanUnknown),
];

const KCSAN: &[(&str, Kind)] =
    &[("data-race", Kind::KcsanDataRace), ("assert", Kind::KcsanAssert), ("", Kind::KcsanUnknown)];

const KFENCE: &[(&str, Kind)] = &[
    ("invalid free", Kind::KfenceInvalidFree),
    ("memory corruption", Kind::KfenceMemoryCorruption),
    ("use-after-free read", Kind::KfenceUseAfterFreeRead),
    ("use-after-free write", Kind::KfenceUseAfterFreeWrite),
    (" read", Kind::KfenceRead),
    (" write", Kind::KfenceWrite),
    ("", Kind::KfenceUnknown),
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "BUG: ",
        line: r"BUG: KMSAN: (?P<bug>kernel-usb-infoleak[a-z-]*) in {func}",
        title: "KMSAN: {bug} in {frame}",
        alts: &["KMSAN origin in {origin}"],
        origin: &[Find::TraceAfter("Uninit was created at")],
        skip: &["usb_*", "*alloc*"],
        frame: &[Find::Known, Find::TraceAfter("BUG: KMSAN:")],
        kind: KMSAN,
        examples: &[Example {
            title: "KMSAN: kernel-usb-infoleak in guilty",
            log: "BUG: KMSAN: kernel-usb-infoleak in usb_submit_urb+0x1/0x2\n\
              \u{20}usb_submit_urb+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n\
              \n\
              Uninit was created at:\n\
              \u{20}__kmalloc+0x1/0x2\n\
              \u{20}maker+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KMSAN: (?P<bug>[a-z-]+) in {func}",
        title: "KMSAN: {bug} in {frame}",
        alts: &["bad-access in {frame}"],
        frame: &[Find::Known, Find::TraceAfter("BUG: KMSAN:")],
        kind: KMSAN,
        examples: &[Example {
            title: "KMSAN: uninit-value in user",
            log: "BUG: KMSAN: uninit-value in memcmp+0x1/0x2\n memcmp+0x1/0x2\n user+0x1/0x2\n\n\
                  Uninit was created at:\n f+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KCSAN: (?P<bug>data-race|assert: race) in {func} / (?P<other>[A-Za-z0-9_]+)",
        title: "KCSAN: {bug} in {frame} / {other}",
        frame: &[Find::Named],
        kind: KCSAN,
        examples: &[Example {
            title: "KCSAN: data-race in f / g",
            log: "BUG: KCSAN: data-race in f / g\n\nread to 0xffff of 8 bytes by task 1 on cpu 0:\n f+0x1/0x2\n h+0x1/0x2\n\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KCSAN: (?P<bug>data-race|assert: race) in {func}",
        title: "KCSAN: {bug} in {frame}",
        frame: &[Find::Named],
        kind: KCSAN,
        examples: &[Example {
            title: "KCSAN: data-race in guilty",
            log: "BUG: KCSAN: data-race in guilty+0x1/0x2\n\
              \n\
              race at unknown origin, with read to 0xffff888000000000 of 4 bytes by task 1 on cpu 0:\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KFENCE: (?P<bug>invalid free) in {func}",
        title: "KFENCE: {bug} in {frame}",
        alts: &["invalid-free in {frame}"],
        frame: &[Find::Known, Find::TraceAfter("BUG: KFENCE:")],
        kind: KFENCE,
        examples: &[Example {
            title: "KFENCE: invalid free in guilty",
            log: "BUG: KFENCE: invalid free in guilty+0x1/0x2\n\
              \n\
              Invalid free of 0xffff888000000000 (in kfence-#1):\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KFENCE: (?P<bug>memory corruption) in {func}",
        title: "KFENCE: {bug} in {frame}",
        frame: &[Find::Known, Find::TraceAfter("BUG: KFENCE:")],
        kind: KFENCE,
        examples: &[Example {
            title: "KFENCE: memory corruption in guilty",
            log: "BUG: KFENCE: memory corruption in guilty+0x1/0x2\n\
              \n\
              Corrupted memory at 0xffff888000000000 [ ! ! ! ] (in kfence-#1):\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KFENCE: (?P<bug>[a-z -]+) in {func}",
        title: "KFENCE: {bug} in {frame}",
        alts: &["bad-access in {frame}"],
        frame: &[Find::Known, Find::TraceAfter("BUG: KFENCE:")],
        kind: KFENCE,
        examples: &[Example {
            title: "KFENCE: use-after-free read in guilty",
            log: "BUG: KFENCE: use-after-free read in guilty+0x1/0x2\n\
              \n\
              Use-after-free read at 0xffff888000000000 (in kfence-#1):\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "UBSAN:",
        line: r"UBSAN: (?i:undefined behaviour) in",
        title: "UBSAN: undefined-behaviour in {frame}",
        frame: &[Find::Trace],
        kind: &[("", Kind::Ubsan)],
        examples: &[Example {
            title: "UBSAN: undefined-behaviour in guilty",
            log: "UBSAN: Undefined behaviour in lib/f.c:12:3\n\
              signed integer overflow:\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "UBSAN:",
        line: r"UBSAN: (?P<bug>[a-z-]+) in",
        title: "UBSAN: {bug} in {frame}",
        frame: &[Find::Trace],
        kind: &[("", Kind::Ubsan)],
        examples: &[Example {
            title: "UBSAN: shift-out-of-bounds in shifter",
            log: "UBSAN: shift-out-of-bounds in lib/f.c:12:3\nshift exponent 64 is too large\n\
                  CPU: 0 PID: 1 Comm: a\nCall Trace:\n dump_stack+0x1/0x2\n\
                  \u{20}ubsan_epilogue+0x1/0x2\n __ubsan_handle_shift_out_of_bounds+0x1/0x2\n\
                  \u{20}shifter+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "UBSAN:",
        line: r"UBSAN: (?P<rest>.*)",
        title: "UBSAN: {rest}",
        stack: Stack::Corrupted,
        kind: &[("", Kind::Ubsan)],
        ..Rule::NEW
    },
];
