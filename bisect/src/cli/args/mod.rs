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
