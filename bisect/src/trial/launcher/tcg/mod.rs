//! Trials in an outer Linux under QEMU's emulator, which has a working KVM whatever the host has.
//!
//! QEMU emulates a processor with SVM; Debian's kernel and its kvm-amd module run on it, booted
//! straight from the unpacked package with an initramfs that holds this very program as PID 1; and
//! that program serves the worker protocol on a virtio-serial port ([`super::outer`]). Nothing is
//! installed on the host and nothing needs privileges.
//!
//! Each outer machine has one CPU and runs one trial at a time, and there are as many of them as the
//! host has CPUs. One outer machine with several CPUs looks like the same, but is not: QEMU's emulated
//! SVM on several emulated CPUs now and then hangs the outer Linux or corrupts its memory, and two
//! guests in it starve each other's timers into RCU stalls that no kernel is to blame for.
//!
//! QEMU (7.2) may deliver an interrupt twice that its guest's KVM injects once: `helper_vmrun` leaves
//! the vector in `exception_index`, and if the CPU loop is left before anything resets it, as for an
//! I/O thread or at the end of an instruction budget, it is taken for an exception that is still to be
//! delivered, whether interrupts are on or not. So a guest that hangs once in a timer interrupt, waiting
//! for a lock that the interrupt below it holds, is no proof of a bug in its kernel. It is rare here, and
//! common on the instruction clock of the benchmark, once in some ten boots with four vCPUs.
//!
//! QEMU's emulation of nested paging fails with guests in PAE mode: a 32-bit kernel meets page faults
//! that it has no part in. Machines for such kernels are others, whose KVM shadows page tables.
//!
//! The outer machine ends when its port is closed, which is when QEMU loses its standard input;
//! QEMU itself is tethered to this process, and killed with its process group.

mod image;
mod kernel;
mod machine;
mod modules;
mod program;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guest_init::cpio::CpioError;
use thiserror::Error;
use vmm::Kernel;

use super::connection::{SILENCE, Start};
use super::remote::{Place, Remote};
use super::tether::tethered;
use super::{LaunchError, Launcher};
use crate::cancel::Cancel;
use crate::temp::TempRoom;
use crate::tools;
use crate::trial::files::FileCache;
use crate::trial::{Job, TrialEvent, TrialReport};

pub use image::OuterImage;
pub(super) use image::{MODULES, PARAMETERS};
pub use kernel::{OuterKernel, OuterKernelError};
pub use machine::{Clock, OuterMachine};
pub use modules::ModuleError;
pub use program::ProgramError;

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";

/// How long the outer machine may take to boot: some seconds on an idle host.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);

/// What to do when the outer machine does not come up, or dies.
const HINT: &str = "see that the host has memory to spare and a recent QEMU (`vmbisect doctor`), or \
    give another outer Linux with --outer-kernel and --outer-modules";

/// What the outer Linux itself needs, in MiB.
const OUTER_OWN_MIB: u64 = 384;

/// What the outer machine is made of.
#[derive(Clone, Debug)]
pub struct TcgConfig {
    /// The emulator: a name on the PATH, or a path.
    pub qemu: PathBuf,
    /// A `vmbisect` program for this machine, with its `worker` subcommand. None is the one that
    /// runs.
    pub program: Option<PathBuf>,
    /// The outer kernel; none is Debian's or Ubuntu's own, fetched once.
    pub kernel: Option<OuterKernel>,
    /// Where the fetched kernel is kept.
    pub cache: PathBuf,
    /// Outer machines, from 1, each with one CPU.
    pub machines: usize,
    /// The memory of each in MiB.
    pub memory_mib: u64,
}

impl Default for TcgConfig {
    /// As many machines as this process may use CPUs, up to 8, which share half of the memory that
    /// is free; each gets from 1 to 4 GiB. The host gives them only what guests really touch.
    fn default() -> TcgConfig {
        let host = super::InProcess::new();
        let machines = host.cpus().clamp(1, 8);
        let share = host.memory_mib() / 2 / machines as u64;
        TcgConfig {
            qemu: QEMU.into(),
            program: None,
            kernel: None,
            cache: crate::cache::dir(),
            machines,
            memory_mib: share.clamp(1024, 4096),
        }
    }
}

/// Why there is no outer machine.
#[derive(Debug, Error)]
pub enum TcgError {
    /// The emulator is not there.
    #[error("{0} is not installed")]
    NoQemu(PathBuf),
    /// There is no kernel for it.
    #[error(transparent)]
    Kernel(#[from] OuterKernelError),
    /// The kernel lacks a module.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// This program can't be put into it.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The initramfs can't be made.
    #[error("can't make the outer machine's initramfs")]
    Initramfs(#[from] CpioError),
    /// A file that is to be in it can't be read.
    #[error("can't read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be made.
    #[error("can't write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The trial's guest is larger than the outer machine.
    #[error("a guest of {guest_mib} MiB does not fit the outer machine's {outer_mib} MiB")]
    GuestTooLarge {
        /// What the job asks for.
        guest_mib: u64,
        /// What there is.
        outer_mib: u64,
    },
}

/// Runs trials in outer machines, each booted for its first trial and shared by those that follow.
pub struct Tcg {
    /// For 64-bit kernels.
    nested: Pool,
    /// For 32-bit kernels.
    shadowed: Pool,
    /// Whether a kernel is a 32-bit one.
    is_32_bit: FileCache<bool>,
    memory_mib: u64,
}

/// Outer machines of one kind.
struct Pool {
    outers: Vec<Remote<Outer>>,
    /// How many trials each of them runs now.
    loads: Mutex<Vec<usize>>,
}

/// How the outer machine's KVM translates a guest's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paging {
    /// By nested page tables of the CPU's.
    Nested,
    /// By page tables that it makes itself.
    Shadow,
}

#[derive(Clone)]
struct Outer {
    config: TcgConfig,
    qemu: PathBuf,
    paging: Paging,
}

impl Tcg {
    /// A launcher that has not booted anything yet.
    ///
    /// # Errors
    /// Fails if there is no emulator.
    pub fn new(config: TcgConfig) -> Result<Tcg, TcgError> {
        let path = &config.qemu;
        let qemu = match path.components().count() {
            1 => tools::on_path(&path.to_string_lossy()),
            _ => path.is_file().then(|| path.clone()),
        };
        let qemu = qemu.ok_or_else(|| TcgError::NoQemu(path.clone()))?;
        let memory_mib = config.memory_mib;
        let pool = |paging| Pool::new(Outer { config: config.clone(), qemu: qemu.clone(), paging });
        Ok(Tcg {
            nested: pool(Paging::Nested),
            shadowed: pool(Paging::Shadow),
            is_32_bit: FileCache::default(),
            memory_mib,
        })
    }

    /// The machines that run a kernel. What is wrong with an image is said where it is booted.
    fn pool(&self, kernel: &Path) -> Result<&Pool, LaunchError> {
        let unreadable = |source| LaunchError::File { path: kernel.to_owned(), source };
        let is_32_bit = self.is_32_bit.get(kernel, unreadable, |path| {
            let kernel = Kernel::open(path).and_then(|kernel| kernel.is_32_bit());
            Ok(Arc::new(kernel.unwrap_or(false)))
        })?;
        Ok(if *is_32_bit { &self.shadowed } else { &self.nested })
    }
}

impl Pool {
    fn new(outer: Outer) -> Pool {
        let machines = outer.config.machines.max(1);
        Pool {
            outers: (0..machines).map(|_| Remote::new(outer.clone())).collect(),
            loads: Mutex::new(vec![0; machines]),
        }
    }

    /// The outer machine with the fewest trials, which has one more until the guard is dropped.
    fn least_loaded(&self) -> Option<(&Remote<Outer>, Loaded<'_>)> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, load) = loads.iter_mut().enumerate().min_by_key(|(_, load)| **load)?;
        *load += 1;
        Some((self.outers.get(index)?, Loaded { loads: &self.loads, index }))
    }
}

/// A trial that an outer machine runs.
struct Loaded<'a> {
    loads: &'a Mutex<Vec<usize>>,
    index: usize,
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get_mut(self.index) {
            *load = load.saturating_sub(1);
        }
    }
}

impl Launcher for Tcg {
    fn describe(&self) -> String {
        let outers = &self.nested.outers;
        let each = outers.first().map(Launcher::describe).unwrap_or_default();
        match outers.len() {
            1 => each,
            machines => format!("{each}, {machines} outer machines"),
        }
    }

    fn capacity(&self, memory_mib: u64, per_cpu: NonZeroUsize, cancel: &Cancel) -> usize {
        let each = |outer: &Remote<Outer>| outer.capacity(memory_mib, per_cpu, cancel);
        self.nested.outers.iter().map(each).sum()
    }

    fn prepare(&self, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<(), LaunchError> {
        // One kernel serves them all.
        self.nested.outers.first().map_or(Ok(()), |outer| outer.prepare(on_line, cancel))
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        let outer_mib = self.memory_mib;
        if job.memory_mib > outer_mib.saturating_sub(OUTER_OWN_MIB) {
            let guest_mib = job.memory_mib;
            return Err(TcgError::GuestTooLarge { guest_mib, outer_mib }.into());
        }
        let nothing = || LaunchError::Remote {
            launcher: "tcg".into(),
            reason: "there is no outer machine".into(),
            hint: HINT,
        };
        let (outer, _loaded) = self.pool(&job.kernel)?.least_loaded().ok_or_else(nothing)?;
        outer.run(job, on_event, cancel)
    }
}

impl Place for Outer {
    fn name(&self) -> String {
        "tcg".into()
    }

    fn hint(&self) -> &'static str {
        HINT
    }

    fn size(&self) -> Option<(usize, u64)> {
        Some((1, self.config.memory_mib.saturating_sub(OUTER_OWN_MIB)))
    }

    fn prepare(&self, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<(), LaunchError> {
        self.kernel(on_line, cancel)?;
        Ok(())
    }

    fn start(&self, cancel: &Cancel) -> Result<Start, LaunchError> {
        let kernel = self.kernel(&mut |_| {}, cancel)?;
        Ok(self.machine(&kernel)?)
    }
}

impl Outer {
    /// The kernel of the outer Linux, fetched if it is not there.
    fn kernel(
        &self,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<OuterKernel, LaunchError> {
        if let Some(kernel) = &self.config.kernel {
            return Ok(kernel.clone());
        }
        OuterKernel::fetch(&self.config.cache, on_line, cancel).map_err(|error| match error {
            OuterKernelError::Cancelled => LaunchError::Cancelled,
            error => TcgError::Kernel(error).into(),
        })
    }

    /// What boots the machine.
    fn machine(&self, kernel: &OuterKernel) -> Result<Start, TcgError> {
        // Not /proc/self: the dynamic linker that is asked about it is a process of its own.
        let running = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        let program = self.config.program.as_ref().unwrap_or(&running);
        let mut image = OuterImage::new(kernel, program)?;
        if self.paging == Paging::Shadow {
            image.module_parameters("kvm_amd", "npt=0");
        }
        let archive = image.build()?;

        let directory = TempRoom::new("outer");
        let failed = |path: &Path, source| TcgError::Io { path: path.to_owned(), source };
        let directory = directory.map_err(|error| failed(&std::env::temp_dir(), error))?;
        let initrd = directory.path().join("initramfs");
        std::fs::write(&initrd, archive).map_err(|error| failed(&initrd, error))?;
        let console = directory.path().join("console.log");
        let errors = directory.path().join("qemu.log");
        let stderr = std::fs::File::create(&errors).map_err(|error| failed(&errors, error))?;

        let machine = OuterMachine {
            qemu: &self.qemu,
            kernel: &kernel.image,
            initrd: &initrd,
            console: &console,
            clock: Clock::Host,
            memory_mib: self.config.memory_mib,
            arguments: "worker outer",
        };
        let mut command = tethered(program, &machine.command());
        command.stderr(Stdio::from(stderr));
        Ok(Start {
            command,
            patience: BOOT_PATIENCE,
            silence: SILENCE,
            logs: vec![console, errors],
            keep: Some(directory),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Tcg, TcgConfig, TcgError};

    #[test]
    fn a_missing_emulator_is_named() {
        let config = TcgConfig { qemu: "no-such-emulator".into(), ..TcgConfig::default() };
        let Err(TcgError::NoQemu(name)) = Tcg::new(config) else { panic!("found it") };
        assert_eq!(name, Path::new("no-such-emulator"));
        for there in ["sh", "/bin/sh"] {
            assert!(Tcg::new(TcgConfig { qemu: there.into(), ..TcgConfig::default() }).is_ok());
        }
    }
}
