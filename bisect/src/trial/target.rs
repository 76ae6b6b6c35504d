//! What a bisection looks for.

use serde::{Deserialize, Serialize};

/// What counts as the bug showing itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One of these crash titles; `*` stands for any text.
    Crash(Vec<String>),
    /// Any crash at all.
    AnyCrash,
    /// Init is never reached.
    NoBoot,
    /// The guest makes no progress.
    Hang,
    /// The workload ends with a status that is not 0, or with just this one.
    ExitStatus(Option<u8>),
}
