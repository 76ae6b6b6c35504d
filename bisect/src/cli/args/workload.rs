//! What the guest runs.

use std::path::PathBuf;

use clap::Args;
use guest_init::initramfs::InitramfsError;
use vmbisect::trial::launcher::TEMPORARY;
use vmbisect::trial::{Workload, WorkloadError, prepare, prepare_on_top_of};

use crate::cli::told;

/// What the guest runs after boot; without any of these, the boot itself is the test.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Workload")]
pub(crate) struct WorkloadArgs {
    /// A C file, compiled on this host and linked statically
    #[arg(long, value_name = "FILE", group = "workload")]
    workload_c: Option<PathBuf>,

    /// A statically linked program
    #[arg(long = "workload", value_name = "FILE", group = "workload")]
    program: Option<PathBuf>,

    /// A command line for the shell; takes this host's static busybox along
    #[arg(long, value_name = "COMMAND", group = "workload")]
    run: Option<String>,

    /// A program that is already in the guest, given with --initramfs
    #[arg(long, value_name = "PATH", group = "workload", requires = "initramfs")]
    guest_program: Option<String>,

    /// An argument of the workload; may be given several times
    #[arg(long = "arg", value_name = "ARG", requires = "workload", conflicts_with = "run")]
    #[arg(allow_hyphen_values = true)]
    args: Vec<String>,

    /// An initramfs whose files the guest gets as well; it may be compressed
    #[arg(long, value_name = "FILE")]
    initramfs: Option<PathBuf>,

    /// The C compiler for --workload-c
    #[arg(long, value_name = "COMMAND", env = "CC", hide_env = true)]
    workload_cc: Option<String>,
}

impl WorkloadArgs {
    /// The workload that was asked for.
    pub(crate) fn workload(&self) -> Workload {
        let args = self.args.clone();
        if let Some(path) = self.workload_c.clone() {
            Workload::CSource { path, args }
        } else if let Some(path) = self.program.clone() {
            Workload::Program { path, args }
        } else if let Some(line) = self.run.clone() {
            Workload::Shell(line)
        } else if let Some(path) = self.guest_program.clone() {
            Workload::Guest(std::iter::once(path).chain(args).collect())
        } else {
            Workload::None
        }
    }

    /// The initramfs that brings it into the guest.
    pub(crate) fn prepare(&self) -> anyhow::Result<Vec<u8>> {
        let (workload, cc) = (self.workload(), self.workload_cc.as_deref());
        let prepared = match &self.initramfs {
            Some(base) => prepare_on_top_of(base, &workload, cc),
            None => prepare(&workload, cc),
        };
        told(prepared, hint)
    }
}

/// What the user can do about a workload.
fn hint(error: &WorkloadError) -> &'static str {
    match error {
        WorkloadError::Read { .. } => "check the path and its permissions",
        WorkloadError::Compile { .. } => "it has to compile with -static and no libraries",
        WorkloadError::NotExecutable { .. } => "--run takes a script or a command line",
        WorkloadError::Dynamic { .. } => {
            "--workload-c compiles a C file and links it statically by itself"
        }
        WorkloadError::Initramfs(InitramfsError::NotAnArchive) => {
            "--initramfs takes what `find . | cpio -o -H newc` writes, compressed or not"
        }
        WorkloadError::Initramfs(_) => "give the workload another name or other arguments",
        WorkloadError::Temporary(_) => TEMPORARY,
        WorkloadError::NoBusybox { .. }
        | WorkloadError::NoCompiler { .. }
        | WorkloadError::NoStaticLibc { .. } => {
            "see `vmbisect doctor` for what is missing on this machine"
        }
    }
}
