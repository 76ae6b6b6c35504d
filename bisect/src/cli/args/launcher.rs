//! Where trials run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use vmbisect::cancel::Cancel;
use vmbisect::tools::{self, Purpose};
use vmbisect::trial::launcher::{
    Choice, OuterKernel, SelectError, Selected, TcgConfig, TcgError, select,
};

use crate::cli::{Output, WithHint, told};

/// Where trials run, and how many at a time.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Launcher")]
pub(crate) struct LauncherArgs {
    /// `auto`, `in-process`, `tcg` (an outer Linux under QEMU's emulation) or `command:COMMAND`,
    /// such as `command:ssh host vmbisect worker`
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub(crate) launcher: Choice,

    /// Trials at a time, instead of as many as fit
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<NonZeroUsize>)]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// The outer Linux's kernel, instead of the distribution's
    #[arg(long, value_name = "FILE", requires = "outer_modules", env = "VMBISECT_OUTER_KERNEL")]
    outer_kernel: Option<PathBuf>,

    /// The directory with its modules, such as /lib/modules/6.1.0-56-cloud-amd64
    #[arg(long, value_name = "DIR", requires = "outer_kernel", env = "VMBISECT_OUTER_MODULES")]
    outer_modules: Option<PathBuf>,
}

impl LauncherArgs {
    /// Makes the launcher ready and says what it is and why.
    pub(crate) fn select(&self, output: &Output, cancel: &Cancel) -> anyhow::Result<Selected> {
        let selected = select(&self.launcher, self.tcg(), vmm::host::inspect);
        let hint = selected.as_ref().err().map(select_hint).unwrap_or_default();
        let selected = selected.hint(hint)?;
        output.note(format!("launcher: {} ({})", selected.launcher.describe(), selected.why));
        let prepared = selected.launcher.prepare(&mut |line| output.note(line), cancel);
        told(prepared, |error| error.hint().to_owned())?;
        Ok(match self.jobs {
            Some(jobs) => selected.at_a_time(jobs),
            None => selected,
        })
    }

    fn tcg(&self) -> TcgConfig {
        let given = self.outer_kernel.clone().zip(self.outer_modules.clone());
        let kernel = given.map(|(image, modules)| OuterKernel { image, modules });
        TcgConfig { kernel, ..TcgConfig::default() }
    }
}

/// What to do where no launcher can be had.
pub(crate) fn select_hint(error: &SelectError) -> String {
    match error {
        SelectError::Tcg(TcgError::NoQemu(_)) | SelectError::Nowhere { .. } => format!(
            "to emulate a machine that has KVM, run `{}`",
            tools::install_line(&tools::needed_for(&[Purpose::OuterMachine]))
        ),
        SelectError::NoKvm(_) | SelectError::Tcg(_) => {
            "`vmbisect doctor` says what this machine can do; --launcher tcg needs no KVM".into()
        }
    }
}
