//! What a machine is made of.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::forensics::KernelSymbols;
use crate::{Kernel, PvFeatures, RandomSeed};

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootMode {
    /// The VMM decompresses the payload and enters the ELF kernel at its own entry. Fast, and
    /// symbols are where System.map says: it is the decompressor that randomizes where a kernel lies
    /// (CONFIG_RANDOMIZE_BASE) and tells it to randomize its memory map.
    #[default]
    Direct,
    /// The image's own decompressor runs, entered at its 64-bit entry or, in a kernel that has none,
    /// at its 32-bit one (boot.rst). It randomizes unless `nokaslr` is on the command line.
    Native,
}

/// What a machine is made of. [`MachineConfig::new`] gives one vCPU and 256 MiB.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// The kernel, read and checked; many machines can share one.
    pub kernel: Arc<Kernel>,
    /// How it is entered.
    pub boot: BootMode,
    /// The initial RAM file system, if any.
    pub initramfs: Option<Arc<[u8]>>,
    /// The kernel command line, complete: the machine adds nothing.
    pub command_line: String,
    /// Number of vCPUs, from 1 to 64.
    pub vcpus: u8,
    /// Guest memory in bytes: from 64 MiB to what the host has, at most 1 TiB, a multiple of 1 MiB.
    /// What is beyond 3 GiB lies from 4 GiB on.
    pub memory: u64,
    /// Which of KVM's paravirtual features the guest is shown.
    pub pv_features: PvFeatures,
    /// What its random generator is seeded with.
    pub seed: RandomSeed,
    /// Wall-clock time after which a machine that still runs ends as `TimedOut`.
    pub deadline: Duration,
    /// How long the guest may show no sign of progress before it ends as a hang.
    ///
    /// With none, the default, only hangs that no honest workload looks like end before the deadline:
    /// a vCPU that has spun in one place of the kernel for [`MachineConfig::SPIN_PATIENCE`] with
    /// interrupts off. One that is idle may be waiting for a timer of its workload's, and one that
    /// spins with interrupts on may be idle as well (`idle=poll`), or in a long loop; if it hangs, the
    /// kernel's own detector of soft lockups says so, where it has one. With a time, an idle guest ends
    /// as well, after so long a silence, and one that spins in whatever way after so much CPU time.
    ///
    /// A guest whose vCPUs have all halted for good ends within seconds in any case; one that runs a
    /// program, or is elsewhere in its kernel at each look, never does before the deadline.
    pub hang_after: Option<Duration>,
    /// Where things lie in this kernel, for what is read from its memory when it has ended.
    pub symbols: KernelSymbols,
    /// What the agent's reports must carry; see `guest_init::protocol`. With an empty one no report
    /// counts.
    pub nonce: String,
    /// Bytes of console output after which the machine ends.
    pub console_limit: u64,
    /// Whether what the console prints is told at once ([`MachineEvent::Output`]), beside the lines:
    /// for a terminal, on which a prompt has no line end.
    ///
    /// [`MachineEvent::Output`]: crate::MachineEvent::Output
    pub raw_console: bool,
}

impl MachineConfig {
    /// CPU time that a vCPU may spin for in one place of the kernel with interrupts off where
    /// [`Self::hang_after`] says nothing: longer than the kernel's own detectors take (10 s for
    /// interrupts off, 20 s for a task that does not let others run), so that they come first.
    pub const SPIN_PATIENCE: Duration = Duration::from_secs(30);

    /// A machine for `kernel` with one vCPU, 256 MiB, every paravirtual feature and a minute.
    pub fn new(kernel: Arc<Kernel>) -> MachineConfig {
        MachineConfig {
            kernel,
            boot: BootMode::default(),
            initramfs: None,
            command_line: String::new(),
            vcpus: 1,
            memory: 256 << 20,
            pv_features: PvFeatures::default(),
            seed: RandomSeed::default(),
            deadline: Duration::from_secs(60),
            hang_after: None,
            symbols: KernelSymbols::default(),
            nonce: String::new(),
            console_limit: 16 << 20,
            raw_console: false,
        }
    }
}
