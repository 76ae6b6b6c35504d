//! What is to be tried and what was seen, as JSON: the same for every launcher.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vmm::{BootMode, ConsoleLine, KernelSymbols, Milestone, PvFeatures, RandomSeed, Summary};

use super::{Evidence, Outcome, Overhead, Target, Terminal, TitleCount, UnseenLog, decide};
use crate::crash::{Crash, Phase};

/// By which tables the kernel finds its processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acpi {
    /// By the MP table if it can read one, by ACPI if it can't (CONFIG_X86_MPPARSE is not set).
    #[default]
    Auto,
    /// By ACPI if it can, by the MP table if it can't.
    On,
    /// By the MP table: `acpi=off` is on its command line.
    Off,
}

/// One trial to run. Paths are as the place that runs it sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Chosen by whoever submits it; events carry it back.
    pub id: u64,
    /// The image: bzImage or ELF vmlinux.
    pub kernel: PathBuf,
    /// The initramfs with the agent and the workload.
    pub initramfs: PathBuf,
    /// Appended to the command line that every trial gets.
    #[serde(default)]
    pub append: String,
    /// How the kernel is entered.
    #[serde(default)]
    pub boot: BootMode,
    /// Whether the kernel may randomize where it lies (KASLR), which it does with native boot only.
    #[serde(default)]
    pub kaslr: bool,
    /// By which tables it finds its processors.
    #[serde(default)]
    pub acpi: Acpi,
    /// What its random generator is seeded with.
    #[serde(default)]
    pub seed: RandomSeed,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Guest memory in MiB.
    pub memory_mib: u64,
    /// Paravirtual features that the guest is shown.
    #[serde(default)]
    pub pv_features: PvFeatures,
    /// Seconds until a trial that still runs is ended.
    pub timeout_s: u64,
    /// Seconds of silence after which a guest without progress is ended; see
    /// [`vmm::MachineConfig::hang_after`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hang_after_s: Option<u64>,
    /// The file with the kernel's symbols, where the job is submitted: the place that runs it gets
    /// [`Job::kernel_symbols`] instead.
    #[serde(skip)]
    pub symbols: Option<PathBuf>,
    /// Where things lie in this kernel, for what is read from its memory.
    #[serde(default, skip_serializing_if = "KernelSymbols::is_empty")]
    pub kernel_symbols: KernelSymbols,
    /// What the bisection looks for.
    pub target: Target,
    /// Whether the trial is only valid with PV spinlocks on.
    #[serde(default)]
    pub require_pv_spinlocks: bool,
    /// Whether the report says what the machine cost in memory. It costs some time, and it counts
    /// the whole process: meant for one trial at a time.
    #[serde(default)]
    pub measure_memory: bool,
    /// Whether the machine goes on after a crash, to an end of its own; otherwise it is stopped when the
    /// crash's report is complete. What the trial says is the same: the first crash decides.
    #[serde(default)]
    pub goes_on: bool,
    /// What types on the guest's console, if something does: the workload then has the console for
    /// its terminal, and what the guest prints comes before its line is complete as well, as
    /// [`TrialEvent::Output`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

impl Job {
    /// A trial on one vCPU with 256 MiB, given a minute, and for the rest as a job is that says no
    /// more.
    pub fn new(kernel: PathBuf, initramfs: PathBuf, target: Target) -> Job {
        Job {
            id: 0,
            kernel,
            initramfs,
            append: String::new(),
            boot: BootMode::default(),
            kaslr: false,
            acpi: Acpi::default(),
            seed: RandomSeed::default(),
            vcpus: 1,
            memory_mib: 256,
            pv_features: PvFeatures::default(),
            timeout_s: 60,
            hang_after_s: None,
            symbols: None,
            kernel_symbols: KernelSymbols::default(),
            target,
            require_pv_spinlocks: false,
            measure_memory: false,
            goes_on: false,
            terminal: None,
        }
    }
}

/// What a trial says while it runs and, last, at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TrialEvent {
    /// The console printed a line.
    Line(ConsoleLine),
    /// The console printed these bytes; only where there is a terminal.
    Output {
        /// As the guest wrote them.
        bytes: Vec<u8>,
    },
    /// A milestone was passed.
    Milestone {
        /// Which one.
        milestone: Milestone,
        /// Microseconds since the machine was started.
        at_us: u64,
    },
    /// The classifier found a crash; its report may still grow.
    Crash(Box<SeenCrash>),
    /// The place that ran the trial was lost; it starts again from nothing.
    Restarted {
        /// What happened.
        reason: String,
    },
    /// The trial is over.
    Done(Box<TrialReport>),
}

/// A crash, and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCrash {
    /// Before or after the workload was started.
    pub phase: Phase,
    /// Host time since the machine was started, in microseconds, when it was recognised.
    pub at_us: u64,
    /// What was seen.
    #[serde(flatten)]
    pub crash: Crash,
}

/// What is left of a trial when it is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// What it says about the target.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Every crash, in the order they were printed. Of more than 100 the first are here, and the first
    /// of each title.
    pub crashes: Vec<SeenCrash>,
    /// How many crashes there were, also those that are not here.
    #[serde(default)]
    pub crashes_seen: u64,
    /// How many of each title, the most frequent first: up to 1000 titles.
    #[serde(default)]
    pub titles: Vec<TitleCount>,
    /// How the machine stopped and what it took; none if it was never started.
    pub machine: Option<Summary>,
    /// Milestones passed, with microseconds since the start.
    pub milestones: Vec<(Milestone, u64)>,
    /// CPUs that the guest says it brought up.
    pub cpus_online: Option<u32>,
    /// Whether the guest's PV spinlocks are on, if it said so.
    pub pv_spinlocks: Option<bool>,
    /// What the kernel's own log says beyond what its console showed; of a trial that ended in a way
    /// that leaves questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen_log: Option<UnseenLog>,
    /// What the machine cost in memory, if the job wanted it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Overhead>,
}

impl TrialReport {
    /// The report of a trial whose machine was never started.
    pub fn without_machine(outcome: Outcome) -> TrialReport {
        TrialReport {
            outcome,
            crashes: Vec::new(),
            crashes_seen: 0,
            titles: Vec::new(),
            machine: None,
            milestones: Vec::new(),
            cpus_online: None,
            pv_spinlocks: None,
            unseen_log: None,
            overhead: None,
        }
    }

    /// What it says about the target of `job`, with these crashes printed and, if the machine hung,
    /// this to be said about it.
    pub(super) fn decide(&self, job: &Job, crashes: &[SeenCrash], hang: Option<&Crash>) -> Outcome {
        let Some(machine) = &self.machine else { return self.outcome.clone() };
        decide(&Evidence {
            target: &job.target,
            crashes,
            hang,
            ending: &machine.ending,
            reached: self.milestones.iter().map(|(milestone, _)| *milestone).max(),
            vcpus: job.vcpus,
            cpus_online: self.cpus_online,
            require_pv_spinlocks: job.require_pv_spinlocks,
            pv_spinlocks: self.pv_spinlocks,
        })
    }
}
