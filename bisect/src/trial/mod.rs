//! One machine, one boot, one workload: what is to be tried, what was seen, and what that says.
//!
//! A [`Job`] goes to a [`Launcher`], which runs it here or elsewhere and hands over
//! [`TrialEvent`]s while they happen. In the place that runs it, the machine's events become
//! evidence, and [`decide`] makes an [`Outcome`] of it.

mod command_line;
mod console;
mod crashes;
mod facts;
mod files;
mod hang;
mod job;
mod kernel_log;
pub mod launcher;
mod memory;
mod observer;
mod outcome;
mod run;
mod symbols;
mod target;
mod terminal;
mod workload;

pub use console::{KeptConsole, stamped};
pub use crashes::TitleCount;
pub use job::{Acpi, Job, SeenCrash, TrialEvent, TrialReport};
pub use kernel_log::UnseenLog;
pub use launcher::{LaunchError, Launcher};
pub use memory::Overhead;
pub use outcome::{Evidence, Outcome, decide};
pub use symbols::beside as symbols_beside;
pub use target::Target;
pub use terminal::{Terminal, TerminalSize};
pub use workload::{Workload, WorkloadError, prepare, prepare_on_top_of};

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Job, Target};
    use crate::crash::{Crash, Kind};

    /// A crash of this title.
    pub(crate) fn crash(title: &str) -> Crash {
        Crash {
            title: title.into(),
            alt_titles: Vec::new(),
            kind: Kind::Warning,
            frame: None,
            guilty_file: None,
            task: None,
            cpu: None,
            executor: None,
            corrupted: None,
            suppressed: false,
            panicked: false,
            start: 0,
            end: 0,
            report: String::new(),
        }
    }

    /// A warning as kernels print it.
    pub(crate) const WARNING: &str = "\
------------[ cut here ]------------
raw_local_irq_restore() called with IRQs enabled
WARNING: CPU: 1 PID: 42 at kernel/locking/irqflag-debug.c:10 warn_bogus_irq_restore+0x1d/0x20
CPU: 1 PID: 42 Comm: spin Not tainted 6.1.192 #1
RIP: 0010:warn_bogus_irq_restore+0x1d/0x20
Call Trace:
 <TASK>
 kvm_wait+0x34/0x40
 __pv_queued_spin_lock_slowpath+0x278/0x2a0
 _raw_spin_lock+0x2a/0x30
 </TASK>
---[ end trace 0000000000000000 ]---
";

    /// The job that the project was made for.
    pub(crate) fn job() -> Job {
        Job {
            id: 1,
            vcpus: 4,
            require_pv_spinlocks: true,
            ..Job::new(
                "bzImage".into(),
                "initramfs".into(),
                Target::Crash(vec!["WARNING in kvm_wait".into()]),
            )
        }
    }
}
