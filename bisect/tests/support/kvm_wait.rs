//! The facts of syzbot's bisection of `WARNING in kvm_wait`, in a log of our own.

use std::fmt::Write;

/// What the bisection met.
pub(crate) const KVM_WAIT: &str = "WARNING in kvm_wait";
/// What it set out from.
pub(crate) const IO_SQ_THREAD: &str = "WARNING: still has locks held in io_sq_thread";

/// By commit: what git had left, crashes and failed boots out of how many runs, git's verdict.
pub(crate) const STEPS: [(&str, u32, usize, usize, usize, &str); 14] = [
    ("d99676af540c", 5932, 1, 3, 10, "bad"),
    ("f9d58de23152", 3717, 0, 0, 20, "good"),
    ("de1617578849", 1854, 3, 8, 20, "bad"),
    ("4a037ad5d115", 929, 1, 5, 20, "bad"),
    ("582cd91f69de", 451, 0, 0, 20, "good"),
    ("3f6ec19f2d05", 247, 0, 0, 20, "good"),
    ("85e853c5ec84", 125, 0, 0, 20, "good"),
    ("c5e6fc08feb2", 73, 0, 0, 20, "good"),
    ("9eef02334505", 33, 1, 12, 20, "bad"),
    ("62137364e3e8", 19, 1, 6, 20, "bad"),
    ("997acaf6b4b5", 9, 0, 4, 20, "good"),
    ("7f82e631d236", 4, 0, 7, 20, "good"),
    ("b38085ba6024", 2, 1, 5, 20, "bad"),
    ("c8cc7e853192", 0, 2, 5, 20, "bad"),
];

/// A whole name that begins like this.
pub(crate) fn full(short: &str) -> String {
    format!("{short}{}", "0".repeat(28))
}

/// The log, in the form that syzbot publishes.
pub(crate) fn log() -> String {
    let (bad, good) = (full("81b1d39fd39a"), full("f40ddce88593"));
    let mut log = format!(
        "bisecting cause commit starting from {bad}\n\
         testing commit {bad} with gcc (GCC) 10.2.1 20210217\nkernel signature: a\n\
         all runs: crashed: {IO_SQ_THREAD}\ntesting release v5.11\n\
         testing commit {good} with gcc (GCC) 10.2.1 20210217\nkernel signature: b\n\
         all runs: OK\n# git bisect start {bad} {good}\n"
    );
    for (short, left, crashed, boot, runs, word) in STEPS {
        let commit = full(short);
        // Two of them were one binary.
        let signature = match short {
            "b38085ba6024" | "c8cc7e853192" => "same",
            other => other,
        };
        write!(
            log,
            "Bisecting: {left} revisions left to test after this (roughly 3 steps)\n\
             [{commit}] title of {short}\n\n\
             testing commit {commit} with gcc (GCC) 10.2.1 20210217\n\
             kernel signature: {signature}\n"
        )
        .unwrap();
        if crashed + boot == 0 {
            log.push_str("all runs: OK\n");
        }
        for run in 0..runs * usize::from(crashed + boot > 0) {
            let what = match run {
                _ if run < crashed => format!("crashed: {KVM_WAIT}"),
                _ if run >= runs - boot => format!("boot failed: {KVM_WAIT}"),
                _ => "OK".into(),
            };
            writeln!(log, "run #{run}: {what}").unwrap();
        }
        if short == "d99676af540c" {
            log.push_str("reproducer seems to be flaky\n");
        }
        writeln!(log, "# git bisect {word} {commit}").unwrap();
    }
    let culprit = full("c8cc7e853192");
    write!(
        log,
        "{culprit} is the first bad commit\nReproducer flagged being flaky\n\
         first bad commit: {culprit} title of c8cc7e853192\ncrash: {KVM_WAIT}\n"
    )
    .unwrap();
    log
}
