//! What belongs nowhere else, and what only looks like a crash.

use super::{Find, Kind, Rule, Stack};

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "VFS: Busy inodes after unmount",
        line: r"VFS: Busy inodes after unmount",
        title: "VFS: Busy inodes after unmount (use-after-free)",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        ..Rule::NEW
    },
    Rule {
        header: "VFS: Close: file count is",
        line: r"VFS: Close: file count is (?:0|zero)",
        title: "VFS: Close: file count is zero (use-after-free)",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        ..Rule::NEW
    },
    // The firmware under an arm kernel, which prints to the kernel's log.
    Rule {
        header: "trusty: panic",
        line: r"trusty: panic.*ASSERT FAILED at .*?\): ?(?P<what>.*)",
        title: "trusty: ASSERT FAILED: {what}",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        ..Rule::NEW
    },
    Rule {
        header: "SYZFATAL:",
        line: r"SYZFATAL: (?P<what>.*)",
        title: "SYZFATAL: {what}",
        stack: Stack::Optional,
        kind: &[("", Kind::SyzFailure)],
        ..Rule::NEW
    },
    Rule {
        header: "BUG:",
        line: r"BUG: (?P<rest>.*)",
        title: "BUG: {rest}",
        frame: &[] as &[Find],
        stack: Stack::Corrupted,
        ..Rule::NEW
    },
];

/// Lines that look like the beginning of a report and are none.
pub(super) const HARMLESS: &[&str] = &[
    // The kernel measures itself.
    r"took too long",
    // Drivers with names of their own for log levels.
    r"[A-Z]_(?:BUG|WARNING|INFO):",
    // A file system that goes on.
    r"[A-Za-z0-9]+ \([a-z0-9-]+\): (?:WARNING|INFO):",
];
