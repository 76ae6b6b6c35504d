//! Memory managed badly: leaks, slabs, pages, user copies (mm/).

use super::{Example, Find, Joins, Kind, Rule, Stack};

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

/// The same, with words that have no rule of their own.
const SLUB: Rule = Rule {
    line: r"BUG [A-Za-z0-9_:-]+ *\((?:Not tainted|Tainted[^)]*)\): (?P<what>[A-Z][A-Za-z ]+[a-z])",
    title: "BUG: {what} in {frame}",
    frame: &[Find::Trace],
    kind: &[("", Kind::MemorySafetyBug)],
    ..Rule::NEW
};

/// Memory that nothing points to any more, by the place where it was allocated (mm/kmemleak.c).
const LEAK: Rule = Rule {
    title: "memory leak in {frame}",
    frame: &[Find::TraceAfter("backtrace")],
    skip: &[
        "*alloc*",
        "*kmem*",
        "*slab*",
        "*mmap*",
        "*create_object*",
        "*idr_get*",
        "*list_lru_init*",
        "*asprintf*",
        "*_userns",
        "*pcpu_*",
        "*strdup*",
        "*strndup*",
        "*memdup*",
    ],
    kind: &[("", Kind::Leak)],
    ..Rule::NEW
};

pub(super) const RULES: &[Rule] = &[
    // What fuzzers print before what the kernel has found.
    Rule {
        header: "BUG: memory leak",
        line: r"BUG: memory leak",
        more: &[r"unreferenced object"],
        examples: &[Example {
            title: "memory leak in loser",
            log: "BUG: memory leak\nunreferenced object 0xffff888000000000 (size 32):\n\
                  \u{20} comm \"a\", pid 1, jiffies 42 (age 8s)\n  backtrace:\n\
                  \u{20}   [<000000001234abcd>] kmalloc+0x1/0x2\n\
                  \u{20}   [<000000001234abcd>] loser+0x1/0x2\n\
                  \u{20}   [<000000001234abcd>] caller+0x1/0x2\n",
        }],
        ..LEAK
    },
    // What the kernel has found, as /sys/kernel/debug/kmemleak or `kmemleak.verbose=1` says it.
    Rule {
        header: "unreferenced object ",
        line: r"^(?:kmemleak: )?unreferenced object (?:0x)?[0-9a-f]+ \(",
        joins: Joins::Announced,
        examples: &[Example {
            title: "memory leak in loser",
            log: "unreferenced object 0xffff888000000000 (size 32):\n\
                  \u{20} comm \"a\", pid 1, jiffies 42 (age 8s)\n  backtrace:\n\
                  \u{20}   [<000000001234abcd>] kmalloc+0x1/0x2\n\
                  \u{20}   [<000000001234abcd>] loser+0x1/0x2\n",
        }],
        ..LEAK
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad page state",
        title: "BUG: Bad page state in {frame}",
        frame: &[Find::TraceAfter("page last allocated via")],
        skip: &["*alloc*", "*get_folio*", "pagecache_get_page", "__set_page_owner"],
        examples: &[Example {
            title: "BUG: Bad page state in guilty",
            log: "BUG: Bad page state in process a  pfn:12345\n\
              page:0000000012345678 refcount:0 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x12345\n\
              page last allocated via order 0, migratetype Unmovable, gfp_mask 0x0()\n\
              \u{20}prep_new_page+0x1/0x2\n\
              \u{20}get_page_from_freelist+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad page map",
        title: "BUG: Bad page map",
        frame: &[],
        examples: &[Example {
            title: "BUG: Bad page map",
            log: "BUG: Bad page map in process a  pte:8000000012345067 pmd:12345067\n\
              addr:00000000009ca000 vm_flags:00100073 anon_vma:ffff888000000000 mapping:0000000000000000 index:9ca\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad page cache",
        title: "BUG: Bad page cache in {frame}",
        frame: &[Find::Trace],
        examples: &[Example {
            title: "BUG: Bad page cache in guilty",
            log: "BUG: Bad page cache in process a  pfn:12345\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Bad rss-counter state",
        title: "BUG: Bad rss-counter state",
        stack: Stack::Optional,
        examples: &[Example {
            title: "BUG: Bad rss-counter state",
            log: "BUG: Bad rss-counter state mm:0000000012345678 type:MM_ANONPAGES val:1\n",
        }],
        ..Rule::NEW
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: non-zero (?P<what>nr_[a-z]+ on freeing mm|[a-z_]+ on freeing mm: -?{num})",
        title: "BUG: non-zero {what}",
        stack: Stack::Optional,
        examples: &[Example {
            title: "BUG: non-zero pgtables_bytes on freeing mm: NUM",
            log: "BUG: non-zero pgtables_bytes on freeing mm: 4096\n",
        }],
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
        header: "(Not tainted): ",
        examples: &[Example {
            title: "BUG: Not a valid slab page in guilty",
            log: "BUG dentry (Not tainted): Not a valid slab page\n\
              -----------------------------------------------------------------------------\n\
              CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..SLUB
    },
    Rule {
        header: "BUG kmalloc-",
        examples: &[Example {
            title: "BUG: Wrong number of objects in guilty",
            log: "BUG kmalloc-64 (Tainted: G    B   W        ): Wrong number of objects. Found 1 but should be 2\n\
              -----------------------------------------------------------------------------\n\
              CPU: 0 PID: 1 Comm: a Tainted: G    B   W         6.1.0 #1\n\
              Call Trace:\n\
              \u{20}dump_stack+0x1/0x2\n\
              \u{20}guilty+0x1/0x2\n",
        }],
        ..SLUB
    },
    Rule {
        header: "BUG: ",
        line: r"BUG: Dentry .* still in use.* \[unmount of (?P<fs>[^\]]+)\]",
        title: "BUG: Dentry still in use in unmount",
        alts: &["BUG: Dentry still in use [unmount of {fs}]"],
        stack: Stack::Optional,
        examples: &[Example {
            title: "BUG: Dentry still in use in unmount",
            log: "BUG: Dentry 0000000012345678{i=1,n=x}  still in use (1) [unmount of ramfs ramfs]\n",
        }],
        ..Rule::NEW
    },
    // What SLUB prints of an object's past, without the line that says what is wrong with it.
    Rule {
        header: "INFO: ",
        line: r"INFO: (?P<what>Allocated|Freed) in {func} age={num} cpu={num} pid={num}",
        title: "INFO: {what} in {frame} age=NUM cpu=NUM pid=NUM",
        frame: &[Find::Known],
        stack: Stack::Corrupted,
        joins: Joins::Any,
        ..Rule::NEW
    },
];
