//! Groups of options that several subcommands share.

mod kernel;

pub(crate) use kernel::{KernelArgs, hinted};
