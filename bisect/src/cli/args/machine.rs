//! What the machine is made of.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vmbisect::trial::{Acpi, Job, Target};
use vmm::{BootMode, KernelSymbols, PvFeatures, RandomSeed};

/// What each trial's machine is made of.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(crate) struct MachineArgs {
    /// Number of vCPUs, 1 to 64; races over locks show best with more than the host has CPUs
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) vcpus: u8,

    /// Guest memory in MiB, from 64 to what the host has
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    pub(crate) memory: u64,

    /// Seconds after which a trial that still runs is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=7 * 24 * 3600))]
    pub(crate) timeout: u64,

    /// Seconds of silence after which a guest that makes no progress is ended as a hang. By default
    /// that is 30 for a kernel that spins in one place with interrupts off (of the CPU time that it
    /// gets), while one that is idle, or spins with interrupts on as `idle=poll` does, may go on until
    /// the time-out. One whose vCPUs have all halted for good ends at once
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=7 * 24 * 3600))]
    pub(crate) hang_after: Option<u64>,

    /// Appended to the kernel command line
    #[arg(
        long,
        value_name = "PARAMETERS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) append: String,

    /// How the kernel is entered: decompressed by the VMM, or by its own decompressor
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(crate) boot: Boot,

    /// Let the kernel randomize where it lies, as it does where it decompresses itself: implies
    /// native boot. Without this, addresses are those of System.map
    #[arg(long, conflicts_with = "boot")]
    pub(crate) kaslr: bool,

    /// Whether the kernel finds its processors by ACPI or by the MP table; by ACPI it needs KVM's clock
    /// (clocksource2 in --pv) as well
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) acpi: AcpiArg,

    /// What the guest's random generator is seeded with: `fresh` random bytes for each trial, `none`,
    /// or always this number
    #[arg(long, value_name = "SEED", default_value_t)]
    pub(crate) seed: RandomSeed,

    /// KVM's paravirtual features that the guest is shown: `all` or `none`, then single ones to add
    /// or, with a minus, to take away, as in `all,-pv-unhalt`
    #[arg(long, value_name = "LIST", default_value_t, allow_hyphen_values = true)]
    pub(crate) pv: PvFeatures,

    /// Count a trial only if the guest's paravirtual spinlocks are on
    #[arg(long)]
    pub(crate) require_pv_spinlocks: bool,
}

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Boot {
    /// The VMM decompresses it
    #[default]
    Direct,
    /// Its own decompressor runs
    Native,
}

/// By which tables the kernel finds its processors.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum AcpiArg {
    /// By ACPI only if it can't read the MP table
    #[default]
    Auto,
    /// By ACPI if it can
    On,
    /// By the MP table
    Off,
}

impl MachineArgs {
    /// How the kernel is entered.
    pub(crate) fn boot_mode(&self) -> BootMode {
        match self.boot {
            _ if self.kaslr => BootMode::Native,
            Boot::Direct => BootMode::Direct,
            Boot::Native => BootMode::Native,
        }
    }

    /// The job that runs `kernel` on such a machine.
    pub(crate) fn job(&self, kernel: PathBuf, initramfs: PathBuf, target: Target) -> Job {
        Job {
            id: 0,
            kernel,
            initramfs,
            append: self.append.clone(),
            boot: self.boot_mode(),
            kaslr: self.kaslr,
            acpi: match self.acpi {
                AcpiArg::Auto => Acpi::Auto,
                AcpiArg::On => Acpi::On,
                AcpiArg::Off => Acpi::Off,
            },
            seed: self.seed,
            vcpus: self.vcpus,
            memory_mib: self.memory,
            pv_features: self.pv,
            timeout_s: self.timeout,
            hang_after_s: self.hang_after,
            symbols: None,
            kernel_symbols: KernelSymbols::default(),
            target,
            require_pv_spinlocks: self.require_pv_spinlocks,
            measure_memory: false,
            goes_on: false,
            terminal: None,
        }
    }
}
