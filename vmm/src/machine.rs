//! A running machine.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kvm_ioctls::{Kvm, VmFd};
use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::EventFd;

use crate::devices::bus::Bus;
use crate::queue::{Queue, Taken};
use crate::setup::Prepared;
use crate::sync::lock;
use crate::{MachineConfig, MachineEvent, PvFeatures, StartError, setup, vm};

/// A running machine. Dropping it stops it; its threads and its memory are gone when `drop` returns. KVM
/// frees what it has of the machine some milliseconds later.
#[derive(Debug)]
pub struct Machine {
    queue: Arc<Queue>,
    stopper: Stopper,
    input: ConsoleInput,
    facts: CpuFacts,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// Stops a machine from any thread. Clones stop the same machine.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<EventFd>);

/// Types on a machine's console, from any thread but that of its listener. Clones type on the same
/// one.
#[derive(Clone, Debug)]
pub struct ConsoleInput(Weak<Bus>);

/// What the vCPUs of a machine can do, read back from KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// The paravirtual features that this host's KVM offers.
    pub pv_offered: PvFeatures,
    /// Those that the guest is shown. Without [`PvFeatures::pv_unhalt`] among them no kernel turns
    /// its paravirtual spinlocks on.
    pub pv_shown: PvFeatures,
    /// CPU features that the host's KVM offers but that were hidden, since a guest could not really
    /// use them: names as /proc/cpuinfo has them.
    pub hidden: Vec<String>,
}

/// What [`Machine::event_within`] came back with.
#[derive(Clone, Debug, PartialEq)]
pub enum Waited {
    /// An event.
    Event(MachineEvent),
    /// The time passed without one.
    TimedOut,
    /// The machine has ended and said so before.
    Over,
}

impl Machine {
    /// Makes the machine and starts it: [`Machine::start_with`] a configuration that is there already.
    ///
    /// # Errors
    /// As there.
    pub fn start(config: MachineConfig) -> Result<Machine, StartError> {
        Machine::start_with(|| Ok(config))
    }

    /// Makes the machine that `configure` describes and starts it.
    ///
    /// To make a VM takes KVM some ten milliseconds, in most of which it waits. So `configure`, which
    /// best reads the kernel's image, runs on a thread of its own meanwhile, and what it describes is
    /// put into the guest's memory there, of which the kernel's first needs are met in what is left of
    /// the time:
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use vmm::{Kernel, Machine, MachineConfig, StartError};
    ///
    /// # fn main() -> Result<(), StartError> {
    /// let machine = Machine::start_with(|| -> Result<_, StartError> {
    ///     let kernel = Kernel::open("arch/x86/boot/bzImage")?;
    ///     Ok(MachineConfig::new(Arc::new(kernel)))
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The initramfs and the kernel are copied into the guest; no copy is kept.
    ///
    /// It handles the first real-time signal (SIGRTMIN) for the whole process, with a handler that
    /// does nothing.
    ///
    /// # Errors
    /// Fails if `configure` does, and then so, if the configuration can't be honoured, or if the host
    /// can't give what it takes.
    pub fn start_with<E>(
        configure: impl FnOnce() -> Result<MachineConfig, E> + Send,
    ) -> Result<Machine, E>
    where
        E: From<StartError> + Send,
    {
        let start = Instant::now();
        let vm_is_made = AtomicBool::new(false);
        let (vm, prepared) = thread::scope(|scope| {
            let prepared =
                thread::Builder::new().name("prepare".to_owned()).spawn_scoped(scope, || {
                    let config = configure()?;
                    let prepared = setup::prepare(&config)?;
                    prepared.populate(|| vm_is_made.load(Ordering::Relaxed));
                    Ok::<_, E>((config, prepared))
                });
            // On this thread, not on the new one: where there is but one CPU, the new one would be given
            // it only when this one had nothing more to do, and its waiting would begin then.
            let prepared =
                prepared.map_err(|source| StartError::Host { what: "a thread", source })?;
            let vm = vm::create();
            vm_is_made.store(true, Ordering::Relaxed);
            let prepared = prepared.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, StartError>((vm, prepared))
        })?;
        // What is wrong with what the user asked for is said first.
        let (config, prepared) = prepared?;
        Ok(Machine::start_in(vm?, config, prepared, start)?)
    }

    fn start_in(
        vm: (Kvm, VmFd),
        config: MachineConfig,
        prepared: Prepared,
        start: Instant,
    ) -> Result<Machine, StartError> {
        let host = |what| move |source| StartError::Host { what, source };
        let queue = Arc::new(Queue::new());
        let stop = Arc::new(
            EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(host("an event"))?,
        );
        let (supervisor, input, facts) =
            setup::make(vm, &config, prepared, queue.clone(), stop.clone(), start)?;
        // Whoever holds the only other reference may want its memory back.
        drop(config);
        let supervisor = thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || supervisor.run())
            .map_err(host("a thread"))?;
        let supervisor = Mutex::new(Some(supervisor));
        Ok(Machine { queue, stopper: Stopper(stop), input, facts, supervisor })
    }

    /// What the machine says, until it has ended. Blocks between events.
    ///
    /// Listen: a machine whose events nobody takes waits at its serial port when about 1 MiB of them
    /// have piled up.
    pub fn events(&self) -> impl Iterator<Item = MachineEvent> + '_ {
        std::iter::from_fn(|| match self.wait(None) {
            Waited::Event(event) => Some(event),
            Waited::TimedOut | Waited::Over => None,
        })
    }

    /// Waits up to `timeout` for the next event.
    pub fn event_within(&self, timeout: Duration) -> Waited {
        self.wait(Instant::now().checked_add(timeout))
    }

    /// A handle that stops the machine; it then ends as `Stopped`.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// A handle that types on the machine's console.
    pub fn input(&self) -> ConsoleInput {
        self.input.clone()
    }

    /// What the vCPUs can do.
    pub fn cpu_facts(&self) -> &CpuFacts {
        &self.facts
    }

    fn wait(&self, deadline: Option<Instant>) -> Waited {
        match self.queue.take(deadline) {
            Taken::Event(event) => {
                if matches!(event, MachineEvent::Ended(_)) {
                    // It was the thread's last word.
                    self.join();
                }
                Waited::Event(event)
            }
            Taken::TimedOut => Waited::TimedOut,
            Taken::Over => Waited::Over,
        }
    }

    fn join(&self) {
        if let Some(supervisor) = lock(&self.supervisor).take() {
            // If it died it has said so in its last words.
            let _ = supervisor.join();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stopper.stop();
        self.join();
    }
}

impl Stopper {
    /// Stops the machine. Does nothing if it has already ended.
    pub fn stop(&self) {
        // It fails only if the counter is full: the machine was told before.
        let _ = self.0.write(1);
    }
}

impl ConsoleInput {
    pub(crate) fn new(bus: &Arc<Bus>) -> ConsoleInput {
        ConsoleInput(Arc::downgrade(bus))
    }

    /// Has the guest's serial port receive `bytes`. What the guest does not read waits, up to 64 KiB;
    /// the rest is lost, and all of it when the machine has ended.
    ///
    /// It waits while the guest waits at its serial port for a slow listener; so the listener must not
    /// be who calls it.
    pub fn send(&self, bytes: &[u8]) {
        if let Some(bus) = self.0.upgrade() {
            lock(bus.serial()).receive(bytes);
        }
    }
}
