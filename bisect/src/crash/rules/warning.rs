//! `WARN_ON()` and what is like it (kernel/panic.c, lib/bug.c).

use super::{Example, Find, Kind, Rule, Stack};

const WARNING: &[(&str, Kind)] = &[("", Kind::Warning)];

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "WARNING:",
        line: r"WARNING: (?:CPU: {num} PID: {num} )?(?:\[.*\] )?(?:at )?(?:[^ ]*/)?refcount\.[ch]:",
        title: "WARNING: refcount bug in {frame}",
        frame: &[Find::Header, Find::Pointer, Find::Trace],
        kind: &[("", Kind::Refcount)],
        ..Rule::NEW
    },
    Rule {
        header: "WARNING:",
        line: r"WARNING: CPU: {num} PID: {num} at [^ ]+:{num}(?: {func})?",
        title: "WARNING in {frame}",
        frame: &[Find::Header, Find::Pointer, Find::Trace],
        kind: WARNING,
        examples: &[Example {
            title: "WARNING in kvm_wait",
            log: "------------[ cut here ]------------\nraw_local_irq_restore() called with IRQs enabled\n\
                  WARNING: CPU: 2 PID: 1 at kernel/locking/irqflag-debug.c:10 warn_bogus_irq_restore+0x1d/0x20\n\
                  CPU: 2 PID: 1 Comm: a\nRIP: 0010:warn_bogus_irq_restore+0x1d/0x20\nCall Trace:\n\
                  \u{20}kvm_wait+0xc3/0xe0\n pv_wait_head_or_lock+0x1/0x2\n\
                  ---[ end trace 0000000000000000 ]---\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "WARNING:",
        line: r"WARNING: (?:\[.*\] )?[^ ]+\.[chS]:{num} at {func}",
        title: "WARNING in {frame}",
        frame: &[Find::Header, Find::Pointer, Find::Trace],
        kind: WARNING,
        ..Rule::NEW
    },
    Rule {
        header: "WARNING:",
        line: r"WARNING: (?P<rest>.*)",
        title: "WARNING: {rest}",
        stack: Stack::Optional,
        kind: WARNING,
        ..Rule::NEW
    },
];
