//! `vmbisect classify`.

use std::process::ExitCode;

use super::Output;

/// Arguments of `vmbisect classify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let _ = (args, output);
    anyhow::bail!("nothing here yet")
}
