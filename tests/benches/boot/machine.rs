//! The process that stands for vmbisect beside other VMMs: one machine, its console on standard
//! output, what it reports on standard error. A program of its own, which has as little else in it as
//! theirs: vmbisect runs many machines in one process, whose start is none of a boot's time.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guest_init::protocol::PREFIX;
use vmm::{BootMode, Kernel, Machine, MachineConfig, MachineEvent, Milestone};

use self::plan::{FIRST_BYTE, GUEST_MIB, MachineArguments, NONCE};

#[allow(dead_code)] // the benchmark needs the rest of it
mod plan;

/// Many times what any boot takes. A guest that hangs, as one with more vCPUs than CPUs now and then does,
/// is then told by what its vCPUs do.
const DEADLINE: Duration = Duration::from_secs(3);

/// Runs the machine until standard input is closed.
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let begun = Instant::now();
    let micros = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let arguments =
        MachineArguments::read(std::env::args().skip(1)).ok_or("the machine is not said")?;
    let mut read = 0;
    let machine =
        Machine::start_with(|| -> Result<MachineConfig, Box<dyn Error + Send + Sync>> {
            let kernel = Arc::new(Kernel::open(arguments.image)?);
            let mut config = MachineConfig::new(kernel);
            config.boot = if arguments.native { BootMode::Native } else { BootMode::Direct };
            config.initramfs = Some(fs::read(arguments.initramfs)?.into());
            config.command_line = arguments.command_line;
            config.vcpus = arguments.vcpus;
            config.memory = GUEST_MIB << 20;
            config.deadline = DEADLINE;
            config.nonce = NONCE.to_owned();
            read = micros();
            Ok(config)
        })?;
    let made = micros();
    let (mut entered, mut first_byte) = (0, 0);
    let stopper = machine.stopper();
    let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
    for event in machine.events() {
        match event {
            MachineEvent::Line(line) => writeln!(stdout, "{}", line.text)?,
            MachineEvent::Milestone(Milestone::KernelEntered, _) => entered = micros(),
            MachineEvent::Milestone(Milestone::FirstByte, _) => {
                first_byte = micros();
                writeln!(stderr, "{FIRST_BYTE}")?;
            }
            MachineEvent::Milestone(Milestone::InitReached, _) => {
                writeln!(stderr, "{PREFIX}{NONCE} init")?;
            }
            MachineEvent::Milestone(Milestone::WorkloadStarted, _) => {
                let stopper = stopper.clone();
                thread::spawn(move || {
                    // Closed when what is to be measured is.
                    let _ = std::io::stdin().read_to_end(&mut Vec::new());
                    stopper.stop();
                });
            }
            MachineEvent::Output(_) => {}
            MachineEvent::Ended(summary) => {
                let launch = format!(
                    r#"{{"read":{read},"made":{made},"entered":{entered},"first_byte":{first_byte}}}"#
                );
                writeln!(
                    stderr,
                    r#"{{"exits":{},"console_bytes":{},"launch_us":{launch}}}"#,
                    summary.exits, summary.console_bytes
                )?;
                if summary.ending != vmm::Ending::Stopped {
                    return Err(format!("the machine ended: {}", summary.ending).into());
                }
            }
        }
    }
    Ok(())
}
