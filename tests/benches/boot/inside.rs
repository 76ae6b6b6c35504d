//! PID 1 of the outer machine: one launch after the other, each a line of JSON for the host.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use vmbisect::trial::launcher::outer_init;

use super::launch::launch;
use super::plan::{Cell, Message};

/// What to launch.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Launches of each cell; the first of them warms up and does not count
    #[arg(long)]
    rounds: u32,

    /// The cells, separated by commas
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,

    /// Where QEMU is; PID 1 has no PATH
    #[arg(long)]
    qemu: PathBuf,
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
            match launch(cell, &options.qemu) {
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
    say(&Message::Done)?;
    // Read by nobody until the host has taken the last line and closes the port.
    let _ = std::io::copy(&mut port, &mut std::io::sink());
    Ok(())
}
