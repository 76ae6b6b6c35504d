//! Where trials run.

mod command;
mod connection;
mod cost;
mod error;
mod in_process;
mod outer;
mod remote;
mod select;
mod tcg;
mod tether;
mod uploads;
mod wire;
mod worker;

use std::num::NonZeroUsize;

use super::{Job, TrialEvent, TrialReport};
use crate::cancel::Cancel;

pub use command::Command;
pub use cost::{Cost, measure};
pub use error::{LaunchError, TEMPORARY};
pub use in_process::InProcess;
pub use outer::{OuterError, outer_init, outer_main};
pub use select::{Choice, SelectError, Selected, select};
pub use tcg::{
    Clock, ModuleError, OuterImage, OuterKernel, OuterKernelError, OuterMachine, ProgramError, Tcg,
    TcgConfig, TcgError,
};
pub use tether::{TetherError, tether};
pub use worker::{WorkerError, serve};

/// A place that runs trials: this process, or a program that reads jobs and prints events.
///
/// `run` blocks until the trial is over and may be called from as many threads as
/// [`Launcher::capacity`] says.
pub trait Launcher: Send + Sync {
    /// What it is, for people: `in process on kvm_amd`.
    fn describe(&self) -> String;

    /// How many trials with `memory_mib` MiB each it carries at a time, `per_cpu` of them on each of
    /// its CPUs as far as its memory lasts; at least 1. It may have to be started to find that out.
    fn capacity(&self, memory_mib: u64, per_cpu: NonZeroUsize, cancel: &Cancel) -> usize;

    /// Does now what would keep the first trial waiting for long, as a download does, and hands over
    /// what is to be told of it meanwhile, a line at a time.
    ///
    /// # Errors
    /// Fails where the first trial would for want of it, or when cancelled.
    fn prepare(&self, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<(), LaunchError> {
        let _ = (on_line, cancel);
        Ok(())
    }

    /// Runs one trial and hands over what it says as it happens (`Done` included).
    ///
    /// # Errors
    /// Fails only where the launcher itself does, or if the trial can't be run as asked; whatever
    /// happens to the machine is an outcome.
    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError>;
}

/// How many machines fit a place at a time.
///
/// A trial keeps about one CPU busy: it boots on one, and the races that are looked for want more
/// vCPUs than CPUs. Memory that a guest has not touched yet may well be touched later, so it
/// counts in full, and an eighth of what is free stays so.
fn machines_at_a_time(cpus: usize, per_cpu: NonZeroUsize, free_mib: u64, memory_mib: u64) -> usize {
    let by_memory = (free_mib - free_mib / 8) / memory_mib.max(1);
    let by_cpus = cpus.saturating_mul(per_cpu.get());
    by_cpus.min(usize::try_from(by_memory).unwrap_or(usize::MAX)).max(1)
}
