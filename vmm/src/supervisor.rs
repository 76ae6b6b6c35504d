//! The thread that watches over a machine: it waits for an ending, a stop, a hang or the deadline,
//! takes every vCPU out of its guest, reads what the guest's memory has to say, and tells how it ended
//! when nothing of it is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_ioctls::VmFd;

use crate::agent::micros_since;
use crate::aside::Aside;
use crate::crew::Crew;
use crate::devices::bus::Bus;
use crate::forensics::{self, KernelSymbols, VcpuState};
use crate::memory::Ram;
use crate::queue::Queue;
use crate::sync::lock;
use crate::vcpu::Vcpu;
use crate::watch::{Awaited, Ended, LAST_LOOK, Watch};
use crate::{CpuFacts, Ending, MachineEvent, Summary, vm};

/// How long a guest that hangs may take to answer NMIs, and how long it may be silent when it has begun
/// to. A busy host's guest needs a second for its first word.
const NMI_PATIENCE: Duration = Duration::from_secs(5);
const NMI_SILENCE: Duration = Duration::from_millis(500);

/// Everything that a machine consists of while it runs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) vm: VmFd,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) awaited: Awaited,
    pub(crate) symbols: KernelSymbols,
    pub(crate) memory: Arc<Ram>,
    pub(crate) start: Instant,
    pub(crate) facts: CpuFacts,
}

impl Supervisor {
    /// Runs the machine to its end.
    pub(crate) fn run(self) {
        let mut last_words = LastWords {
            queue: self.queue.clone(),
            summary: Summary {
                pv_features: self.facts.pv_shown,
                hidden: self.facts.hidden,
                ..Summary::new(Ending::VmmError { reason: "the supervisor died".into() })
            },
        };
        let summary = &mut last_words.summary;
        let agent = self.awaited.agent.clone();
        let mut crew = Crew::start(self.vcpus, &self.awaited.hub, self.queue);
        let watch = Watch::new(self.awaited, &crew);
        let (vcpus, spinning) = match watch.wait() {
            Ok(Ended { ending, vcpus, spinning, silence }) => {
                if matches!(ending, Ending::Hang { .. } | Ending::TimedOut { .. }) {
                    summary.silent_us = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
                }
                summary.ending = ending;
                (vcpus, spinning)
            }
            Err(error) => {
                let reason = format!("can't wait for the machine's events: {error}");
                summary.ending = Ending::VmmError { reason };
                (Vec::new(), Vec::new())
            }
        };
        look_back(summary, vcpus, &crew, &self.memory, &self.symbols, &self.bus);
        for vcpu in &mut summary.vcpus {
            vcpu.spins = spinning.get(usize::from(vcpu.vcpu)).is_some_and(|&spins| spins);
        }

        summary.vcpu_cpu_us = crew.stop();
        summary.exits = crew.exits();
        {
            let mut serial = lock(self.bus.serial());
            serial.catch_up();
            let console = serial.console();
            console.finish();
            summary.console_bytes = console.bytes();
        }
        summary.facts = agent.facts();
        // In this order: without vCPUs nobody touches the memory any more, and what else keeps the VM
        // is gone before it.
        drop(crew);
        drop(self.bus);
        drop(self.memory);
        vm::leave(self.vm);
        summary.wall_us = micros_since(self.start);
    }
}

/// Says how the machine ended, when all of it is gone; also if this thread dies on the way.
struct LastWords {
    queue: Arc<Queue>,
    summary: Summary,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.queue.release();
        self.queue.push(MachineEvent::Ended(Box::new(self.summary.clone())));
    }
}

/// Reads the memory of a machine that has ended, while its vCPUs are still there to say how they see
/// it. `vcpus` is what is known of them if they don't come to rest.
///
/// A guest that hangs gets an NMI only when all that can be told without it has been told: it wakes
/// a vCPU that is halted, and so destroys what there was to see.
fn look_back(
    summary: &mut Summary,
    mut vcpus: Vec<VcpuState>,
    crew: &Crew,
    memory: &Ram,
    symbols: &KernelSymbols,
    bus: &Bus,
) {
    if matches!(summary.ending, Ending::Stopped | Ending::VmmError { .. }) {
        return;
    }
    let at_rest = crew.rest_for_good(LAST_LOOK);
    let all_rest = at_rest.len() == crew.len();
    if all_rest {
        vcpus = at_rest;
        let found = forensics::examine(memory.guest(), symbols, &mut vcpus);
        summary.kernel_log = Some(found.log);
        summary.pv_spinlocks = found.pv_spinlocks;
        summary.symbols_fit = found.symbols_fit;
    }
    if all_rest && matches!(summary.ending, Ending::Hang { .. }) {
        let aside = Arc::new(Aside::default());
        {
            let mut serial = lock(bus.serial());
            serial.catch_up();
            serial.console().put_aside(aside.clone());
        }
        crew.ask_by_nmi(&vcpus, &aside, NMI_SILENCE, NMI_PATIENCE);
        crew.rest_for_good(LAST_LOOK);
        let mut serial = lock(bus.serial());
        serial.catch_up();
        serial.console().finish();
        summary.nmi_lines = aside.lines();
    }
    if !matches!(summary.ending, Ending::Exit { .. } | Ending::AgentFailed { .. }) {
        summary.vcpus = vcpus;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Taken;

    #[test]
    fn a_supervisor_that_dies_says_so() {
        let queue = Arc::new(Queue::new());
        let reason = || "the supervisor died".to_owned();
        let summary = Summary::new(Ending::VmmError { reason: reason() });
        let last_words = LastWords { queue: queue.clone(), summary };
        let died = std::thread::spawn(move || {
            let _last_words = last_words;
            panic!("a bug");
        });
        assert!(died.join().is_err());
        let Taken::Event(MachineEvent::Ended(summary)) = queue.take(None) else {
            panic!("no last words")
        };
        assert_eq!(summary.ending, Ending::VmmError { reason: reason() });
    }
}
