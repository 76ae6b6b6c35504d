//! Memory managed badly: leaks, slabs, pages, user copies (mm/).

use super::{Example, Find, Kind, Rule, Stack};

/// SLUB's own checks (mm/slub.c): `BUG kmalloc-64 (Not tainted): Poison overwritten`.
const fn slub(header: &'static str, title: &'static str) -> Rule {
    Rule {
        header,
        line: r"BUG [A-Za-z0-9_:-]+ *\((?:Not tainted|Tainted[^)]*)\): ",
        title,
        frame: &[Find::Trace],
        kind: &[("", Kind::MemorySafetyBug)],
        ..Rule::NEW
    }
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
    slub("Object already free", "BUG: Object already free in {frame}"),
    slub("Poison overwritten", "BUG: Poison overwritten in {frame}"),
    slub("Redzone overwritten", "BUG: Redzone overwritten in {frame}"),
    slub("adding overwritten", "BUG: Padding overwritten in {frame}"),
    slub("Freelist Pointer check fails", "BUG: Freelist pointer check fails in {frame}"),
    slub("Freechain corrupt", "BUG: Freechain corrupt in {frame}"),
    slub("Freepointer corrupt", "BUG: Freepointer corrupt in {frame}"),
    slub("Wrong object count", "BUG: Wrong object count in {frame}"),
    slub("Invalid object pointer", "BUG: Invalid object pointer in {frame}"),
    slub("Objects remaining in", "BUG: Objects remaining in {frame}"),
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
