//! Waits for what ends a machine: its guest, the host, the deadline, or a silence in which nothing goes
//! on. What counts as one is in [`crate::forensics`].

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use crate::agent::Agent;
use crate::crew::Crew;
use crate::devices::serial::PostedRing;
use crate::forensics::{Activity, VcpuState, Window};
use crate::hub::Hub;
use crate::{Ending, HangKind, MachineConfig};

/// How long the vCPUs of a machine that has ended may take to say what they were doing.
pub(crate) const LAST_LOOK: Duration = Duration::from_millis(500);

/// How long they may take while the machine runs. Halted ones, which alone may prove a hang, need
/// microseconds.
const LIVE_LOOK: Duration = Duration::from_millis(100);

/// How often the guest is checked for signs of life.
pub(crate) const PULSE: Duration = Duration::from_secs(1);

/// How many looks are taken at a guest whose time is up, and how far apart.
const FINAL_LOOKS: usize = 4;
const BETWEEN_FINAL_LOOKS: Duration = Duration::from_millis(50);

/// A guest that has said something so short a time ago is at work when its time is up, however it
/// looks; or one that was heard in the second half of its time. See [`least_silence`].
const RECENTLY: Duration = Duration::from_secs(10);

/// The part of the silence for which a vCPU that spins must have had a CPU, before it is its guest's
/// fault that nothing was heard.
const LEAST_SHARE: u32 = 20;

/// How a machine ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    /// What its vCPUs were doing, if it was looked at them.
    pub(crate) vcpus: Vec<VcpuState>,
    /// Which of them spin, if it hangs.
    pub(crate) spinning: Vec<bool>,
    /// How long it had been silent for.
    pub(crate) silence: Duration,
}

/// What is waited for.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) hub: Arc<Hub>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) stop: Arc<EventFd>,
    /// Fires at the deadline.
    pub(crate) timer: TimerFd,
    /// Fires every [`PULSE`].
    pub(crate) pulse: TimerFd,
    /// Where writes to the serial port are put aside, and what rings when that is to be looked at.
    pub(crate) posted: Option<(PostedRing, TimerFd)>,
    pub(crate) deadline: Duration,
    pub(crate) hang_after: Option<Duration>,
}

/// Waits for what ends a machine.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    awaited: Awaited,
    crew: &'a Crew,
    /// Exits and CPU time at the last pulse.
    before: (u64, Duration),
    /// Signs of life at the last pulse, and when that was.
    heard: u64,
    pulse_at: Instant,
    window: Window,
    /// The vCPUs when they were last looked at, if that was the end.
    vcpus: Vec<VcpuState>,
}

impl<'a> Watch<'a> {
    /// A watch over a machine that has just been started.
    pub(crate) fn new(awaited: Awaited, crew: &'a Crew) -> Watch<'a> {
        Watch {
            awaited,
            crew,
            before: (0, Duration::ZERO),
            heard: 0,
            pulse_at: Instant::now(),
            window: Window::new(Instant::now()),
            vcpus: Vec::new(),
        }
    }

    /// Waits for the end.
    pub(crate) fn wait(self) -> Result<Ended, event_manager::Error> {
        let hub = self.awaited.hub.clone();
        let mut manager = EventManager::new()?;
        let watch = manager.add_subscriber(self);
        loop {
            if let Some(ending) = hub.ending() {
                let watch = manager.remove_subscriber(watch)?;
                let spinning = match ending {
                    Ending::Hang { kind } => watch.window.spinning(kind),
                    _ => Vec::new(),
                };
                let silence = watch.window.silence();
                return Ok(Ended { ending, vcpus: watch.vcpus, spinning, silence });
            }
            manager.run()?;
        }
    }

    fn watch<T: std::os::fd::AsRawFd>(&self, fd: &T, what: u32, ops: &mut EventOps<'_>) {
        if let Err(error) = ops.add(Events::with_data(fd, what, EventSet::IN)) {
            self.awaited
                .hub
                .end(Ending::VmmError { reason: format!("can't watch an event: {error}") });
        }
    }

    /// Ends a machine that can't go on.
    ///
    /// A guest that prints is left alone. One that is silent is looked at once a pulse, which takes
    /// each vCPU out of it for some microseconds.
    fn check_pulse(&mut self) {
        // Ready, so this does not block; it takes the expiry.
        let _ = self.awaited.pulse.wait();
        let quiet = self.is_quiet();
        if self.is_heard() {
            return;
        }
        let (proof, vcpus) = self.crew.examine(LIVE_LOOK);
        // Whoever has had exits or computed since the last pulse is not dead, as it happens to look.
        if let Some(kind) = proof.filter(|_| quiet) {
            return self.end_as_hang(kind, vcpus);
        }
        if proof.is_some() {
            self.crew.go_on();
        }
        if let Some(look) = self.crew.glimpses(&vcpus) {
            self.window.push(look);
        }
        if let Activity::Stuck(kind, time) = self.window.activity()
            && patience(kind, self.awaited.hang_after).is_some_and(|patience| time >= patience)
        {
            self.end_as_hang(kind, vcpus);
        }
    }

    /// Whether the vCPUs have neither left the guest nor computed since the last time. (Half of a pulse
    /// is more than a dead guest's timers cost.)
    fn is_quiet(&mut self) -> bool {
        let now = (self.crew.exits(), self.crew.cpu_time());
        let before = std::mem::replace(&mut self.before, now);
        now.0 == before.0 && now.1.saturating_sub(before.1) <= PULSE / 2
    }

    /// Whether the guest has given a sign of life since the last time: then it has been silent since
    /// that time at the longest.
    fn is_heard(&mut self) -> bool {
        let heard = self.awaited.agent.signs_of_life();
        let before = std::mem::replace(&mut self.heard, heard);
        let pulse_at = std::mem::replace(&mut self.pulse_at, Instant::now());
        if heard != before {
            self.window = Window::new(pulse_at);
        }
        heard != before
    }

    fn end_as_hang(&mut self, kind: HangKind, vcpus: Vec<VcpuState>) {
        self.vcpus = vcpus;
        self.awaited.hub.end(Ending::Hang { kind });
    }

    /// Ends a machine whose time is up: as a hang if nothing goes on in it.
    fn out_of_time(&mut self) {
        let seconds = self.awaited.deadline.as_secs();
        let timed_out = |stalled| Ending::TimedOut { seconds, stalled };
        self.is_heard();
        let (proof, vcpus) = self.crew.examine(LAST_LOOK);
        if let Some(kind) = proof {
            return self.end_as_hang(kind, vcpus);
        }
        self.vcpus = vcpus;
        if self.window.silence() < least_silence(HangKind::Idle, self.awaited.deadline) {
            return self.awaited.hub.end(timed_out(false));
        }
        for _ in 0..FINAL_LOOKS {
            thread::sleep(BETWEEN_FINAL_LOOKS);
            let (_, vcpus) = self.crew.examine(LIVE_LOOK);
            let Some(look) = self.crew.glimpses(&vcpus) else {
                return self.awaited.hub.end(timed_out(false));
            };
            self.window.push(look);
        }
        let given = self.awaited.deadline;
        let silence = self.window.silence();
        let ending = match self.window.activity() {
            Activity::Stuck(kind, time) if is_hang(kind, time, silence, given) => {
                Ending::Hang { kind }
            }
            Activity::Stuck(..) => timed_out(false),
            Activity::Working => timed_out(self.window.is_stalled(given)),
        };
        let ending = if self.is_heard() { timed_out(false) } else { ending };
        self.awaited.hub.end(ending);
    }
}

/// How long a hang of this kind may last before the guest's time is up.
fn patience(kind: HangKind, hang_after: Option<Duration>) -> Option<Duration> {
    match kind {
        HangKind::SpinningInterruptsOff => Some(hang_after.unwrap_or(MachineConfig::SPIN_PATIENCE)),
        // A kernel that polls while it is idle spins with interrupts on, and so does any long loop in
        // one. Where it hangs, its own detector of soft lockups says so in 20 s, if it has one.
        HangKind::SpinningInterruptsOn | HangKind::Idle => hang_after,
        // It takes a proof.
        HangKind::HaltedInterruptsOff => None,
    }
}

/// How long a guest that was `given` this time must have been silent, when it is up, to hang so. A
/// kernel that takes interrupts may be in a long loop, and is given the time to come out of it.
fn least_silence(kind: HangKind, given: Duration) -> Duration {
    let silence = match kind {
        HangKind::SpinningInterruptsOn => MachineConfig::SPIN_PATIENCE,
        HangKind::SpinningInterruptsOff | HangKind::Idle | HangKind::HaltedInterruptsOff => {
            RECENTLY
        }
    };
    silence.min(given / 2)
}

/// Whether a guest that was `given` this time, and was stuck so for this `time` and silent for so long
/// when it was up, hangs: not if it spun on a host that gave it next to nothing of the silence to do so.
fn is_hang(kind: HangKind, time: Duration, silence: Duration, given: Duration) -> bool {
    let least = least_silence(kind, given);
    let spins = match kind {
        HangKind::SpinningInterruptsOff | HangKind::SpinningInterruptsOn => true,
        // Nothing of which takes CPU time.
        HangKind::Idle | HangKind::HaltedInterruptsOff => false,
    };
    silence >= least && (!spins || time >= least / LEAST_SHARE)
}

const ENDED: u32 = 0;
const STOP: u32 = 1;
const DEADLINE: u32 = 2;
const TICK: u32 = 3;
const CHECK: u32 = 4;

impl MutEventSubscriber for Watch<'_> {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.watch(self.awaited.hub.ended(), ENDED, ops);
        self.watch(self.awaited.stop.as_ref(), STOP, ops);
        self.watch(&self.awaited.timer, DEADLINE, ops);
        self.watch(&self.awaited.pulse, CHECK, ops);
        if let Some((_, tick)) = &self.awaited.posted {
            self.watch(tick, TICK, ops);
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        match events.data() {
            STOP => self.awaited.hub.end(Ending::Stopped),
            DEADLINE => self.out_of_time(),
            CHECK => self.check_pulse(),
            TICK => {
                if let Some((ring, tick)) = &mut self.awaited.posted {
                    // Only to quiet it.
                    let _ = tick.wait();
                    // Not done here: who delivers lines may have to wait for the listener.
                    if !ring.is_empty() {
                        self.crew.kick_boot_vcpu();
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_guest_that_got_no_cpu_does_not_spin() {
        let (little, enough) = (Duration::from_millis(499), Duration::from_millis(500));
        for kind in [HangKind::SpinningInterruptsOff, HangKind::SpinningInterruptsOn] {
            assert!(!is_hang(kind, little, 10 * SECOND, 20 * SECOND), "{kind:?}");
            assert!(is_hang(kind, enough, 10 * SECOND, 20 * SECOND), "{kind:?}");
        }
        for kind in [HangKind::Idle, HangKind::HaltedInterruptsOff] {
            assert!(is_hang(kind, Duration::ZERO, 10 * SECOND, 20 * SECOND), "{kind:?}");
        }
    }

    #[test]
    fn only_who_takes_no_interrupts_is_sure_to_hang_before_its_time_is_up() {
        let told = Some(5 * SECOND);
        for kind in [HangKind::SpinningInterruptsOn, HangKind::Idle] {
            assert_eq!(patience(kind, None), None, "{kind:?}");
            assert_eq!(patience(kind, told), told, "{kind:?}");
        }
        assert_eq!(patience(HangKind::SpinningInterruptsOff, None), Some(30 * SECOND));
        assert_eq!(patience(HangKind::SpinningInterruptsOff, told), told);
        assert_eq!(patience(HangKind::HaltedInterruptsOff, told), None);
    }

    #[test]
    fn a_long_loop_that_takes_interrupts_is_given_longer_when_the_time_is_up() {
        let hangs = |kind, silence| is_hang(kind, silence, silence, 100 * SECOND);
        assert!(hangs(HangKind::SpinningInterruptsOff, 10 * SECOND));
        assert!(!hangs(HangKind::SpinningInterruptsOn, 29 * SECOND));
        assert!(hangs(HangKind::SpinningInterruptsOn, 30 * SECOND));
    }
}
