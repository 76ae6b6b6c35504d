//! How long a launch takes, measured so that it repeats: vmbisect's machine and QEMU's microvm boot
//! the same kernel in the same outer machine, which QEMU emulates on its instruction clock.
//!
//! ```text
//! cargo bench -p vmbisect-tests --bench boot
//! cargo bench -p vmbisect-tests --bench boot -- --only direct/,loop --rounds 9 --kernel bzImage
//! ```
//!
//! This program is three: run by cargo it prepares the outer machine, starts it and prints the
//! table; in that machine it is PID 1, launches one VMM after the other and takes the times; and it
//! is the VMM that stands for vmbisect, a process that does nothing but run one machine.

mod inside;
mod launch;
mod machine;
mod memory;
mod outside;
mod plan;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Times boots of vmbisect's machine and of QEMU's microvm in an emulated outer machine.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,

    #[command(flatten)]
    options: outside::Options,

    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// PID 1 of the outer machine.
    #[command(hide = true)]
    Inside(inside::Options),
    /// One machine of vmbisect's.
    #[command(hide = true)]
    Machine(machine::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Inside(options)) => inside::run(&options)?,
        Some(Role::Machine(options)) => machine::run(&options)?,
        None if cli.bench => return outside::run(&cli.options),
        None => println!("skipped: a benchmark, which `cargo bench` runs"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the outer machine has what is booted.
const KERNEL: &str = "/bench/bzImage";
/// The same kernel as its build links it.
const VMLINUX: &str = "/bench/vmlinux";
/// The initramfs that it is booted with.
const INITRAMFS: &str = "/bench/initramfs";
/// One without a workload: its boot is over when PID 1 runs.
const EMPTY_INITRAMFS: &str = "/bench/empty";
/// Guest memory in MiB.
const GUEST_MIB: u64 = 256;
/// What the guest's reports carry.
const NONCE: &str = "bench";
