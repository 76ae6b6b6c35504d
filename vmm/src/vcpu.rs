//! One vCPU and its thread.

use std::sync::Arc;

use kvm_bindings::kvm_run;
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::signal::{SIGRTMIN, unblock_signal};

use crate::agent::Agent;
use crate::control::{Command, Control};
use crate::devices::bus::Bus;
use crate::forensics::VcpuState;
use crate::hub::Hub;
use crate::memory::Ram;
use crate::{Ending, Milestone};

/// A vCPU that is ready to run.
#[derive(Debug)]
pub(crate) struct Vcpu {
    pub(crate) fd: VcpuFd,
    pub(crate) index: u8,
    pub(crate) control: Arc<Control>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) hub: Arc<Hub>,
    /// Keeps the guest's memory mapped as long as there is a vCPU that could touch it, whatever
    /// becomes of the other threads.
    pub(crate) _memory: Arc<Ram>,
}

impl Vcpu {
    /// Runs until it is told to stop; when its guest has ended the machine, it only obeys. Returns
    /// the CPU time that the thread got, in microseconds.
    pub(crate) fn run(mut self) -> u64 {
        let _guard = Guard { hub: self.hub.clone(), index: self.index };
        self.control.attach();
        if let Err(error) = unblock_signal(SIGRTMIN()) {
            self.hub.end(Ending::VmmError { reason: format!("vCPU {}: {error}", self.index) });
        }
        if self.index == 0 {
            self.agent.pass(Milestone::KernelEntered);
        }
        while self.obey() {
            if let Some(ending) = self.step() {
                // What the guest has sent before comes first, an ending in it as well.
                self.hub.end(self.bus.catch_up().unwrap_or(ending));
                while self.obey() {
                    self.control.idle();
                }
                break;
            }
        }
        thread_cpu_micros()
    }

    /// Obeys the commands that were left. False if the vCPU is to stop.
    fn obey(&self) -> bool {
        loop {
            match self.control.command() {
                Command::Run => return true,
                Command::Stop => return false,
                order @ (Command::Inspect | Command::InspectParked) => {
                    let exits = self.control.exits();
                    self.control.answer(order, VcpuState::of(&self.fd, self.index, exits).ok());
                }
                Command::Park => self.control.park(),
                order @ Command::Nmi => {
                    // One that can't take it has nothing to say.
                    let _ = self.fd.nmi();
                    self.control.obeyed(order);
                }
            }
        }
    }

    /// Enters the guest once. What comes back is the end of the machine.
    fn step(&mut self) -> Option<Ending> {
        let exit = match self.fd.run() {
            Ok(exit) => exit,
            Err(error) => return self.run_failed(error.errno()),
        };
        self.control.count_exit();
        let vcpu = self.index;
        match exit {
            // Nearly all are: a byte can't be several accesses, so nobody has to look.
            VcpuExit::IoIn(port, data @ [_]) => self.bus.read(port, data),
            VcpuExit::IoOut(port, data @ [_]) => self.bus.write(port, data),
            VcpuExit::IoOut(port, data) => {
                let size = self.control.port_access_size();
                data.chunks(size).find_map(|access| self.bus.write(port, access))
            }
            VcpuExit::IoIn(port, data) => {
                let size = self.control.port_access_size();
                data.chunks_mut(size).find_map(|access| self.bus.read(port, access))
            }
            // Nothing is there: reads float, writes are lost.
            VcpuExit::MmioRead(_, data) => {
                data.fill(0xff);
                None
            }
            VcpuExit::MmioWrite(..) | VcpuExit::IrqWindowOpen => None,
            VcpuExit::Intr => self.kicked(),
            VcpuExit::InternalError => {
                let rip = self.fd.get_regs().map_or(0, |registers| registers.rip);
                Some(internal_error(vcpu, self.fd.get_kvm_run(), rip))
            }
            VcpuExit::Unknown => Some(unknown(vcpu, self.fd.get_kvm_run())),
            exit => Some(fatal(vcpu, &exit)),
        }
    }

    fn kicked(&mut self) -> Option<Ending> {
        self.control.kicked();
        self.bus.catch_up_if_free()
    }

    fn run_failed(&mut self, errno: i32) -> Option<Ending> {
        match errno {
            libc::EINTR => self.kicked(),
            // A vCPU that waits for INIT was woken without one.
            libc::EAGAIN => None,
            errno => {
                let error = std::io::Error::from_raw_os_error(errno);
                Some(Ending::VmmError {
                    reason: format!("vCPU {}: KVM_RUN failed: {error}", self.index),
                })
            }
        }
    }
}

/// KVM_EXIT_INTERNAL_ERROR, whose details lie in kvm_run.
fn internal_error(vcpu: u8, run: &kvm_run, rip: u64) -> Ending {
    // SAFETY: for KVM_EXIT_INTERNAL_ERROR `internal` is the union's field; it is plain data.
    let internal = unsafe { run.__bindgen_anon_1.internal };
    let count = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
    let data = internal.data.iter().take(count).copied().collect();
    Ending::KvmInternalError { vcpu, suberror: internal.suberror, data, rip }
}

/// KVM_EXIT_UNKNOWN: the hardware left the guest for a reason that KVM does not know.
fn unknown(vcpu: u8, run: &kvm_run) -> Ending {
    // SAFETY: for KVM_EXIT_UNKNOWN `hw` is the union's field; it is plain data.
    let reason = unsafe { run.__bindgen_anon_1.hw.hardware_exit_reason };
    let reason = format!("vCPU {vcpu}: KVM does not know the hardware's exit reason {reason:#x}");
    Ending::VmmError { reason }
}

/// The end that an exit is which no guest goes on from.
fn fatal(vcpu: u8, exit: &VcpuExit<'_>) -> Ending {
    let reason = match exit {
        VcpuExit::Shutdown => return Ending::TripleFault,
        VcpuExit::FailEntry(reason, cpu) => {
            return Ending::EntryFailed { vcpu, reason: *reason, cpu: *cpu };
        }
        VcpuExit::MemoryFault { flags, gpa, size } => {
            format!("KVM can't give the guest {size} bytes at {gpa:#x} (flags {flags:#x})")
        }
        other => format!("unexpected exit {other:?}"),
    };
    Ending::VmmError { reason: format!("vCPU {vcpu}: {reason}") }
}

/// Ends the machine if a vCPU's thread dies.
struct Guard {
    hub: Arc<Hub>,
    index: u8,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hub.end(Ending::VmmError { reason: format!("vCPU {} died", self.index) });
        }
    }
}

fn thread_cpu_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call, which fills the structure or leaves it zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fatal_exit_keeps_what_kvm_said() {
        assert_eq!(fatal(0, &VcpuExit::Shutdown), Ending::TripleFault);
        let entry = fatal(3, &VcpuExit::FailEntry(0x8000_0021, 1));
        assert_eq!(entry, Ending::EntryFailed { vcpu: 3, reason: 0x8000_0021, cpu: 1 });
        assert_eq!(
            entry.to_string(),
            "hardware refused to enter vCPU 3: reason 0x80000021, on CPU 1"
        );
        let said = |exit| fatal(2, &exit).to_string();
        let fault = said(VcpuExit::MemoryFault { flags: 8, gpa: 0x1000, size: 4096 });
        assert_eq!(
            fault,
            "VMM error: vCPU 2: KVM can't give the guest 4096 bytes at 0x1000 (flags 0x8)"
        );
        assert_eq!(
            said(VcpuExit::Unsupported(77)),
            "VMM error: vCPU 2: unexpected exit Unsupported(77)"
        );
    }

    #[test]
    fn what_kvm_run_holds_is_read() {
        let mut run = kvm_run::default();
        run.__bindgen_anon_1.hw.hardware_exit_reason = 0x4d;
        assert_eq!(
            unknown(1, &run).to_string(),
            "VMM error: vCPU 1: KVM does not know the hardware's exit reason 0x4d"
        );
        let mut run = kvm_run::default();
        run.__bindgen_anon_1.internal.suberror = 3;
        run.__bindgen_anon_1.internal.ndata = 2;
        run.__bindgen_anon_1.internal.data = [7; 16];
        let error = |data| Ending::KvmInternalError { vcpu: 1, suberror: 3, data, rip: 0x1000 };
        assert_eq!(internal_error(1, &run, 0x1000), error(vec![7, 7]));
        // More than there is room for.
        run.__bindgen_anon_1.internal.ndata = u32::MAX;
        assert_eq!(internal_error(1, &run, 0x1000), error(vec![7; 16]));
    }

    #[test]
    fn a_thread_that_dies_ends_the_machine() {
        let hub = Arc::new(Hub::new().unwrap());
        let guard = Guard { hub: hub.clone(), index: 3 };
        let died = std::thread::spawn(move || {
            let _guard = guard;
            panic!("a bug");
        });
        assert!(died.join().is_err());
        assert_eq!(hub.ending(), Some(Ending::VmmError { reason: "vCPU 3 died".into() }));
    }
}
