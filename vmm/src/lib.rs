//! One virtual machine, from a kernel image to its [`Ending`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use vmm::{Kernel, Machine, MachineConfig, MachineEvent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kernel = Arc::new(Kernel::open("bzImage")?);
//! let machine = Machine::start(MachineConfig::new(kernel))?;
//! for event in machine.events() {
//!     match event {
//!         MachineEvent::Line(line) => println!("{}", line.text),
//!         MachineEvent::Ended(summary) => println!("{}", summary.ending),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # From image to ending
//! [`Kernel`] reads an image. [`Machine::start`] checks whether the kernel, the initramfs and the
//! command line fit, lays them out in memory with the tables that a kernel expects to find, and
//! starts one thread a vCPU. A supervisor thread waits for whatever ends the machine: a report of the
//! agent, a reset, a fault, an error of KVM's, a silence in which nothing goes on, the deadline, or
//! [`Stopper::stop`]. It takes every vCPU out of its guest, reads from the guest's memory what they were
//! doing and what the kernel has logged ([`forensics`]), and when nothing of the machine is left it
//! says how it ended.
//!
//! # What can be relied on
//! * A guest has its memory, a serial port, a keyboard controller, a clock, a reset port and the
//!   agent's port, and nothing else of the host's.
//! * Every machine ends, exactly once: some seconds after its deadline at the latest, which a guest
//!   that hangs is given to answer an NMI.
//! * Nothing that a guest does makes this crate panic, block for ever or take more memory than its
//!   bounds: a line is at most 4 KiB, about 1 MiB of events wait for a listener, and of the
//!   kernel's log 1 MiB is kept.

mod agent;
mod aside;
mod config;
mod console;
mod control;
mod crew;
mod devices;
mod ending;
mod error;
mod event;
pub mod forensics;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod host;
mod hub;
pub mod kernel;
mod machine;
mod memory;
mod plan;
mod pv;
mod queue;
mod seed;
mod setup;
mod supervisor;
mod sync;
mod vcpu;
mod vm;
mod watch;
mod x86_64;

pub use config::{BootMode, MachineConfig};
pub use ending::{Ending, HangKind};
pub use error::{StartError, VcpuSetupError};
pub use event::{ConsoleLine, MachineEvent, Milestone, Summary};
pub use forensics::{KernelSymbols, MpState, VcpuState};
pub use kernel::{Kernel, KernelError};
pub use machine::{ConsoleInput, CpuFacts, Machine, Stopper, Waited};
pub use pv::{PvFeatures, PvFeaturesError};
pub use seed::{NotASeed, RandomSeed};
pub use x86_64::{
    AcpiError, BootParamsError, CpuidError, GdtError, LapicError, MpTableError, MsrError,
    PageTablesError, RegistersError,
};
