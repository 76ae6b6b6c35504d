//! Panics without a report of their own before them.

use super::{Example, Find, Kind, Rule, Stack};

const DOS: &[(&str, Kind)] = &[("", Kind::DoS)];

pub(super) const RULES: &[Rule] = &[
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: stack-protector:.* corrupted in: {func}",
        title: "kernel panic: stack is corrupted in {frame}",
        frame: &[Find::Header, Find::Trace],
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        title: "kernel panic: corrupted stack end in {frame}",
        frame: &[Find::Trace],
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: Attempted to kill init!",
        title: "kernel panic: Attempted to kill init!",
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: (?P<why>VFS: Unable to mount root fs.*)",
        title: "kernel panic: {why}",
        stack: Stack::Optional,
        kind: DOS,
        examples: &[Example {
            title: "kernel panic: VFS: Unable to mount root fs on unknown-block(NUM,NUM)",
            log: "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
        }],
        continues: true,
        ..Rule::NEW
    },
    Rule {
        header: "Kernel panic",
        line: r"Kernel panic - not syncing: (?P<why>.*)",
        title: "kernel panic: {why}",
        kind: DOS,
        continues: true,
        ..Rule::NEW
    },
];
