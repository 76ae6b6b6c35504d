//! Reaching into a vCPU thread from outside.
//!
//! A vCPU thread spends its life in the KVM_RUN ioctl, blocked for ever if its guest halts. To get it
//! out, whoever wants something leaves a command, sets `immediate_exit` in the vCPU's kvm_run page,
//! and sends the thread a signal. If the thread was in KVM_RUN the signal brings it out; if it was
//! just about to enter, `immediate_exit` does (KVM api.rst), so that no kick is lost. The thread, once
//! out, clears `immediate_exit` and only then looks at the command.
//!
//! A kick does not disturb the guest: KVM_RUN gives up a halt without changing the MP state, so a
//! vCPU that was halted is halted again when it re-enters, and a wake-up that came while it was out
//! waits in KVM (in the local APIC, or as a paravirtual kick) and is taken then.
//!
//! Commands come from the supervisor's thread alone.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::forensics::VcpuState;
use crate::sync::lock;

/// What a vCPU thread is to do when it comes out of KVM_RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Command {
    /// Go on.
    Run,
    /// Say what the vCPU was doing, then go on.
    Inspect,
    /// Stay out of the guest until there is another command.
    Park,
    /// Say what the vCPU was doing and stay out of the guest.
    InspectParked,
    /// Give the guest an NMI, then go on.
    Nmi,
    /// Leave.
    Stop,
}

/// A vCPU, as others see it.
#[derive(Debug)]
pub(crate) struct Control {
    page: RunPage,
    /// The thread's id; 0 until it runs.
    thread: AtomicI32,
    command: AtomicU8,
    exits: AtomicU64,
    answers: Mutex<Answers>,
    answered: Condvar,
    /// For a parked thread, with `answers`.
    ordered: Condvar,
}

/// What a vCPU thread has said.
#[derive(Debug, Default)]
struct Answers {
    /// To [`Command::Inspect`] and [`Command::InspectParked`].
    state: Option<VcpuState>,
    /// To [`Command::Park`].
    parked: bool,
    /// Its guest has ended the machine.
    over: bool,
}

impl Control {
    /// Maps the vCPU's page once more and makes sure that the signal does no harm.
    pub(crate) fn new(vcpu: &VcpuFd) -> io::Result<Control> {
        install_handler()?;
        Ok(Control {
            page: RunPage::map(vcpu)?,
            thread: AtomicI32::new(0),
            command: AtomicU8::new(Command::Run as u8),
            exits: AtomicU64::new(0),
            answers: Mutex::default(),
            answered: Condvar::new(),
            ordered: Condvar::new(),
        })
    }

    /// Leaves a command and gets the thread out of KVM_RUN, or on if it is parked.
    pub(crate) fn order(&self, command: Command) {
        {
            // Under the lock, so that a thread that parks sees either the command or the wake-up.
            let mut answers = lock(&self.answers);
            match command {
                Command::Inspect | Command::InspectParked => answers.state = None,
                Command::Park => answers.parked = false,
                Command::Run | Command::Nmi | Command::Stop => {}
            }
            self.command.store(command as u8, Ordering::SeqCst);
        }
        self.ordered.notify_all();
        self.kick();
    }

    /// Gets the thread out of KVM_RUN, for what it does whenever it is out.
    pub(crate) fn kick(&self) {
        self.page.set_immediate_exit(1);
        let thread = self.thread.load(Ordering::SeqCst);
        if thread != 0 {
            // SAFETY: tgkill touches no memory of ours. A thread that has ended is ESRCH, or, if its
            // id was given to another thread of this process, a signal whose handler does nothing.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGRTMIN()) };
        }
    }

    /// What came of an order to inspect; waits for it until `deadline`.
    pub(crate) fn inspected(&self, deadline: Instant) -> Option<VcpuState> {
        self.answer_by(deadline, |answers| answers.state.take())
    }

    /// Whether [`Command::Park`] was obeyed; waits for it until `deadline`.
    pub(crate) fn parked(&self, deadline: Instant) -> bool {
        self.answer_by(deadline, |answers| answers.parked.then_some(())).is_some()
    }

    fn answer_by<T>(
        &self,
        deadline: Instant,
        mut answer: impl FnMut(&mut Answers) -> Option<T>,
    ) -> Option<T> {
        let mut answers = lock(&self.answers);
        loop {
            if let Some(answer) = answer(&mut answers) {
                return Some(answer);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.answered.wait_timeout(answers, left);
            answers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// KVM exits so far.
    pub(crate) fn exits(&self) -> u64 {
        self.exits.load(Ordering::Relaxed)
    }

    // What follows is for the vCPU's own thread.

    /// Says which thread runs the vCPU.
    pub(crate) fn attach(&self) {
        // SAFETY: gettid has no preconditions.
        self.thread.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    }

    /// The command, after a kick was taken.
    pub(crate) fn command(&self) -> Command {
        match self.command.load(Ordering::SeqCst) {
            command if command == Command::Run as u8 => Command::Run,
            command if command == Command::Inspect as u8 => Command::Inspect,
            command if command == Command::Park as u8 => Command::Park,
            command if command == Command::InspectParked as u8 => Command::InspectParked,
            command if command == Command::Nmi as u8 => Command::Nmi,
            _ => Command::Stop,
        }
    }

    /// Takes a kick.
    pub(crate) fn kicked(&self) {
        self.page.set_immediate_exit(0);
    }

    /// Answers `order`, which was to inspect.
    pub(crate) fn answer(&self, order: Command, state: Option<VcpuState>) {
        self.obeyed(order);
        lock(&self.answers).state = state;
        self.answered.notify_all();
    }

    /// Puts what is to be done behind `order` in its place. A stop that came meanwhile stays.
    pub(crate) fn obeyed(&self, order: Command) {
        let next = if order == Command::InspectParked { Command::Park } else { Command::Run };
        let _ = self.command.compare_exchange(
            order as u8,
            next as u8,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    }

    /// Obeys [`Command::Park`]: waits for the next command. There will be one, [`Command::Stop`] at
    /// the latest, when the supervisor's thread ends in whatever way.
    pub(crate) fn park(&self) {
        self.wait_while(Command::Park, |answers| {
            // Whoever orders it once more wants to hear of it once more.
            answers.parked = true;
            self.answered.notify_all();
        });
        lock(&self.answers).parked = false;
    }

    /// Waits for a command other than to run: the guest can't be entered any more.
    pub(crate) fn idle(&self) {
        lock(&self.answers).over = true;
        self.wait_while(Command::Run, |_| {});
    }

    fn wait_while(&self, command: Command, mut each_time: impl FnMut(&mut Answers)) {
        let mut answers = lock(&self.answers);
        while self.command() == command {
            each_time(&mut answers);
            answers = self.ordered.wait(answers).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the vCPU has come to an end of its own.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.answers).over
    }

    /// Counts an exit. There is one writer, so no read-modify-write is needed.
    pub(crate) fn count_exit(&self) {
        self.exits.store(self.exits().wrapping_add(1), Ordering::Relaxed);
    }

    /// Size in bytes of one element of the port access that KVM_RUN just returned with.
    pub(crate) fn port_access_size(&self) -> usize {
        self.page.port_access_size()
    }
}

/// A mapping of a vCPU's `struct kvm_run` besides the one that `VcpuFd` has.
#[derive(Debug)]
struct RunPage {
    run: NonNull<kvm_run>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only accessed through atomic
// or volatile operations on fields that KVM lets userspace access at that time.
unsafe impl Send for RunPage {}
// SAFETY: as above.
unsafe impl Sync for RunPage {}

impl RunPage {
    fn map(vcpu: &VcpuFd) -> io::Result<RunPage> {
        // SAFETY: a new shared mapping at an address that the kernel picks; the result is checked.
        // The mapping holds its own reference to the vCPU.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<kvm_run>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let run = NonNull::new(address.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(RunPage { run })
    }

    fn set_immediate_exit(&self, value: u8) {
        // SAFETY: `run` is mapped as long as `self` lives, and the field is a byte that KVM only
        // reads, so any thread may store to it atomically.
        let field = unsafe { AtomicU8::from_ptr(&raw mut (*self.run.as_ptr()).immediate_exit) };
        field.store(value, Ordering::SeqCst);
    }

    fn port_access_size(&self) -> usize {
        // SAFETY: `run` is mapped as long as `self` lives. `io` is plain data, so whatever the union
        // holds is a value of it; the caller's thread owns the page outside of KVM_RUN.
        let io = unsafe { (&raw const (*self.run.as_ptr()).__bindgen_anon_1.io).read_volatile() };
        usize::from(io.size).max(1)
    }
}

impl Drop for RunPage {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and nobody has a pointer into it any more.
        unsafe { libc::munmap(self.run.as_ptr().cast(), size_of::<kvm_run>()) };
    }
}

/// Handles the signal that kicks. It only has to interrupt KVM_RUN; unhandled it would end the
/// process.
pub(crate) fn install_handler() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| register_signal_handler(SIGRTMIN(), nothing).map_err(|error| error.errno()))
        .map_err(io::Error::from_raw_os_error)
}
