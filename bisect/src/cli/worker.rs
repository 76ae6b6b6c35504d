//! `vmbisect worker`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use vmbisect::temp::TempRoom;
use vmbisect::trial::launcher::{outer_main, serve, tether};

use super::Output;

/// Runs trials for another vmbisect: jobs on standard input, events on standard output, a JSON
/// object a line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Be PID 1 of an outer machine and serve its port
    Outer,
    /// Run a program that the kernel kills when the one that started this is gone
    Tether {
        /// Process id of the one that starts this
        #[arg(long)]
        parent: i32,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, _output: &Output) -> anyhow::Result<ExitCode> {
    match &args.mode {
        Some(Mode::Outer) => outer_main()?,
        Some(Mode::Tether { parent, command }) => match tether(*parent, command)? {},
        None => {
            let directory = TempRoom::new("worker");
            let directory = directory.context("can't make a directory for the trials' files")?;
            serve(std::io::stdin(), std::io::stdout(), directory.path())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
