//! The process that stands for vmbisect beside other VMMs: one machine, its console on standard
//! output, what it reports on standard error.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use guest_init::protocol::PREFIX;
use serde_json::json;
use vmm::{BootMode, Kernel, Machine, MachineConfig, MachineEvent, Milestone, NewVm};

use super::{GUEST_MIB, INITRAMFS, KERNEL, NONCE, VMLINUX};

/// The machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Let the image's own decompressor run
    #[arg(long)]
    native: bool,

    /// Boot the vmlinux
    #[arg(long, conflicts_with = "native")]
    vmlinux: bool,

    /// The guest's vCPUs
    #[arg(long, default_value_t = 1)]
    vcpus: u8,

    /// The guest's command line
    #[arg(long)]
    append: String,
}

/// What is written when the first byte has come, whose line may end much later.
pub(crate) const FIRST_BYTE: &str = "first byte";

/// Runs the machine until standard input is closed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    let micros = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let vm = NewVm::begin()?;
    let kernel = Arc::new(Kernel::open(if options.vmlinux { VMLINUX } else { KERNEL })?);
    let mut config = MachineConfig::new(kernel);
    config.boot = if options.native { BootMode::Native } else { BootMode::Direct };
    config.initramfs = Some(fs::read(INITRAMFS)?.into());
    config.command_line.clone_from(&options.append);
    config.vcpus = options.vcpus;
    config.memory = GUEST_MIB << 20;
    config.deadline = Duration::from_secs(300);
    config.nonce = NONCE.to_owned();
    let read = micros();
    let machine = Machine::start_in(vm, config)?;
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
                // Closed when what is to be measured is.
                std::io::stdin().read_to_end(&mut Vec::new())?;
                stopper.stop();
            }
            MachineEvent::Output(_) => {}
            MachineEvent::Ended(summary) => {
                let counts = json!({
                    "exits": summary.exits,
                    "console_bytes": summary.console_bytes,
                    "launch_us": { "read": read, "made": made, "entered": entered,
                        "first_byte": first_byte },
                });
                writeln!(stderr, "{counts}")?;
                if summary.ending != vmm::Ending::Stopped {
                    bail!("the machine ended: {}", summary.ending);
                }
            }
        }
    }
    Ok(())
}
