//! Tries on this KVM what a stock kernel executes, and how fast kernel code runs.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use kvm_ioctls::Kvm;
use vmm_sys_util::signal::{Killable, SIGRTMIN, unblock_signal};

use super::guest::{Guest, Ran, SetUpError};
use super::steps::{Step, steps};
use super::{Probe, StepOutcome, StepReport};
use crate::control;

/// What the probe may take: a hundred times what it does on a KVM that interprets kernel code.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long a vCPU that is being kicked may go on.
const KICKED: Duration = Duration::from_secs(1);
const KICK_EVERY: Duration = Duration::from_millis(10);

/// Tries everything.
///
/// # Errors
/// Fails with a sentence if no guest can be made.
pub(super) fn probe() -> Result<Probe, String> {
    supervised(DEADLINE, run)?.map_err(|error| sentence(&error))
}

/// Runs `work` in a thread of its own, so that a KVM that never comes back can be left alone. When
/// `deadline` has passed, `work` is told to stop, and its vCPU is kicked until it does.
///
/// # Errors
/// Fails with a sentence if it can't be started, or doesn't stop.
pub(super) fn supervised<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Result<T, String> {
    control::install_handler()
        .map_err(|error| format!("the signal that stops a vCPU can't be set up: {error}"))?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = channel();
    let seen = Arc::clone(&cancelled);
    let thread = thread::Builder::new()
        .name("kvm-probe".to_owned())
        .spawn(move || {
            // A mask is inherited, and a blocked signal kicks nobody.
            let _ = unblock_signal(SIGRTMIN());
            // Nobody listens any more if it took too long.
            let _ = sender.send(work(&seen));
        })
        .map_err(|error| format!("no thread for the probe: {error}"))?;
    let result = match receiver.recv_timeout(deadline) {
        Err(RecvTimeoutError::Timeout) => {
            cancelled.store(true, Ordering::Release);
            kicked(&thread, &receiver)
        }
        other => other.ok(),
    };
    let result = result.ok_or("the probe's vCPU does not come back from KVM_RUN")?;
    let _ = thread.join();
    Ok(result)
}

/// Kicks the vCPU until it stops. A kick that comes just before KVM_RUN is lost: the next isn't.
fn kicked<T>(thread: &thread::JoinHandle<()>, receiver: &Receiver<T>) -> Option<T> {
    for _ in 0..KICKED.as_millis() / KICK_EVERY.as_millis() {
        if thread.is_finished() || thread.kill(SIGRTMIN()).is_err() {
            break;
        }
        if let Ok(result) = receiver.recv_timeout(KICK_EVERY) {
            return Some(result);
        }
    }
    receiver.try_recv().ok()
}

fn run(cancelled: &AtomicBool) -> Result<Probe, SetUpError> {
    let kvm = Kvm::new().map_err(|error| SetUpError::Kvm("open", error))?;
    let mut guest = Guest::new(&kvm, cancelled)?;
    let mut reports = Vec::new();
    for Step { name, needs, code } in steps() {
        let outcome = if needs.is_some_and(|feature| !guest.has(feature)) {
            StepOutcome::NotOffered
        } else {
            match guest.run(code, 0, cancelled)? {
                Ran::Right => StepOutcome::Works,
                Ran::Wrong => StepOutcome::Fails { reason: "it had no or a wrong effect".into() },
                Ran::Failed(reason) => StepOutcome::Fails { reason },
                Ran::Cancelled => StepOutcome::Fails {
                    reason: format!("not done after {} s", DEADLINE.as_secs()),
                },
            }
        };
        // What a failure leaves behind is nobody's business: the next step gets a new guest.
        if matches!(outcome, StepOutcome::Fails { .. }) {
            guest = Guest::new(&kvm, cancelled)?;
        }
        reports.push(StepReport { instruction: name.to_owned(), outcome });
        if cancelled.load(Ordering::Acquire) {
            return Ok(Probe { steps: reports, instructions_per_us: None });
        }
    }
    let instructions_per_us = guest.speed(cancelled)?;
    Ok(Probe { steps: reports, instructions_per_us })
}

/// An error and its causes in one line.
fn sentence(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
