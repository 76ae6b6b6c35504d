//! The thread that watches over a machine: it waits for an ending, a stop, a hang or the deadline,
//! takes every vCPU out of its guest, and says how it ended when nothing of it is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use kvm_ioctls::VmFd;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use crate::agent::{Agent, micros_since};
use crate::crew::Crew;
use crate::devices::bus::Bus;
use crate::forensics::VcpuState;
use crate::hub::Hub;
use crate::queue::Queue;
use crate::sync::lock;
use crate::vcpu::Vcpu;
use crate::{Ending, MachineEvent, PvFeatures, Summary};

/// How long the vCPUs of a machine that ran out of time may take to say what they were doing.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// How long they may take while the machine runs. Halted ones, which alone are of interest, need
/// microseconds.
const LIVE_LOOK: Duration = Duration::from_millis(100);

/// How often the guest is checked for signs of life.
pub(crate) const PULSE: Duration = Duration::from_secs(1);

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
    /// Fires every [`PULSE`].
    pub(crate) pulse: TimerFd,
    pub(crate) deadline: Duration,
    /// Rings when the serial port is to be looked at, where writes to it are put aside.
    pub(crate) tick: Option<TimerFd>,
    pub(crate) start: Instant,
    pub(crate) pv_features: PvFeatures,
}

impl Supervisor {
    /// Runs the machine to its end.
    pub(crate) fn run(self) {
        let mut last_words = LastWords {
            queue: self.queue.clone(),
            summary: Summary {
                pv_features: self.pv_features,
                ..Summary::new(Ending::VmmError { reason: "the supervisor died".into() })
            },
        };
        let summary = &mut last_words.summary;
        let mut crew = Crew::start(self.vcpus, &self.hub, self.queue);
        let watch = Watch {
            hub: self.hub,
            stop: self.stop,
            timer: self.timer,
            pulse: self.pulse,
            tick: self.tick,
            seconds: self.deadline.as_secs(),
            crew: &crew,
            before: (0, Duration::ZERO),
            hung: Vec::new(),
        };
        (summary.ending, summary.vcpus) = match watch.wait() {
            Ok((Ending::TimedOut { seconds }, _)) => match crew.examine(LAST_LOOK) {
                (Some(kind), vcpus) => (Ending::Hang { kind }, vcpus),
                (None, vcpus) => (Ending::TimedOut { seconds }, vcpus),
            },
            Ok((ending @ Ending::Hang { .. }, vcpus)) => (ending, vcpus),
            Ok((ending, _)) => (ending, Vec::new()),
            Err(error) => {
                let reason = format!("can't wait for the machine's events: {error}");
                (Ending::VmmError { reason }, Vec::new())
            }
        };

        summary.vcpu_cpu_us = crew.stop();
        summary.exits = crew.exits();
        {
            let mut serial = lock(self.bus.serial());
            serial.catch_up();
            let console = serial.console();
            console.finish();
            summary.console_bytes = console.bytes();
        }
        summary.facts = self.agent.facts();
        drop(crew);
        drop(self.bus);
        drop(self.vm);
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
        self.queue.push(MachineEvent::Ended(self.summary.clone()));
    }
}

/// Waits for what ends a machine.
struct Watch<'a> {
    hub: Arc<Hub>,
    stop: Arc<EventFd>,
    timer: TimerFd,
    pulse: TimerFd,
    tick: Option<TimerFd>,
    seconds: u64,
    crew: &'a Crew,
    /// Exits and CPU time at the last pulse.
    before: (u64, Duration),
    /// The vCPUs of a machine that ended as a hang.
    hung: Vec<VcpuState>,
}

impl Watch<'_> {
    fn wait(self) -> Result<(Ending, Vec<VcpuState>), event_manager::Error> {
        let hub = self.hub.clone();
        let mut manager = EventManager::new()?;
        let watch = manager.add_subscriber(self);
        loop {
            if let Some(ending) = hub.ending() {
                return Ok((ending, manager.remove_subscriber(watch)?.hung));
            }
            manager.run()?;
        }
    }

    fn watch<T: std::os::fd::AsRawFd>(&self, fd: &T, what: u32, ops: &mut EventOps<'_>) {
        if let Err(error) = ops.add(Events::with_data(fd, what, EventSet::IN)) {
            self.hub.end(Ending::VmmError { reason: format!("can't watch an event: {error}") });
        }
    }

    /// Ends a machine that can't go on.
    ///
    /// A guest that makes progress pays nothing for it: one that prints or computes shows that by
    /// its exits and its CPU time, and is left alone. What remains, the guest that is idle or dead,
    /// is looked at, once a pulse at most. (Half of a pulse is more than a dead guest's timers cost.)
    fn check_pulse(&mut self) {
        // Ready, so this does not block; it takes the expiry.
        let _ = self.pulse.wait();
        let now = (self.crew.exits(), self.crew.cpu_time());
        let before = std::mem::replace(&mut self.before, now);
        if now.0 != before.0 || now.1.saturating_sub(before.1) > PULSE / 2 {
            return;
        }
        if let (Some(kind), vcpus) = self.crew.examine(LIVE_LOOK) {
            self.hung = vcpus;
            self.hub.end(Ending::Hang { kind });
        }
    }
}

const ENDED: u32 = 0;
const STOP: u32 = 1;
const DEADLINE: u32 = 2;
const TICK: u32 = 3;
const CHECK: u32 = 4;

impl MutEventSubscriber for Watch<'_> {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.watch(self.hub.ended(), ENDED, ops);
        self.watch(self.stop.as_ref(), STOP, ops);
        self.watch(&self.timer, DEADLINE, ops);
        self.watch(&self.pulse, CHECK, ops);
        if let Some(tick) = &self.tick {
            self.watch(tick, TICK, ops);
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        match events.data() {
            STOP => self.hub.end(Ending::Stopped),
            DEADLINE => self.hub.end(Ending::TimedOut { seconds: self.seconds }),
            CHECK => self.check_pulse(),
            TICK => {
                // Only to quiet it.
                let _ = self.tick.as_mut().map(TimerFd::wait);
                // Not done here: who delivers lines may have to wait for the listener.
                self.crew.kick_boot_vcpu();
            }
            _ => {}
        }
    }
}
