//! One machine, one boot, one workload: what is to be tried, what was seen, and what that says.

mod job;
mod launcher;
mod outcome;
mod target;
mod workload;

pub use job::{Job, TrialEvent, TrialReport};
pub use launcher::{LaunchError, Launcher};
pub use outcome::Outcome;
pub use target::Target;
pub use workload::{Workload, WorkloadError, prepare, prepare_on_top_of};
