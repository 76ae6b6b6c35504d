//! Boots a kernel and prints its console, its milestones and how it ended.
//!
//! ```text
//! cargo run --example boot -- bzImage [initramfs [vcpus [memory-mib [direct|native [append [pv-features]]]]]]
//! ```
//!
//! The agent's nonce is `example`: a line `vmbisect-agent: example exit 0` on the console ends it.

use std::sync::Arc;
use std::time::Duration;

use vmm::{BootMode, Kernel, Machine, MachineConfig, MachineEvent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kernel = arguments.next().ok_or("which kernel?")?;
    let kernel = Arc::new(Kernel::open(&kernel)?);
    let mut config = MachineConfig::new(kernel);
    config.command_line = "console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=k".to_owned();
    config.deadline = Duration::from_secs(60);
    config.nonce = "example".to_owned();
    if let Some(initramfs) = arguments.next().filter(|path| !path.is_empty()) {
        config.initramfs = Some(std::fs::read(initramfs)?.into());
    }
    if let Some(vcpus) = arguments.next() {
        config.vcpus = vcpus.parse()?;
    }
    if let Some(mib) = arguments.next() {
        config.memory = mib.parse::<u64>()? << 20;
    }
    if arguments.next().is_some_and(|boot| boot == "native") {
        config.boot = BootMode::Native;
    }
    if let Some(append) = arguments.next() {
        config.command_line = format!("{} {append}", config.command_line);
    }
    if let Some(features) = arguments.next() {
        config.pv_features = features.parse()?;
    }

    let machine = Machine::start(config)?;
    let facts = machine.cpu_facts();
    println!("paravirtual features: {} (offered: {})", facts.pv_shown, facts.pv_offered);
    println!("hidden: {:?}", facts.hidden);
    for event in machine.events() {
        match event {
            MachineEvent::Line(line) => println!("{:>9} {}", line.at_us, line.text),
            // It is in lines as well.
            MachineEvent::Output(_) => {}
            MachineEvent::Milestone(milestone, at_us) => println!("{at_us:>9} * {milestone:?}"),
            MachineEvent::Ended(summary) => {
                println!("{:>9} * {}", summary.wall_us, summary.ending);
                for vcpu in &summary.vcpus {
                    println!("          {vcpu}");
                }
                println!(
                    "{} exits, {} console bytes, {} us of vCPU time",
                    summary.exits, summary.console_bytes, summary.vcpu_cpu_us
                );
            }
        }
    }
    Ok(())
}
