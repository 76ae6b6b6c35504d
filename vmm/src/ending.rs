//! How a machine stopped.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a machine stopped. Exactly one of these is true of every machine that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// The agent reported that the workload ended, with the status a shell would show.
    Exit {
        /// Exit code, or 128 plus the number of the signal.
        status: u8,
    },
    /// The agent reported that it could not do its work.
    AgentFailed {
        /// What it said.
        reason: String,
    },
    /// The guest asked for a reset: the i8042's 0xFE command or the reset control port 0xCF9.
    Reset,
    /// KVM_EXIT_SHUTDOWN: an exception while delivering a double fault.
    TripleFault,
    /// No progress, and nothing that could bring any.
    Hang {
        /// Which kind.
        kind: HangKind,
    },
    /// The deadline passed while the guest was still running.
    TimedOut {
        /// Seconds the machine was given.
        seconds: u64,
        /// Whether all that it did looks like a loop that does not end: it had been silent for half of
        /// its time at least, the host had let it run meanwhile, and whenever it was looked at it was in
        /// its kernel, though not in one place of it. Otherwise it works, and needs more time.
        #[serde(default)]
        stalled: bool,
    },
    /// The guest printed more than the console may hold.
    ConsoleLimit {
        /// Bytes the console was given.
        bytes: u64,
    },
    /// KVM_EXIT_INTERNAL_ERROR: KVM could not go on running this vCPU.
    KvmInternalError {
        /// The vCPU that it happened on.
        vcpu: u8,
        /// KVM_INTERNAL_ERROR_*: 1 emulation, 2 simultaneous exceptions, 3 event delivery,
        /// 4 unexpected exit reason.
        suberror: u32,
        /// The rest of what KVM said.
        data: Vec<u64>,
        /// Guest instruction pointer at that moment.
        rip: u64,
    },
    /// KVM_EXIT_FAIL_ENTRY: the hardware refused to enter the guest.
    EntryFailed {
        /// The vCPU that it happened on.
        vcpu: u8,
        /// Hardware's reason.
        reason: u64,
        /// The host's CPU that refused.
        cpu: u32,
    },
    /// The VMM's own failure: a KVM_RUN error, an exit nobody knows, a thread that died.
    VmmError {
        /// What failed.
        reason: String,
    },
    /// The host stopped the machine: the target had shown, or the user pressed Ctrl-C.
    Stopped,
}

/// Why a guest makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HangKind {
    /// Every vCPU halted with interrupts off (or not started) and nothing pending: a lost wake-up, or
    /// a kernel that has halted for good, as one without a way to power off does. Certain, and told
    /// within seconds.
    HaltedInterruptsOff,
    /// At least one vCPU spins in place with interrupts off.
    SpinningInterruptsOff,
    /// At least one vCPU spins in place with interrupts on.
    SpinningInterruptsOn,
    /// Every vCPU halted, with interrupts on: it waits for something that does not come. Or one halted
    /// with interrupts off, and the others do no more than kernels do for themselves.
    Idle,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exit { status } => write!(f, "workload exited with status {status}"),
            Ending::AgentFailed { reason } => write!(f, "agent failed: {reason}"),
            Ending::Reset => f.write_str("guest reset"),
            Ending::TripleFault => f.write_str("triple fault"),
            Ending::Hang { kind } => write!(f, "hang: {kind}"),
            Ending::TimedOut { seconds, stalled: false } => {
                write!(f, "still running after {seconds} s")
            }
            Ending::TimedOut { seconds, stalled: true } => {
                write!(
                    f,
                    "still running after {seconds} s, the last half of it at least in silence"
                )
            }
            Ending::ConsoleLimit { bytes } => write!(f, "printed more than {bytes} bytes"),
            Ending::KvmInternalError { vcpu, suberror, data, rip } => {
                write!(
                    f,
                    "KVM internal error {suberror} on vCPU {vcpu} at {rip:#x}, data {data:x?}"
                )
            }
            Ending::EntryFailed { vcpu, reason, cpu } => {
                write!(f, "hardware refused to enter vCPU {vcpu}: reason {reason:#x}, on CPU {cpu}")
            }
            Ending::VmmError { reason } => write!(f, "VMM error: {reason}"),
            Ending::Stopped => f.write_str("stopped by the host"),
        }
    }
}

impl fmt::Display for HangKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HangKind::HaltedInterruptsOff => "every vCPU halted with interrupts off",
            HangKind::SpinningInterruptsOff => "spinning with interrupts off",
            HangKind::SpinningInterruptsOn => "spinning with interrupts on",
            HangKind::Idle => "every vCPU idle",
        })
    }
}
