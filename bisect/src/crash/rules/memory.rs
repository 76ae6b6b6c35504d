//! Memory managed badly: leaks, slabs, pages, user copies (mm/).

use super::{Example, Find, Kind, Rule, Stack};

/// SLUB's own checks (mm/slub.c): `BUG kmalloc-64 (Not tainted): Poison overwritten`.
macro_rules! slub {
    ($words:literal, $title:literal) => {
        Rule {
            header: $words,
            line: concat!(r"BUG [A-Za-z0-9_:-]+ *\((?:Not tainted|Tainted[^)]*)\): .*", $words),
            title: concat!("BUG: ", $title, " in {frame}"),
            frame: &[Find::Trace],
            kind: &[("", Kind::MemorySafetyBug)],
            ..Rule::NEW
        }
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "BUG: memory leak",
        line: r"BUG: memory leak",
        more: &[r"unreferenced object"],
        title: "memory leak in {frame}",
        frame: &[Find::TraceAfter("backtrace")],
        skip: &["*alloc*", "pcpu_*", "*_strdup*", "kobject_*", "dst_init", "*_userns"],
        kind: &[("", Kind::Leak)],
        examples: &[Example {
            title: "memory leak in loser",
            log: "BUG: memory leak\nunreferenced object 0xffff888000000000 (size 32):\n\
                  \u{20} comm \"a\", pid 1, jiffies 42 (age 8s)\n  backtrace:\n\
                  \u{20}   [<000000001234abcd>] kmalloc+0x1/0x2\n\
                  \u{20}   [<000000001234abcd>] loser+0x1/0x2\n\
                  \u{20}   [<000000001234abcd>] caller+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad page state",
        title: "BUG: Bad page state in {frame}",
        frame: &[Find::TraceAfter("page last allocated via")],
        skip: &["*alloc*", "*get_folio*", "pagecache_get_page", "__set_page_owner"],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad page map",
        title: "BUG: Bad page map",
        frame: &[],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad page cache",
        title: "BUG: Bad page cache in {frame}",
        frame: &[Find::Trace],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad rss-counter state",
        title: "BUG: Bad rss-counter state",
        stack: Stack::Optional,
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: non-zero (?P<what>[a-z_]+) on freeing mm",
        title: "BUG: non-zero {what} on freeing mm",
        stack: Stack::Optional,
        ..Rule::NEW
    },
    Rule {
        examples: &[Example {
            title: "BUG: Object already free in freer",
            log: "BUG kmalloc-64 (Not tainted): Object already free\n---------------\n\n\
                  INFO: Allocated in f+0x1/0x2 age=1 cpu=0 pid=1\n\
                  CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\nCall Trace:\n dump_stack+0x1/0x2\n\
                  \u{20}free_debug_processing+0x1/0x2\n kfree+0x1/0x2\n freer+0x1/0x2\n",
        }],
        ..slub!("Object already free", "Object already free")
    },
    slub!("Poison overwritten", "Poison overwritten"),
    slub!("Redzone overwritten", "Redzone overwritten"),
    slub!("adding overwritten", "Padding overwritten"),
    slub!("Freelist Pointer check fails", "Freelist pointer check fails"),
    slub!("Freechain corrupt", "Freechain corrupt"),
    slub!("Freepointer corrupt", "Freepointer corrupt"),
    slub!("Wrong object count", "Wrong object count"),
    slub!("Invalid object pointer", "Invalid object pointer"),
    slub!("Objects remaining in", "Objects remaining"),
    Rule {
        header: "BUG: ",
        line: r"BUG: Dentry .* still in use.* \[unmount of (?P<fs>[^\]]+)\]",
        title: "BUG: Dentry still in use in unmount",
        alts: &["BUG: Dentry still in use [unmount of {fs}]"],
        stack: Stack::Optional,
        ..Rule::NEW
    },
    // What SLUB prints of an object's past, without the line that says what is wrong with it.
    Rule {
        header: "INFO: ",
        line: r"INFO: (?P<what>Allocated|Freed) in {func} age={num} cpu={num} pid={num}",
        title: "INFO: {what} in {frame} age=NUM cpu=NUM pid=NUM",
        frame: &[Find::Known],
        stack: Stack::Corrupted,
        continues: true,
        ..Rule::NEW
    },
];
