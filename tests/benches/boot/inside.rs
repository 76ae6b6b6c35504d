//! PID 1 of the outer machine: one launch after the other, each a line of JSON for the host.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use vmbisect::boot_loop::{self, Limits, Progress};
use vmbisect::cancel::Cancel;
use vmbisect::trial::launcher::{InProcess, outer_init};
use vmbisect::trial::{Acpi, Job, Target};

use super::cells::{Cell, Message};
use super::launch::launch;
use super::plan::{EMPTY_INITRAMFS, GUEST_MIB, KERNEL};

/// Boots of a loop.
const LOOP: u64 = 10;

/// What to launch.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Launches of each cell; the first of them warms up and does not count
    #[arg(long)]
    rounds: u32,

    /// The cells, separated by commas
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,

    /// Whether to boot in a loop as well
    #[arg(long)]
    loops: bool,

    /// Where the program is that stands for vmbisect
    #[arg(long)]
    machine: PathBuf,

    /// Where the peers' programs are, separated by commas; PID 1 has no PATH
    #[arg(long, value_delimiter = ',')]
    peers: Vec<PathBuf>,
}

/// Does it all and switches the machine off.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    Ok(outer_init(|port| measure(options, port))?)
}

fn measure(options: &Options, mut port: File) -> Result<(), Box<dyn Error>> {
    let mut say = |message: &Message| -> Result<(), Box<dyn Error>> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(port.write_all(&line)?)
    };
    for cell in Cell::all().filter(|cell| options.cells.contains(&cell.key())) {
        for round in 0..options.rounds {
            match launch(cell, &options.machine, &options.peers) {
                // What it reads from files is in the page cache from now on.
                Ok(_) if round == 0 && options.rounds > 1 => {}
                Ok(sample) => say(&Message::Sample(cell, sample))?,
                Err(error) => {
                    say(&Message::Failed(cell, format!("{error:#}")))?;
                    break;
                }
            }
        }
    }
    for jobs in [1, 2].into_iter().filter(|_| options.loops) {
        say(&Message::Loop { jobs, boots_per_minute: boots_per_minute(jobs)? })?;
    }
    say(&Message::Done)?;
    // Read by nobody until the host has taken the last line and closes the port.
    let _ = std::io::copy(&mut port, &mut std::io::sink());
    Ok(())
}

/// Boots in a loop, with the whole log, `jobs` machines at a time in this process.
fn boots_per_minute(jobs: u32) -> Result<f64, Box<dyn Error>> {
    let job = Job {
        acpi: Acpi::Off,
        memory_mib: GUEST_MIB,
        ..Job::new(KERNEL.into(), EMPTY_INITRAMFS.into(), Target::AnyCrash)
    };
    let at_a_time = NonZeroUsize::new(jobs as usize).unwrap_or(NonZeroUsize::MIN);
    let limits = Limits { runs: Some(LOOP), ..Limits::default() };
    let go_on = |_: Progress<'_>| ControlFlow::Continue(());
    let started = Instant::now();
    let (launcher, cancel) = (InProcess::new(), Cancel::new());
    let (tally, _) = boot_loop::run(&launcher, &job, at_a_time, &limits, &cancel, go_on)?;
    if tally.passed() != LOOP {
        return Err(format!("{} of {LOOP} boots failed", LOOP - tally.passed()).into());
    }
    Ok(LOOP as f64 * 60.0 / started.elapsed().as_secs_f64())
}
