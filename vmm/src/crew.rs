//! The threads of a machine's vCPUs, together.

use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::aside::Aside;
use crate::control::{Command, Control};
use crate::forensics::{Glimpse, MpState, VcpuState, certain_hang};
use crate::hub::Hub;
use crate::queue::Queue;
use crate::vcpu::Vcpu;
use crate::{Ending, HangKind};

/// How often it is looked whether vCPUs that were asked by NMI have come to an end.
const ANSWER_PULSE: Duration = Duration::from_millis(20);

/// Time between two looks at vCPUs that seem to hang.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Stack of a vCPU's thread. The run loop needs little, and an address space with many machines
/// should stay small.
const STACK: usize = 256 << 10;

/// The threads of a machine's vCPUs. When it is dropped they have ended.
#[derive(Debug)]
pub(crate) struct Crew {
    controls: Vec<Arc<Control>>,
    threads: Vec<JoinHandle<u64>>,
    queue: Arc<Queue>,
}

impl Crew {
    /// Starts a thread for each vCPU. If the host gives no thread, the machine ends.
    pub(crate) fn start(vcpus: Vec<Vcpu>, hub: &Hub, queue: Arc<Queue>) -> Crew {
        let controls = vcpus.iter().map(|vcpu| vcpu.control.clone()).collect();
        let mut crew = Crew { controls, threads: Vec::with_capacity(vcpus.len()), queue };
        for vcpu in vcpus {
            let name = format!("vcpu{}", vcpu.index);
            match thread::Builder::new().name(name).stack_size(STACK).spawn(|| vcpu.run()) {
                Ok(thread) => crew.threads.push(thread),
                Err(error) => {
                    let reason = format!("can't start a vCPU thread: {error}");
                    hub.end(Ending::VmmError { reason });
                    break;
                }
            }
        }
        crew
    }

    /// How many vCPUs there are.
    pub(crate) fn len(&self) -> usize {
        self.controls.len()
    }

    /// KVM exits so far, over all vCPUs.
    pub(crate) fn exits(&self) -> u64 {
        self.controls.iter().map(|control| control.exits()).sum()
    }

    /// CPU time that the threads got so far. One that has ended counts nothing.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.threads.iter().map(thread_cpu_time).sum()
    }

    /// What the vCPUs are doing, and whether that proves a hang; after one that does, they stay out of
    /// their guest. A vCPU that does not come out of it within `patience` is missing: one that waits
    /// for a slow listener at its serial port.
    ///
    /// The first look takes one vCPU after the other for a moment, which no guest notices. It proves
    /// nothing: while one was looked at, another may have woken it and halted in its turn, as
    /// vCPUs that fight over a lock do all the time. Only if it finds them all halted for good does
    /// the second look stop the machine: none runs while any of them is looked at.
    pub(crate) fn examine(&self, patience: Duration) -> (Option<HangKind>, Vec<VcpuState>) {
        let first = self.inspect(Command::Inspect, patience);
        if first.len() != self.controls.len() || certain_hang(&first, &first).is_none() {
            return (None, first);
        }
        thread::sleep(SECOND_LOOK);
        let second = self.rest(patience);
        match certain_hang(&first, &second) {
            Some(kind) => (Some(kind), second),
            None => {
                self.go_on();
                (None, first)
            }
        }
    }

    /// A glance at each vCPU, if all of them were looked at.
    pub(crate) fn glimpses(&self, states: &[VcpuState]) -> Option<Vec<Glimpse>> {
        let glimpses = states.iter().zip(&self.threads);
        (states.len() == self.threads.len()).then(|| {
            glimpses.map(|(state, thread)| Glimpse::new(state, thread_cpu_time(thread))).collect()
        })
    }

    fn inspect(&self, order: Command, patience: Duration) -> Vec<VcpuState> {
        self.order(order);
        let deadline = Instant::now() + patience;
        self.controls.iter().filter_map(|control| control.inspected(deadline)).collect()
    }

    /// Looks at all vCPUs while none of them runs, and leaves them so. Nothing, and they go on, if one
    /// did not stop in time.
    ///
    /// Each says what it was doing after the last of them has stopped. So if all of them say that
    /// they wait for somebody, nobody is left.
    fn rest(&self, patience: Duration) -> Vec<VcpuState> {
        self.order(Command::Park);
        self.rested(patience)
    }

    /// The same for a machine that has ended: nobody waits for a listener from now on.
    pub(crate) fn rest_for_good(&self, patience: Duration) -> Vec<VcpuState> {
        self.order(Command::Park);
        self.queue.release();
        self.rested(patience)
    }

    /// Lets vCPUs at rest go on.
    pub(crate) fn go_on(&self) {
        self.order(Command::Run);
    }

    fn rested(&self, patience: Duration) -> Vec<VcpuState> {
        let deadline = Instant::now() + patience;
        if self.controls.iter().all(|control| control.parked(deadline)) {
            return self.inspect(Command::InspectParked, patience);
        }
        self.order(Command::Run);
        Vec::new()
    }

    /// Gives an NMI to each vCPU that was started, lets them all go on, and listens to `aside` for
    /// what the guest has to say: until it has been silent for `silence` after its first word, has
    /// come to an end, or `patience` is over.
    pub(crate) fn ask_by_nmi(
        &self,
        vcpus: &[VcpuState],
        aside: &Aside,
        silence: Duration,
        patience: Duration,
    ) {
        for (control, vcpu) in self.controls.iter().zip(vcpus) {
            let started = vcpu.mp_state != MpState::NotStarted;
            control.order(if started { Command::Nmi } else { Command::Run });
        }
        let deadline = Instant::now() + patience;
        let mut heard: Option<Instant> = None;
        while heard.is_none_or(|at| at.elapsed() < silence) && Instant::now() < deadline {
            if aside.grows_within(ANSWER_PULSE) {
                heard = Some(Instant::now());
            } else if self.controls.iter().any(|control| control.is_over()) {
                break;
            }
        }
    }

    /// Gets the boot vCPU out of its guest, for what it does whenever it is out.
    pub(crate) fn kick_boot_vcpu(&self) {
        if let Some(control) = self.controls.first() {
            control.kick();
        }
    }

    fn order(&self, command: Command) {
        for control in &self.controls {
            control.order(command);
        }
    }

    /// Ends the threads. Returns the CPU time that they got, in microseconds.
    pub(crate) fn stop(&mut self) -> u64 {
        // Nobody may wait for a listener now, nor enter the guest again.
        self.order(Command::Stop);
        self.queue.release();
        self.threads.drain(..).map(|thread| thread.join().unwrap_or(0)).sum()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop();
    }
}

fn thread_cpu_time<T>(thread: &JoinHandle<T>) -> Duration {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the handle keeps the thread from being joined or detached, so its pthread_t is valid;
    // both pointers are valid for their calls. If the thread has ended, the calls fail and leave the
    // time zero.
    unsafe {
        if libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock) == 0 {
            libc::clock_gettime(clock, &raw mut time);
        }
    }
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
