//! A trial in this process: a machine, the classifier, and the end in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vmm::{
    BootMode, Kernel, KernelError, Machine, MachineConfig, MachineEvent, StartError, Waited,
};

use super::command_line::{command_line, nonce};
use super::memory::Sampler;
use super::observer::{Flow, Observer};
use super::{Acpi, Job, LaunchError, Outcome, Terminal, TrialEvent, TrialReport, with_causes};
use crate::cancel::Cancel;

/// How long a report may go on after its title is known. A nested machine on a busy host prints a
/// report of some KiB in a second or two.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// How long it may be silent meanwhile. Reports of rare kinds have no line that ends them.
const REPORT_SILENCE: Duration = Duration::from_secs(1);

/// Longest wait for an event; the machine's own deadline ends it before.
const LONGEST: Duration = Duration::from_secs(3600);

/// Console output after which a machine is ended. The largest reports (KASAN, all CPUs' stacks)
/// are below 100 KiB; a guest that prints this much prints for ever.
const CONSOLE_LIMIT: u64 = 16 << 20;

/// Runs one trial on this machine's KVM; `files` reads the job's kernel and initramfs. It is for the
/// caller to conclude (see [`super::hang`]) and to say that it is done.
///
/// The machine is stopped as soon as what the trial says is decided: when the target or another
/// crash has shown and its report is complete, unless the job is to go on, or, where boot is the
/// question, when init is reached.
///
/// # Errors
/// Fails if the user cancels, if `files` does, or if the machine can't be made as the job asks.
pub(super) fn run_trial(
    job: &Job,
    files: impl FnOnce() -> Result<(Arc<Kernel>, Arc<[u8]>), LaunchError> + Send,
    on_event: &mut dyn FnMut(TrialEvent),
    cancel: &Cancel,
) -> Result<TrialReport, LaunchError> {
    if cancel.is_cancelled() {
        return Err(LaunchError::Cancelled);
    }
    let memory = job.memory_mib.saturating_mul(1 << 20);
    // Where the host has no thread for it, it has none for the machine either, and says so there.
    let sampler = job.measure_memory.then(|| Sampler::start(memory).ok()).flatten();
    let mut report = match nonce() {
        Ok(nonce) => {
            let configure = || {
                let (kernel, initramfs) = files()?;
                if kernel.is_32_bit().unwrap_or(false) && guest_init::INIT_I386.is_empty() {
                    return Err(LaunchError::NoInit32(job.kernel.clone()));
                }
                Ok(config(job, kernel, initramfs, nonce).map_err(StartError::Kernel)?)
            };
            match Machine::start_with(configure) {
                Ok(machine) => follow(job, &machine, on_event, cancel),
                Err(LaunchError::Start(error)) if is_hosts_fault(&error) => {
                    infra(&with_causes(&error))
                }
                Err(LaunchError::Start(StartError::Kernel(source)))
                    if !matches!(source, KernelError::TooLittleMemory { .. }) =>
                {
                    return Err(LaunchError::Kernel { path: job.kernel.clone(), source });
                }
                Err(error) => return Err(error),
            }
        }
        Err(error) => infra(&with_causes(&error)),
    };
    if cancel.is_cancelled() {
        return Err(LaunchError::Cancelled);
    }
    report.overhead = sampler.and_then(Sampler::finish);
    Ok(report)
}

fn config(
    job: &Job,
    kernel: Arc<Kernel>,
    initramfs: Arc<[u8]>,
    nonce: String,
) -> Result<MachineConfig, KernelError> {
    let by_acpi = match job.acpi {
        Acpi::On => true,
        Acpi::Off => false,
        Acpi::Auto => match kernel.reads_mp_table() {
            Ok(reads) => !reads,
            // It may have a decompressor of its own that can read what we can't.
            Err(_) if job.boot == BootMode::Native => true,
            Err(error) => return Err(error),
        },
    };
    Ok(MachineConfig {
        boot: job.boot,
        initramfs: Some(initramfs),
        command_line: command_line(&nonce, job, by_acpi, kernel.is_32_bit().unwrap_or(false)),
        vcpus: job.vcpus,
        memory: job.memory_mib.saturating_mul(1 << 20),
        pv_features: job.pv_features,
        seed: job.seed,
        deadline: Duration::from_secs(job.timeout_s),
        hang_after: job.hang_after_s.map(Duration::from_secs),
        symbols: job.kernel_symbols.clone(),
        nonce,
        console_limit: CONSOLE_LIMIT,
        raw_console: job.terminal.is_some(),
        ..MachineConfig::new(kernel)
    })
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
    let input = machine.input();
    let typing = |terminal: &Terminal| terminal.connect(move |bytes| input.send(bytes));
    let _connected = job.terminal.as_ref().map(typing);
    let mut observer = Observer::new(job);
    let mut report_due = None;
    let mut stopped = false;
    loop {
        let waited = match report_due {
            Some(due) if !stopped => {
                let left = Instant::saturating_duration_since(&due, Instant::now());
                machine.event_within(left.min(REPORT_SILENCE))
            }
            _ => machine.event_within(LONGEST),
        };
        let flow = match waited {
            Waited::Event(MachineEvent::Line(line)) => observer.line(line, on_event),
            Waited::Event(MachineEvent::Output(bytes)) => {
                on_event(TrialEvent::Output { bytes });
                Flow::GoOn
            }
            Waited::Event(MachineEvent::Milestone(milestone, at_us)) => {
                observer.milestone(milestone, at_us, on_event)
            }
            Waited::Event(MachineEvent::Ended(summary)) => return observer.end(*summary, on_event),
            Waited::TimedOut if report_due.is_some() => Flow::Stop,
            Waited::TimedOut => Flow::GoOn,
            Waited::Over => break,
        };
        match flow {
            Flow::GoOn => {}
            Flow::FinishReport => {
                report_due.get_or_insert_with(|| Instant::now() + REPORT_GRACE);
            }
            Flow::Stop => {
                stopper.stop();
                stopped = true;
            }
        }
    }
    infra(&"the machine ended without a word")
}

fn infra(reason: &dyn std::fmt::Display) -> TrialReport {
    TrialReport::without_machine(Outcome::Infra { reason: reason.to_string() })
}

/// Whether the same trial could well be started at another time.
fn is_hosts_fault(error: &StartError) -> bool {
    matches!(
        error,
        StartError::OpenKvm(_)
            | StartError::AllocateMemory { .. }
            | StartError::Kvm { .. }
            | StartError::Host { .. }
            | StartError::Vcpu { .. }
    )
}
