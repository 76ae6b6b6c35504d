//! What counts as the bug.

use clap::Args;
use vmbisect::trial::Target;

use crate::cli::args::title;

/// What counts as the bug.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Target")]
pub(super) struct TargetArgs {
    /// A crash of this title, such as 'WARNING in kvm_wait'; * stands for any text; may be given
    /// several times
    #[arg(long, value_name = "TITLE", value_parser = title, group = "target")]
    crash: Vec<String>,

    /// With --crash, take a crash for it too that is likely to be the same bug, seen another way (a
    /// page fault for a KASAN report, an RCU stall for a hung task) in the same function;
    /// `vmbisect classify --compare` tells whether two titles are
    #[arg(long, requires = "crash")]
    accept_family: bool,

    /// Any crash at all
    #[arg(long, group = "target")]
    any_crash: bool,

    /// The kernel does not reach init
    #[arg(long, group = "target")]
    no_boot: bool,

    /// The guest makes no progress
    #[arg(long, group = "target")]
    hang: bool,

    /// The workload fails, or ends with just this status
    #[arg(long, value_name = "STATUS", group = "target", num_args = 0..=1)]
    exit_status: Option<Option<u8>>,
}

impl TargetArgs {
    /// The target that was asked for.
    pub(super) fn target(&self) -> Target {
        match self {
            TargetArgs { crash, accept_family: true, .. } => Target::CrashFamily(crash.clone()),
            TargetArgs { crash, .. } if !crash.is_empty() => Target::Crash(crash.clone()),
            TargetArgs { exit_status: Some(status), .. } => Target::ExitStatus(*status),
            TargetArgs { no_boot: true, .. } => Target::NoBoot,
            TargetArgs { hang: true, .. } => Target::Hang,
            TargetArgs { .. } => Target::AnyCrash,
        }
    }
}
