//! What a running machine tells.

use serde::{Deserialize, Serialize};

use crate::Ending;

/// A line of the guest's console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLine {
    /// Host time since the machine was started, in microseconds, when the line was complete.
    pub at_us: u64,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A point that every boot passes in this order, if it gets that far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The first KVM_RUN of the boot vCPU.
    KernelEntered,
    /// The first byte on the serial port.
    FirstByte,
    /// PID 1 reported that it runs.
    InitReached,
    /// PID 1 reported that the workload runs.
    WorkloadStarted,
}

/// What a machine says, in the order it happened. [`MachineEvent::Ended`] is always the last.
#[derive(Clone, Debug, PartialEq)]
pub enum MachineEvent {
    /// The console printed a line.
    Line(ConsoleLine),
    /// A milestone was passed, this many microseconds after the start.
    Milestone(Milestone, u64),
    /// The machine has stopped; its threads and its memory are gone.
    Ended(Summary),
}

/// What is left of a machine when it has stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How it stopped.
    pub ending: Ending,
    /// Start to end, in microseconds.
    pub wall_us: u64,
    /// KVM exits to the VMM, over all vCPUs.
    pub exits: u64,
    /// Bytes the guest wrote to the console.
    pub console_bytes: u64,
    /// CPU time that the vCPU threads got, in microseconds.
    pub vcpu_cpu_us: u64,
}
