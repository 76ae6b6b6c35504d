//! How long a launch takes, measured so that it repeats: vmbisect's machine and other VMMs boot the
//! same kernel in the same outer machine, which QEMU emulates on its instruction clock. QEMU's microvm is
//! there wherever the benchmark is, other [peers] where they are on PATH.
//!
//! ```text
//! cargo bench -p vmbisect-tests --bench boot
//! cargo bench -p vmbisect-tests --bench boot -- --only direct/,loop --rounds 9 --kernel bzImage
//! ```
//!
//! This program is two: run by cargo it prepares the outer machine, starts it and prints the table; in
//! that machine it is PID 1, launches one VMM after the other and takes the times. What stands for
//! vmbisect there is another program (`machine.rs`), which does nothing but run one machine and is
//! linked statically, as VMMs are that come as one file.

mod cells;
mod inside;
mod launch;
mod memory;
mod outside;
mod peers;
mod plan;
mod program;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Times boots of vmbisect's machine and of other VMMs in an emulated outer machine.
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
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Inside(options)) => inside::run(&options)?,
        None if cli.bench => return outside::run(&cli.options),
        None => println!("skipped: a benchmark, which `cargo bench` runs"),
    }
    Ok(ExitCode::SUCCESS)
}
