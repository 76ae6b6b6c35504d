//! A running machine.

use thiserror::Error;

use crate::{MachineConfig, MachineEvent};

/// A running machine. Dropping it stops it; its threads and its memory are gone when `drop` returns.
#[derive(Debug)]
pub struct Machine {
    stopper: Stopper,
}

/// Stops a machine from any thread. Clones stop the same machine.
#[derive(Clone, Debug)]
pub struct Stopper;

/// Why a machine could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// Nothing to start yet.
    #[error("no machine")]
    None,
}

impl Machine {
    /// Makes the machine and starts it.
    ///
    /// # Errors
    /// Fails if the configuration can't be honoured or the host can't give what it takes.
    pub fn start(config: MachineConfig) -> Result<Machine, StartError> {
        let _ = config;
        Err(StartError::None)
    }

    /// What the machine says, until it has ended. Blocks between events.
    pub fn events(&self) -> impl Iterator<Item = MachineEvent> + '_ {
        std::iter::empty()
    }

    /// A handle that stops the machine; it then ends as `Stopped`.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }
}

impl Stopper {
    /// Stops the machine. Does nothing if it has already ended.
    pub fn stop(&self) {}
}
