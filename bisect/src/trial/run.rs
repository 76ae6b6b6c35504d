//! A trial in this process: a machine, the classifier, and the end in time.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vmm::{Kernel, Machine, MachineConfig, MachineEvent, StartError, Stopper};

use super::command_line::{command_line, nonce};
use super::observer::{Flow, Observer};
use super::{Job, LaunchError, Outcome, TrialEvent, TrialReport};
use crate::cancel::Cancel;

/// How long a report may go on after its title is known. A nested machine on a busy host prints a
/// report of some KiB in a second or two.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// Console output after which a machine is ended. The largest reports (KASAN, all CPUs' stacks)
/// are below 100 KiB; a guest that prints this much prints for ever.
const CONSOLE_LIMIT: u64 = 16 << 20;

/// Runs one trial on this machine's KVM: `kernel` and `initramfs` are the job's files.
///
/// The machine is stopped as soon as what the trial says is decided: when the target or another
/// crash has shown and its report is complete or, where boot is the question, when init is reached.
///
/// # Errors
/// Fails if the user cancels, or if the machine can't be made as the job asks.
pub(super) fn run_trial(
    job: &Job,
    kernel: Arc<Kernel>,
    initramfs: Arc<[u8]>,
    on_event: &mut dyn FnMut(TrialEvent),
    cancel: &Cancel,
) -> Result<TrialReport, LaunchError> {
    if cancel.is_cancelled() {
        return Err(LaunchError::Cancelled);
    }
    let report = match nonce() {
        Ok(nonce) => {
            let config = config(job, kernel, initramfs, nonce);
            match Machine::start(config) {
                Ok(machine) => follow(job, &machine, on_event, cancel),
                Err(error) if is_hosts_fault(&error) => infra(&error),
                Err(error) => return Err(LaunchError::Start(error)),
            }
        }
        Err(error) => infra(&error),
    };
    if cancel.is_cancelled() {
        return Err(LaunchError::Cancelled);
    }
    on_event(TrialEvent::Done(Box::new(report.clone())));
    Ok(report)
}

fn config(job: &Job, kernel: Arc<Kernel>, initramfs: Arc<[u8]>, nonce: String) -> MachineConfig {
    MachineConfig {
        boot: job.boot,
        initramfs: Some(initramfs),
        command_line: command_line(&nonce, &job.append),
        vcpus: job.vcpus,
        memory: job.memory_mib.saturating_mul(1 << 20),
        pv_features: job.pv_features,
        deadline: Duration::from_secs(job.timeout_s),
        nonce,
        console_limit: CONSOLE_LIMIT,
        ..MachineConfig::new(kernel)
    }
}

/// Follows a machine to its end.
fn follow(
    job: &Job,
    machine: &Machine,
    on_event: &mut dyn FnMut(TrialEvent),
    cancel: &Cancel,
) -> TrialReport {
    let stopper = machine.stopper();
    let _guard = cancel.on_cancel({
        let stopper = stopper.clone();
        move || stopper.stop()
    });
    let mut observer = Observer::new(job);
    let mut grace = None;
    for event in machine.events() {
        let flow = match event {
            MachineEvent::Line(line) => observer.line(line, on_event),
            MachineEvent::Milestone(which, at_us) => observer.milestone(which, at_us, on_event),
            MachineEvent::Ended(summary) => return observer.end(summary, on_event),
        };
        match flow {
            Flow::GoOn => {}
            Flow::FinishReport if grace.is_some() => {}
            Flow::FinishReport => grace = Some(Grace::start(stopper.clone())),
            Flow::Stop => stopper.stop(),
        }
    }
    infra(&"the machine ended without a word")
}

/// Stops a machine when the grace is over, unless dropped before.
struct Grace {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Grace {
    fn start(stopper: Stopper) -> Grace {
        let (over, ended) = mpsc::channel::<()>();
        let at_once = stopper.clone();
        let thread = thread::Builder::new().name("report grace".into()).spawn(move || {
            if ended.recv_timeout(REPORT_GRACE) == Err(RecvTimeoutError::Timeout) {
                stopper.stop();
            }
        });
        if thread.is_err() {
            at_once.stop();
        }
        Grace { over: Some(over), thread: thread.ok() }
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn infra(reason: &dyn std::fmt::Display) -> TrialReport {
    TrialReport::without_machine(Outcome::Infra { reason: reason.to_string() })
}

fn is_hosts_fault(_error: &StartError) -> bool {
    false
}
