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

mod config;
mod ending;
mod event;
pub mod host;
pub mod kernel;
mod machine;
mod pv;

pub use config::{BootMode, MachineConfig};
pub use ending::{Ending, HangKind};
pub use event::{ConsoleLine, MachineEvent, Milestone, Summary};
pub use kernel::{Kernel, KernelError};
pub use machine::{Machine, StartError, Stopper};
pub use pv::PvFeatures;
