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

mod agent;
mod config;
mod console;
mod control;
mod devices;
mod ending;
mod error;
mod event;
mod forensics;
pub mod host;
mod hub;
pub mod kernel;
mod machine;
mod memory;
mod plan;
mod pv;
mod queue;
mod setup;
mod supervisor;
mod sync;
mod vcpu;
mod x86_64;

pub use config::{BootMode, MachineConfig};
pub use ending::{Ending, HangKind};
pub use error::{StartError, VcpuSetupError};
pub use event::{ConsoleLine, MachineEvent, Milestone, Summary};
pub use forensics::{MpState, VcpuState};
pub use kernel::{Kernel, KernelError};
pub use machine::{CpuFacts, Machine, Stopper, Waited};
pub use pv::{PvFeatures, PvFeaturesError};
pub use x86_64::{
    BootParamsError, CpuidError, GdtError, LapicError, MpTableError, MsrError, PageTablesError,
    RegistersError,
};
