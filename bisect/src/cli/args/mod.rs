//! Groups of options that several subcommands share.

mod kernel;
mod launcher;
mod machine;
mod symbols;
mod workload;

pub(crate) use kernel::{KernelArgs, hinted};
pub(crate) use launcher::{LauncherArgs, select_hint};
pub(crate) use machine::MachineArgs;
pub(crate) use symbols::{Explainer, SymbolsArgs, symbols_of};
pub(crate) use workload::WorkloadArgs;

/// Reads a number that can't be 0.
pub(crate) fn at_least_one<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "must be a number from 1 up".to_owned())
}

/// Reads a crash title: an empty one, as of a variable that is not set, would be that of no crash.
pub(crate) fn title(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty, as no crash's title is; `*` stands for any text".to_owned()),
        title => Ok(title.to_owned()),
    }
}
