//! KASAN: bad accesses to memory, found by shadow memory or tags (mm/kasan/report.c).

use super::{Example, Find, Kind, Lost, Rule, Stack};

const KIND: &[(&str, Kind)] = &[
    ("invalid-free", Kind::KasanInvalidFree),
    ("double-free", Kind::KasanInvalidFree),
    ("null-ptr-deref Read", Kind::KasanNullRead),
    ("null-ptr-deref Write", Kind::KasanNullWrite),
    ("use-after-free Read", Kind::KasanUseAfterFreeRead),
    ("use-after-free Write", Kind::KasanUseAfterFreeWrite),
    (" Read", Kind::KasanRead),
    (" Write", Kind::KasanWrite),
    ("", Kind::KasanRead),
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "BUG: ",
        line: r"BUG: KASAN: (?:double-free or )?invalid-free in {func}",
        title: "KASAN: invalid-free in {frame}",
        alts: &["invalid-free in {frame}"],
        frame: &[Find::Known, Find::Trace],
        kind: KIND,
        examples: &[Example {
            title: "KASAN: invalid-free in drop_it",
            log: "BUG: KASAN: double-free or invalid-free in kfree+0x10/0x20\n\
                  CPU: 0 PID: 1 Comm: a\nCall Trace:\n dump_stack+0x1/0x2\n\
                  \u{20}kasan_report_invalid_free+0x1/0x2\n kfree+0x10/0x20\n drop_it+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KASAN: double-free in {func}",
        title: "KASAN: double-free in {frame}",
        alts: &["invalid-free in {frame}"],
        frame: &[Find::Known, Find::Trace],
        kind: KIND,
        examples: &[Example {
            title: "KASAN: double-free in guilty",
            log: "BUG: KASAN: double-free in kfree+0x1/0x2\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KASAN: (?P<bug>[a-z-]+) in {func}",
        more: &[r"(?P<access>Read|Write) (?:of size|at addr)"],
        lost: Lost::Line,
        title: "KASAN: {bug} {access} in {frame}",
        alts: &["bad-access in {frame}"],
        frame: &[Find::Known, Find::Trace],
        kind: KIND,
        examples: &[Example {
            title: "KASAN: slab-out-of-bounds Read in reader",
            log: "BUG: KASAN: slab-out-of-bounds in memcmp+0x10/0x20\n\
                  Read of size 1 at addr ffff888000000000 by task a/1\n\n\
                  CPU: 0 PID: 1 Comm: a\nCall Trace:\n dump_stack+0x1/0x2\n\
                  \u{20}memcmp+0x10/0x20\n reader+0x1/0x2\n\nAllocated by task 1:\n f+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    // Until 4.4.
    Rule {
        header: "BUG: ",
        line: r"BUG: KASAN: (?P<bug>[a-z-]+) on address",
        more: &[r"(?P<access>Read|Write) of size"],
        title: "KASAN: {bug} {access}",
        alts: &[],
        stack: Stack::Corrupted,
        kind: KIND,
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: KASAN: (?P<rest>.*)",
        title: "KASAN: {rest}",
        stack: Stack::Corrupted,
        kind: KIND,
        ..Rule::NEW
    },
];
