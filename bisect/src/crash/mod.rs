//! Console text to crashes: title, kind, phase, and the report cut out of the log.
//!
//! A [`Scanner`] reads the log while it arrives; [`classify`] reads one that is there already. What
//! a crash looks like and what it is called is data, in `crash/rules/`.

mod blame;
mod damage;
pub mod family;
mod frames;
mod guilty;
mod hang;
mod kind;
mod line;
mod names;
mod report;
mod rules;
mod scanner;
mod title;
mod trace;
mod tracker;

use serde::{Deserialize, Serialize};

pub use hang::{hangs_in, interrupted, waits_for_another};
pub use kind::Kind;
pub(crate) use names::Names;
pub use report::Executor;
pub use scanner::{Event, Scanner};

/// When in a trial a crash was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the workload was started.
    Boot,
    /// After it.
    Workload,
}

/// What the classifier found in the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// Stable name: `WARNING in kvm_wait`.
    pub title: String,
    /// Other titles that the same crash may be known by.
    #[serde(default)]
    pub alt_titles: Vec<String>,
    /// What kind of crash it is.
    pub kind: Kind,
    /// The function that the title names.
    pub frame: Option<String>,
    /// The source file to blame, where the report names files.
    pub guilty_file: Option<String>,
    /// The task that ran, `name/pid`.
    pub task: Option<String>,
    /// The CPU that it ran on.
    pub cpu: Option<u32>,
    /// The test process that ran, where a fuzzer's executor did.
    #[serde(default)]
    pub executor: Option<Executor>,
    /// Whether the log is too damaged for the title to be trusted, and why.
    pub corrupted: Option<String>,
    /// Known not to be a kernel bug (out of memory, a broken host).
    pub suppressed: bool,
    /// Whether the kernel panicked after it.
    pub panicked: bool,
    /// Offset in the log of the first byte of the report's first line.
    pub start: u64,
    /// Offset just behind its last line.
    pub end: u64,
    /// The report, from its first to its last line, without what the console put before each line
    /// and without lines that others printed between.
    pub report: String,
}

/// The source files that a report names, but for helpers and what finds and reports bugs, in their
/// order.
pub fn files(report: &str) -> Vec<String> {
    guilty::files(report)
}

impl Crash {
    /// Takes note of a panic of the kernel that booted at `since`, printed at `at`.
    pub fn note_panic(&mut self, since: u64, at: u64) {
        self.panicked |= (since..=at).contains(&self.start);
    }
}

/// The crashes in a whole log, in the order in which they begin.
///
/// ```
/// let log = b"[    1.0] kernel BUG at lib/x.c:1!\n[    1.0] RIP: 0010:f+0x1/0x2\n";
/// let crashes = vmbisect::crash::classify(log);
/// assert_eq!(crashes[0].title, "kernel BUG in f");
/// ```
pub fn classify(log: &[u8]) -> Vec<Crash> {
    let mut scanner = Scanner::new();
    let mut events = scanner.push(log);
    events.append(&mut scanner.finish());
    let mut crashes: Vec<Crash> = Vec::new();
    for event in events {
        match event {
            Event::Sighted(_) => {}
            Event::Crash(crash) => crashes.push(crash),
            Event::Panic { since, at } => {
                crashes.iter_mut().for_each(|crash| crash.note_panic(since, at));
            }
        }
    }
    crashes
}

#[cfg(test)]
mod tests;
