//! What a running machine tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::forensics::{KernelLog, LogError};
use crate::{Ending, PvFeatures, VcpuState};

/// A line of the guest's console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLine {
    /// Host time since the machine was started, in microseconds, when the line was complete.
    pub at_us: u64,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A point that boots pass, in this order of how far they have got. Most pass them in it; a guest that
/// prints nothing before its agent reports has its first byte later, or never.
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
    /// The console printed these bytes: as many as have come since the listener took the last event,
    /// up to the end of a line. Only with [`MachineConfig::raw_console`].
    ///
    /// [`MachineConfig::raw_console`]: crate::MachineConfig::raw_console
    Output(Vec<u8>),
    /// A milestone was passed, this many microseconds after the start.
    Milestone(Milestone, u64),
    /// The machine has stopped; its threads and its memory are gone.
    Ended(Box<Summary>),
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
    /// CPU features that the host's KVM offers and that were hidden from the guest, see
    /// [`CpuFacts::hidden`](crate::CpuFacts::hidden).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Whether the guest's spinlocks are paravirtual, read from its memory when it had ended. Nothing
    /// without the symbols of its kernel, for a 32-bit kernel, or if the host ended the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pv_spinlocks: Option<bool>,
    /// What the agent said about the guest; keys are in `guest_init::protocol::fact`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// What each vCPU was doing when the machine ended; empty if it was the agent that ended it, the
    /// host, or the VMM's own failure. A vCPU that did not answer in time is missing. (Some KVMs
    /// reset a vCPU that has met a triple fault; its registers say nothing then.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vcpus: Vec<VcpuState>,
    /// Microseconds that the guest had been silent for when it ended as a hang or timed out: nothing
    /// on the console and no report. Known to the second.
    #[serde(default)]
    pub silent_us: u64,
    /// What a guest that hung said when each of its vCPUs got an NMI: at most 64 KiB. With
    /// `unknown_nmi_panic` on its command line a kernel that still can prints a stack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nmi_lines: Vec<String>,
    /// Whether the symbols that the machine was given are its kernel's: `linux_banner` is where they
    /// say. None if they don't say, or it was not looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols_fit: Option<bool>,
    /// The kernel's own log, read from the guest's memory when it had ended, or why there is none;
    /// nothing if the host ended the machine. It stays with who ran the machine: it is not part of
    /// the JSON.
    #[serde(skip)]
    pub kernel_log: Option<Result<KernelLog, LogError>>,
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
            hidden: Vec::new(),
            pv_spinlocks: None,
            facts: BTreeMap::new(),
            vcpus: Vec::new(),
            silent_us: 0,
            nmi_lines: Vec::new(),
            symbols_fit: None,
            kernel_log: None,
        }
    }
}
