//! What belongs nowhere else, and what only looks like a crash.

use super::{Example, Kind, Lost, Rule, Stack};

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "VFS: Busy inodes after unmount",
        line: r"VFS: Busy inodes after unmount",
        title: "VFS: Busy inodes after unmount (use-after-free)",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        examples: &[Example {
            title: "VFS: Busy inodes after unmount (use-after-free)",
            log: "VFS: Busy inodes after unmount of sda1. Self-destruct in 5 seconds.  Have a nice day...\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "VFS: Close: file count is",
        line: r"VFS: Close: file count is (?:0|zero)",
        title: "VFS: Close: file count is zero (use-after-free)",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        examples: &[Example {
            title: "VFS: Close: file count is zero (use-after-free)",
            log: "VFS: Close: file count is 0\n",
        }],
        ..Rule::NEW
    },
    // The firmware under an arm kernel, which prints to the kernel's log.
    Rule {
        header: "trusty: panic",
        line: r"trusty: panic.*ASSERT FAILED at .*?\): ?(?P<what>.*)",
        title: "trusty: ASSERT FAILED: {what}",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        examples: &[Example {
            title: "trusty: ASSERT FAILED: !list_in_list(&chan->node)",
            log: "trusty: panic (caller 0xffffffffe000fbb8): ASSERT FAILED at (lib/f.c:123): !list_in_list(&chan->node)\n",
        }],
        ..Rule::NEW
    },
    // The decompressor, which has no business after the first boot.
    Rule {
        header: "Booting the kernel.",
        line: r"^Booting the kernel\.",
        title: "unexpected kernel reboot",
        stack: Stack::Optional,
        kind: &[("", Kind::Reboot)],
        reboot: true,
        examples: &[Example {
            title: "unexpected kernel reboot",
            log: "sh: done\n\
              Booting the kernel.\n",
        }],
        ..Rule::NEW
    },
    // A program written in Go on the same console.
    Rule {
        header: "fatal error: ",
        line: r"^fatal error: (?:runtime: )?(?:out of memory|cannot allocate memory)",
        more: &[r"^goroutine [0-9]+|^runtime stack:"],
        lost: Lost::Nothing,
        title: "go runtime error",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        suppressed: true,
        examples: &[Example {
            title: "go runtime error",
            log: "fatal error: runtime: out of memory\n\
              \n\
              runtime stack:\n\
              runtime.throw(0x1)\n",
        }],
        ..Rule::NEW
    },
    // A program written in Go on the same console.
    Rule {
        header: "panic: ",
        line: r"^panic: ",
        lost: Lost::Nothing,
        more: &[r"^goroutine [0-9]+"],
        title: "go runtime error",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        examples: &[Example {
            title: "go runtime error",
            log: "panic: oops\n\
              \n\
              goroutine 1 [running]:\n\
              main.main()\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "fatal error: ",
        line: r"^fatal error: ",
        lost: Lost::Nothing,
        more: &[r"^goroutine [0-9]+|^runtime stack:"],
        title: "go runtime error",
        stack: Stack::Optional,
        kind: &[("", Kind::DoS)],
        examples: &[Example {
            title: "go runtime error",
            log: "fatal error: all goroutines are asleep - deadlock!\n\
              \n\
              goroutine 1 [running]:\n\
              main.main()\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "SYZFAIL:",
        line: r"SYZFAIL: (?P<what>.*)",
        title: "SYZFAIL: {what}",
        alts: &["SYZFAIL"],
        stack: Stack::Optional,
        kind: &[("", Kind::SyzFailure)],
        examples: &[Example { title: "SYZFAIL: mmap failed", log: "SYZFAIL: mmap failed\n" }],
        ..Rule::NEW
    },
    Rule {
        header: "SYZFATAL:",
        line: r"SYZFATAL: (?P<what>.*)",
        title: "SYZFATAL: {what}",
        alts: &["SYZFATAL"],
        stack: Stack::Optional,
        kind: &[("", Kind::SyzFailure)],
        examples: &[Example {
            title: "SYZFATAL: executor NUM failed",
            log: "SYZFATAL: executor 1 failed\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: (?P<rest>.*)",
        title: "BUG: {rest}",
        stack: Stack::Optional,
        vague: true,
        examples: &[Example {
            title: "BUG: no such thing as item NUM",
            log: "BUG: no such thing as item 3\n",
        }],
        ..Rule::NEW
    },
];

/// What a log begins with that begins with a boot.
pub(super) const BOOT: &[&str] = &[
    "SeaBIOS",
    "iPXE",
    "BdsDxe",
    "UEFI",
    "EFI stub",
    "GRUB",
    "U-Boot",
    "OpenSBI",
    "SLOF",
    "Booting",
    "Decompressing",
    "early console",
    "Loading",
    "Linux version",
    "[    0.000000]",
    "\x1bc",
    "\x1b[2J",
];

/// Lines that look like the beginning of a report and are none.
pub(super) const HARMLESS: &[&str] = &[
    // The kernel measures itself.
    r"took too long",
    // Drivers with names of their own for log levels.
    r"[A-Z]_(?:BUG|WARNING|INFO):",
    // Notes at boot: what the firmware or the configuration lacks, and what that means.
    r"WARNING: (?:BIOS|CPU does not|Forcing|PAE|IBRS|LFENCE|ITS|BTB|Spectre|See https?:|Unprivileged eBPF|Ancient|kernel not compiled with)",
    r"WARNING: .*(?:mitigation|firmware|BIOS|deprecated|deprecat|not recommended|experimental|kernel command line)",
    r"WARNING: .*workqueue cpumask|WARNING: fbcon",
    // Programs on the same console.
    r"WARNING: (?:/|Unsupported flag value)",
    // A file system that goes on.
    r"[A-Za-z0-9]+ \([a-z0-9-]+\): (?:WARNING|INFO):",
];
