//! Console text to crashes: title, kind, phase, and the report cut out of the log.

use serde::{Deserialize, Serialize};

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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alt_titles: Vec<String>,
    /// The function that the title names.
    pub frame: Option<String>,
    /// Offset in the log of the first byte of the report's first line.
    pub start: u64,
    /// Offset just behind its last line.
    pub end: u64,
    /// The report, from its first to its last line.
    pub report: String,
    /// Whether the log is too damaged for the title to be trusted, and why.
    pub corrupted: Option<String>,
    /// Known not to be a kernel bug (out of memory, a broken host).
    pub suppressed: bool,
    /// Whether the kernel panicked after it.
    pub panicked: bool,
}
