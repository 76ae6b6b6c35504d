//! Where trials run.

use thiserror::Error;

use super::{Job, TrialEvent, TrialReport};
use crate::cancel::Cancel;

/// A place that runs trials: this process, or a program that reads jobs and prints events.
///
/// `run` blocks until the trial is over and may be called from as many threads as
/// [`Launcher::capacity`] says.
pub trait Launcher: Send + Sync {
    /// What it is, for people: `in process on kvm_amd`.
    fn describe(&self) -> String;

    /// How many trials of `vcpus` vCPUs and `memory_mib` MiB it carries at a time; at least 1.
    fn capacity(&self, vcpus: u8, memory_mib: u64) -> usize;

    /// Runs one trial and hands over what it says as it happens (`Done` included).
    ///
    /// # Errors
    /// Fails only where the launcher itself does; whatever happens to the machine is an outcome.
    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError>;
}

/// Why a launcher could not run a trial.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A file of the job can't be read.
    #[error("can't read {path}")]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program behind the launcher did not start, died or spoke nonsense.
    #[error("{launcher}: {reason}")]
    Remote {
        /// Which launcher.
        launcher: String,
        /// What happened.
        reason: String,
    },
}
