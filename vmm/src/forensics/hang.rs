//! What looks at all vCPUs say about a machine that has gone silent.
//!
//! | kind | how it is told | ends the machine |
//! | --- | --- | --- |
//! | every vCPU halted with interrupts off | two looks, the second with all of them at rest | at once: it is a proof |
//! | spinning with interrupts off | one is in one place of its kernel whenever it is looked at, and takes no interrupts | when it has had CPU time for as long as the hang may last |
//! | spinning with interrupts on | likewise, but it takes interrupts, and no other vCPU does any work | at the deadline, or after the CPU time that the user has set |
//! | idle | all wait for interrupts; or one is halted with interrupts off, and no other runs a program | at the deadline, or after the silence that the user has set |
//! | making progress | a vCPU runs a program, or is elsewhere at each look | never: at the deadline it timed out |
//!
//! A kernel that polls while it is idle spins with interrupts on, and so does one in a long loop of an
//! honest task's. From outside neither is told from a task that never lets go of its CPU; the kernel's own
//! detector of soft lockups (20 s) tells it, and its word is a crash like any other.
//!
//! What timed out in its kernel alone, on a host that let it, and was silent for half of its time has
//! *stalled*: it goes round in a loop that is too long to be one place.
//!
//! A spinning vCPU's patience is counted in the CPU time that its thread got, so that a host with
//! other things to do does not make a guest look hung. A program that sleeps or computes without a
//! word is no hang: the first is idle, the second runs in user mode.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{MpState, VcpuState};
use crate::HangKind;

/// How far apart two addresses may be for the code there to be one loop, in bytes.
const PLACE: u64 = 2048;

/// Looks that are kept. When there are more, every other one is forgotten.
const MOST_LOOKS: usize = 128;

/// Fewer looks than this say nothing about where a vCPU spins.
const FEWEST_LOOKS: usize = 3;

/// The part of its time for which a machine must have been silent for it to have stalled, and the part
/// for which a vCPU must have had a CPU meanwhile. Where machines are three on each CPU, as who looks
/// for races has them, a busy vCPU gets a sixth or so.
const STALL_SILENCE: u32 = 2;
const STALL_CPU_TIME: u32 = 8;

/// A glance at one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glimpse {
    mp_state: MpState,
    rip: u64,
    user: bool,
    interrupts_on: bool,
    dead: bool,
    /// CPU time that its thread has got so far.
    cpu_time: Duration,
}

impl Glimpse {
    pub(crate) fn new(state: &VcpuState, cpu_time: Duration) -> Glimpse {
        Glimpse {
            mp_state: state.mp_state,
            rip: state.registers.rip,
            user: state.registers.is_user(),
            interrupts_on: state.registers.interrupts_on(),
            dead: state.is_dead(),
            cpu_time,
        }
    }
}

/// What a silent machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It hangs, or will wake up some time; for so long: CPU time of a vCPU that spins, else time.
    Stuck(HangKind, Duration),
    /// It works, or that can't be told.
    Working,
}

/// Looks at all vCPUs since the machine went silent.
#[derive(Debug)]
pub(crate) struct Window {
    since: Instant,
    looks: VecDeque<Vec<Glimpse>>,
    /// Whether a vCPU was met in a program, at those looks too that are forgotten.
    programs: bool,
}

/// What one vCPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    NotStarted,
    Dead,
    Idle,
    SpinningInterruptsOff(Duration),
    SpinningInterruptsOn(Duration),
    Working,
}

impl Window {
    /// The machine has been silent since then.
    pub(crate) fn new(since: Instant) -> Window {
        Window { since, looks: VecDeque::new(), programs: false }
    }

    /// How long it has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.since.elapsed()
    }

    /// Takes in a look at all vCPUs.
    pub(crate) fn push(&mut self, look: Vec<Glimpse>) {
        self.programs |= look.iter().any(|glimpse| glimpse.user);
        self.looks.push_back(look);
        if self.looks.len() > MOST_LOOKS {
            let mut keep = false;
            self.looks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Which vCPUs spin, where that is the kind of the hang.
    pub(crate) fn spinning(&self, kind: HangKind) -> Vec<bool> {
        let spins = |doing| match doing {
            Doing::SpinningInterruptsOff(_) => kind == HangKind::SpinningInterruptsOff,
            Doing::SpinningInterruptsOn(_) => kind == HangKind::SpinningInterruptsOn,
            _ => false,
        };
        self.doing().into_iter().map(spins).collect()
    }

    /// Whether a machine that was given this time, and works, has done so for so long without a sign of
    /// it that it can be taken for a hang: in its kernel alone, on a host that let it. A guest that is
    /// only slow prints now and then, runs a program, or gets next to no CPU.
    pub(crate) fn is_stalled(&self, given: Duration) -> bool {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else {
            return false;
        };
        let cpu_time = |(first, last): (&Glimpse, &Glimpse)| {
            last.cpu_time.saturating_sub(first.cpu_time) >= given / STALL_CPU_TIME
        };
        !self.programs
            && !self.doing().is_empty()
            && self.silence() >= given / STALL_SILENCE
            && first.iter().zip(last).any(cpu_time)
    }

    /// What each vCPU does; nothing if one did not answer.
    fn doing(&self) -> Vec<Doing> {
        let vcpus = self.looks.front().map_or(0, Vec::len);
        if self.looks.iter().any(|look| look.len() != vcpus) {
            return Vec::new();
        }
        (0..vcpus)
            .map(|vcpu| {
                let glimpses = self.looks.iter().filter_map(|look| look.get(vcpu).copied());
                doing(&glimpses.collect::<Vec<_>>())
            })
            .collect()
    }

    /// What the looks say.
    pub(crate) fn activity(&self) -> Activity {
        let doing = self.doing();
        if doing.is_empty() {
            return Activity::Working;
        }
        let longest = |spin: fn(&Doing) -> Option<Duration>| doing.iter().filter_map(spin).max();
        // It takes no interrupts, so sooner or later the others wait for it.
        let off = longest(|doing| match doing {
            Doing::SpinningInterruptsOff(time) => Some(*time),
            _ => None,
        });
        if let Some(time) = off {
            return Activity::Stuck(HangKind::SpinningInterruptsOff, time);
        }
        let dead = doing.contains(&Doing::Dead);
        if doing.contains(&Doing::Working) {
            // Whoever waits for one that is dead goes on with what kernels do for themselves: RCU asks
            // every few ticks whether it has come back.
            let kernel_only = !self.looks.iter().flatten().any(|glimpse| glimpse.user);
            return match dead && kernel_only && self.looks.len() >= FEWEST_LOOKS {
                true => Activity::Stuck(HangKind::Idle, self.silence()),
                false => Activity::Working,
            };
        }
        let on = longest(|doing| match doing {
            Doing::SpinningInterruptsOn(time) => Some(*time),
            _ => None,
        });
        if let Some(time) = on {
            return Activity::Stuck(HangKind::SpinningInterruptsOn, time);
        }
        let alive = doing.contains(&Doing::Idle);
        let kind = if dead && !alive { HangKind::HaltedInterruptsOff } else { HangKind::Idle };
        Activity::Stuck(kind, self.silence())
    }
}

/// What a vCPU does that was seen so.
fn doing(glimpses: &[Glimpse]) -> Doing {
    let all = |test: fn(&Glimpse) -> bool| glimpses.iter().all(test);
    let most = |count: usize| count * 4 >= glimpses.len() * 3;
    let (Some(first), Some(last)) = (glimpses.first(), glimpses.last()) else {
        return Doing::Working;
    };
    if all(|glimpse| glimpse.mp_state == MpState::NotStarted) {
        return Doing::NotStarted;
    }
    if all(|glimpse| glimpse.dead) && first.rip == last.rip {
        return Doing::Dead;
    }
    let halted = glimpses.iter().filter(|glimpse| glimpse.mp_state == MpState::Halted).count();
    if most(halted) {
        return Doing::Idle;
    }
    if glimpses.len() < FEWEST_LOOKS || glimpses.iter().any(|glimpse| glimpse.user) {
        return Doing::Working;
    }
    let mut places: Vec<u64> = glimpses.iter().map(|glimpse| glimpse.rip).collect();
    places.sort_unstable();
    let middle = places.get(places.len() / 2).copied().unwrap_or_default();
    let here = |glimpse: &&Glimpse| glimpse.rip.abs_diff(middle) <= PLACE;
    // Now and then it may be met in an interrupt.
    if !most(glimpses.iter().filter(here).count()) {
        return Doing::Working;
    }
    let time = last.cpu_time.saturating_sub(first.cpu_time);
    match glimpses.iter().filter(here).any(|glimpse| glimpse.interrupts_on) {
        true => Doing::SpinningInterruptsOn(time),
        false => Doing::SpinningInterruptsOff(time),
    }
}

/// What can be told for certain from two looks at every vCPU.
///
/// Each of them halted with interrupts off (or never started), and none has moved in between: nobody
/// is left to wake anybody. It holds if none of them ran while the second look was taken.
///
/// A vCPU that was not started wakes nobody: it waits for an INIT or SIPI that only another vCPU
/// could send.
pub(crate) fn certain_hang(before: &[VcpuState], after: &[VcpuState]) -> Option<HangKind> {
    let dead = |states: &[VcpuState]| {
        states.iter().any(VcpuState::is_dead)
            && states.iter().all(|state| state.is_dead() || state.mp_state == MpState::NotStarted)
    };
    let same =
        |(a, b): (&VcpuState, &VcpuState)| a.registers.rip == b.registers.rip && a.exits == b.exits;
    let still = before.len() == after.len() && before.iter().zip(after).all(same);
    (dead(before) && dead(after) && still).then_some(HangKind::HaltedInterruptsOff)
}

#[cfg(test)]
mod tests {
    use super::super::Registers;
    use super::*;

    fn halted(vcpu: u8, interrupts_on: bool) -> VcpuState {
        let rflags = if interrupts_on { 0x202 } else { 2 };
        VcpuState {
            vcpu,
            mp_state: MpState::Halted,
            registers: Registers { rip: 0x1000, rflags, ..Registers::default() },
            interrupts_requested: 1,
            exits: 10,
            ..VcpuState::default()
        }
    }

    fn running(rip: u64, interrupts_on: bool, cs: u16) -> VcpuState {
        let state = halted(0, interrupts_on);
        let registers = Registers { rip, cs, ..state.registers };
        VcpuState { mp_state: MpState::Running, registers, ..state }
    }

    #[test]
    fn all_must_be_dead_and_stay_so() {
        let not_started = VcpuState { mp_state: MpState::NotStarted, ..halted(1, false) };
        let dead = [halted(0, false), not_started.clone()];
        assert_eq!(certain_hang(&dead, &dead), Some(HangKind::HaltedInterruptsOff));
        let idle = [halted(0, false), halted(1, true)];
        assert_eq!(certain_hang(&idle, &idle), None);
        let nmi = [VcpuState { nmi_pending: true, ..halted(0, false) }];
        assert_eq!(certain_hang(&nmi, &nmi), None);
        let timer = [VcpuState { nmi_timer: true, ..halted(0, false) }];
        assert_eq!(certain_hang(&timer, &timer), None);
        let moved = [VcpuState { exits: 11, ..halted(0, false) }, not_started.clone()];
        assert_eq!(certain_hang(&dead, &moved), None);
        let none_started = [not_started];
        assert_eq!(certain_hang(&none_started, &none_started), None);
        assert_eq!(certain_hang(&[], &[]), None);
    }

    /// A machine that looks so second after second, each running vCPU with half a CPU for itself.
    fn window(looks: &[Vec<VcpuState>]) -> Window {
        let mut window = Window::new(Instant::now());
        for (look, second) in looks.iter().zip(0..) {
            let cpu_time = Duration::from_millis(500 * second);
            window.push(look.iter().map(|state| Glimpse::new(state, cpu_time)).collect());
        }
        window
    }

    fn activity(looks: &[Vec<VcpuState>]) -> Activity {
        window(looks).activity()
    }

    fn kind(looks: &[Vec<VcpuState>]) -> Option<HangKind> {
        match activity(looks) {
            Activity::Stuck(kind, _) => Some(kind),
            Activity::Working => None,
        }
    }

    const KERNEL: u16 = 0x10;
    const USER: u16 = 0x33;
    const AT: u64 = 0xffff_ffff_8100_0000;

    #[test]
    fn who_spins_is_told_by_the_place_and_counted_in_cpu_time() {
        let spin = |on| vec![vec![running(AT, on, KERNEL), halted(1, true)]; 11];
        assert_eq!(
            activity(&spin(false)),
            Activity::Stuck(HangKind::SpinningInterruptsOff, Duration::from_secs(5))
        );
        assert_eq!(kind(&spin(true)), Some(HangKind::SpinningInterruptsOn));
        // Met in an interrupt's handler once.
        let mut met = spin(true);
        met[4][0] = running(AT + 0x10_0000, false, KERNEL);
        assert_eq!(kind(&met), Some(HangKind::SpinningInterruptsOn));
        // With interrupts off it is no matter what others do; with them on it is.
        let busy = |on| vec![vec![running(AT, on, KERNEL), running(7, true, USER)]; 9];
        assert_eq!(kind(&busy(false)), Some(HangKind::SpinningInterruptsOff));
        assert_eq!(kind(&busy(true)), None);
    }

    #[test]
    fn who_happens_to_run_at_the_last_look_does_not_spin() {
        for (on, kind) in
            [(true, HangKind::SpinningInterruptsOn), (false, HangKind::SpinningInterruptsOff)]
        {
            let mut looks = vec![vec![halted(0, true), running(AT, on, KERNEL)]; 11];
            looks[10][0] = running(AT + 0x10_0000, on, KERNEL);
            assert_eq!(window(&looks).spinning(kind), [false, true]);
            assert_eq!(window(&looks).spinning(HangKind::Idle), [false, false]);
        }
    }

    #[test]
    fn who_works_is_elsewhere_at_each_look_or_in_a_program() {
        let moving = |step: u64| vec![running(AT + step * 0x4000, true, KERNEL)];
        assert_eq!(kind(&(0..9).map(moving).collect::<Vec<_>>()), None);
        assert_eq!(kind(&vec![vec![running(0x40_1000, true, USER)]; 9]), None);
        assert_eq!(kind(&vec![vec![running(AT, false, KERNEL)]; 2]), None, "too few looks");
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[vec![halted(0, true)], vec![]]), None, "one did not answer");
    }

    #[test]
    fn who_waits_is_idle_unless_nobody_can_wake_him() {
        assert_eq!(kind(&vec![vec![halted(0, true)]; 3]), Some(HangKind::Idle));
        assert_eq!(kind(&vec![vec![halted(0, true), halted(1, false)]; 3]), Some(HangKind::Idle));
        let dead = kind(&vec![vec![halted(0, false)]; 3]);
        assert_eq!(dead, Some(HangKind::HaltedInterruptsOff));
    }

    #[test]
    fn what_a_kernel_does_for_itself_beside_a_dead_vcpu_is_no_progress() {
        let beside = |dead: bool, cs| {
            let look = |step: u64| vec![running(AT + step * 0x4000, true, cs), halted(1, !dead)];
            kind(&(0..9).map(look).collect::<Vec<_>>())
        };
        assert_eq!(beside(true, KERNEL), Some(HangKind::Idle));
        assert_eq!(beside(true, USER), None, "it may wait for what a program will do");
        assert_eq!(beside(false, KERNEL), None);
    }

    #[test]
    fn who_works_for_long_without_a_word_has_stalled() {
        let minute = Duration::from_secs(60);
        // Looked at once a second; every other one a vCPU with half a CPU for itself.
        let silent = |seconds: u64, share: u64, cs: u16| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            let mut window = Window::new(since);
            for second in 0..seconds {
                let look = [halted(0, true), running(AT + second * 0x4000, true, cs)];
                let cpu_time = Duration::from_millis(second * share);
                window.push(look.iter().map(|state| Glimpse::new(state, cpu_time)).collect());
            }
            assert_eq!(window.activity(), Activity::Working);
            window.is_stalled(minute)
        };
        assert!(silent(45, 500, KERNEL));
        assert!(!silent(20, 500, KERNEL), "it was heard a while ago");
        assert!(!silent(45, 20, KERNEL), "the host did not let it");
        assert!(!silent(45, 500, USER), "a program takes its time");
        assert!(!Window::new(Instant::now()).is_stalled(Duration::ZERO), "nobody has looked");
        let mut programs = Window::new(Instant::now().checked_sub(minute).unwrap());
        for second in 0..10 * MOST_LOOKS as u64 {
            let cs = if second == 1 { USER } else { KERNEL };
            let state = running(AT + second * 0x4000, true, cs);
            programs.push(vec![Glimpse::new(&state, Duration::from_millis(500 * second))]);
        }
        assert!(!programs.is_stalled(minute), "it ran a program, at a look that is forgotten");
    }

    #[test]
    fn looks_are_bounded() {
        let mut window = Window::new(Instant::now());
        for _ in 0..10_000 {
            window.push(vec![Glimpse::new(&halted(0, true), Duration::ZERO)]);
        }
        assert!(window.looks.len() <= MOST_LOOKS);
    }
}
