//! What a running machine tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Ending, PvFeatures, VcpuState};

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
    /// The paravirtual features that the guest was shown, read back from KVM.
    #[serde(default)]
    pub pv_features: PvFeatures,
    /// What the agent said about the guest; keys are in `guest_init::protocol::fact`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// What each vCPU was doing when a machine that hung or ran out of time was stopped; empty for
    /// other endings. A vCPU that did not answer in time is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vcpus: Vec<VcpuState>,
}

impl Summary {
    /// A machine that ended so, and did nothing before.
    pub fn new(ending: Ending) -> Summary {
        Summary {
            ending,
            wall_us: 0,
            exits: 0,
            console_bytes: 0,
            vcpu_cpu_us: 0,
            pv_features: PvFeatures::NONE,
            facts: BTreeMap::new(),
            vcpus: Vec::new(),
        }
    }
}
