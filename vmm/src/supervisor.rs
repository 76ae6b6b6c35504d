//! The thread that watches over a machine: it waits for an ending, a stop or the deadline, takes
//! every vCPU out of its guest, and says how it ended when nothing of it is left.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use kvm_ioctls::VmFd;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use crate::agent::{Agent, micros_since};
use crate::control::{Command, Control};
use crate::devices::bus::Bus;
use crate::forensics::{VcpuState, certain_hang};
use crate::hub::Hub;
use crate::queue::Queue;
use crate::sync::lock;
use crate::vcpu::Vcpu;
use crate::{Ending, MachineEvent, PvFeatures, Summary};

/// How long a vCPU may take to come out of KVM_RUN and say what it was doing. One that waits for a
/// slow listener at its serial port does not answer at all.
const INSPECTION: Duration = Duration::from_millis(500);

/// Time between two looks at vCPUs that seem to hang.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Stack of a vCPU's thread. The run loop needs little, and an address space with many machines
/// should stay small.
const STACK: usize = 256 << 10;

/// Everything that a machine consists of while it runs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) vm: VmFd,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stop: Arc<EventFd>,
    pub(crate) timer: TimerFd,
    pub(crate) deadline: Duration,
    /// Rings when the serial port is to be looked at, where writes to it are put aside.
    pub(crate) tick: Option<TimerFd>,
    pub(crate) start: Instant,
    pub(crate) pv_features: PvFeatures,
}

impl Supervisor {
    /// Runs the machine to its end.
    pub(crate) fn run(mut self) {
        let mut last_words = LastWords {
            queue: self.queue.clone(),
            summary: Summary {
                pv_features: self.pv_features,
                ..Summary::new(Ending::VmmError { reason: "the supervisor died".into() })
            },
        };
        let summary = &mut last_words.summary;
        let controls: Vec<_> = self.vcpus.iter().map(|vcpu| vcpu.control.clone()).collect();
        let threads = self.start_vcpus();
        let waited = Watch {
            hub: self.hub.clone(),
            boot_vcpu: controls.first().cloned(),
            stop: self.stop.clone(),
            timer: self.timer,
            tick: self.tick,
            seconds: self.deadline.as_secs(),
        }
        .wait();
        let ending = waited.unwrap_or_else(|error| Ending::VmmError {
            reason: format!("can't wait for the machine's events: {error}"),
        });
        (summary.ending, summary.vcpus) = match ending {
            Ending::TimedOut { seconds } => time_out(&controls, seconds),
            ending => (ending, Vec::new()),
        };

        // Nobody may wait for a listener now, nor enter the guest again.
        for control in &controls {
            control.order(Command::Stop);
        }
        self.queue.release();
        for thread in threads {
            summary.vcpu_cpu_us += thread.join().unwrap_or(0);
        }
        summary.exits = controls.iter().map(|control| control.exits()).sum();
        {
            let mut serial = lock(self.bus.serial());
            serial.catch_up();
            let console = serial.console();
            console.finish();
            summary.console_bytes = console.bytes();
        }
        summary.facts = self.agent.facts();
        drop(controls);
        drop(self.bus);
        drop(self.vm);
        summary.wall_us = micros_since(self.start);
    }

    fn start_vcpus(&mut self) -> Vec<JoinHandle<u64>> {
        let mut threads = Vec::with_capacity(self.vcpus.len());
        for vcpu in self.vcpus.drain(..) {
            let name = format!("vcpu{}", vcpu.index);
            match thread::Builder::new().name(name).stack_size(STACK).spawn(|| vcpu.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let reason = format!("can't start a vCPU thread: {error}");
                    self.hub.end(Ending::VmmError { reason });
                    break;
                }
            }
        }
        threads
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
        self.queue.push(MachineEvent::Ended(self.summary.clone()));
    }
}

/// What the vCPUs of a machine that ran out of time were doing, and whether that proves a hang.
fn time_out(controls: &[Arc<Control>], seconds: u64) -> (Ending, Vec<VcpuState>) {
    let first = inspect(controls);
    // If there can't be a proof, save the time.
    let candidate = first.len() == controls.len() && certain_hang(&first, &first).is_some();
    if candidate {
        thread::sleep(SECOND_LOOK);
        let second = inspect(controls);
        if let Some(kind) = certain_hang(&first, &second) {
            return (Ending::Hang { kind }, second);
        }
    }
    (Ending::TimedOut { seconds }, first)
}

fn inspect(controls: &[Arc<Control>]) -> Vec<VcpuState> {
    for control in controls {
        control.inspect();
    }
    let deadline = Instant::now() + INSPECTION;
    controls.iter().filter_map(|control| control.inspected(deadline)).collect()
}

/// Waits for what ends a machine.
struct Watch {
    hub: Arc<Hub>,
    boot_vcpu: Option<Arc<Control>>,
    stop: Arc<EventFd>,
    timer: TimerFd,
    tick: Option<TimerFd>,
    seconds: u64,
}

impl Watch {
    fn wait(self) -> Result<Ending, event_manager::Error> {
        let hub = self.hub.clone();
        let mut manager = EventManager::new()?;
        manager.add_subscriber(self);
        loop {
            if let Some(ending) = hub.ending() {
                return Ok(ending);
            }
            manager.run()?;
        }
    }

    fn watch<T: std::os::fd::AsRawFd>(&self, fd: &T, what: u32, ops: &mut EventOps<'_>) {
        if let Err(error) = ops.add(Events::with_data(fd, what, EventSet::IN)) {
            self.hub.end(Ending::VmmError { reason: format!("can't watch an event: {error}") });
        }
    }
}

const ENDED: u32 = 0;
const STOP: u32 = 1;
const DEADLINE: u32 = 2;
const TICK: u32 = 3;

impl MutEventSubscriber for Watch {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.watch(self.hub.ended(), ENDED, ops);
        self.watch(self.stop.as_ref(), STOP, ops);
        self.watch(&self.timer, DEADLINE, ops);
        if let Some(tick) = &self.tick {
            self.watch(tick, TICK, ops);
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        match events.data() {
            STOP => self.hub.end(Ending::Stopped),
            DEADLINE => self.hub.end(Ending::TimedOut { seconds: self.seconds }),
            TICK => {
                // Only to quiet it.
                let _ = self.tick.as_mut().map(TimerFd::wait);
                // Not done here: who delivers lines may have to wait for the listener.
                if let Some(vcpu) = &self.boot_vcpu {
                    vcpu.kick();
                }
            }
            _ => {}
        }
    }
}
