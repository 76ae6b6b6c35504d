//! Trials in this process, on this machine's KVM.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use vmm::Kernel;

use super::{LaunchError, Launcher, machines_at_a_time};
use crate::cancel::Cancel;
use crate::trial::files::FileCache;
use crate::trial::hang::conclude;
use crate::trial::run::run_trial;
use crate::trial::{Job, TrialEvent, TrialReport};

/// The modules that KVM for x86 can be backed by.
const BACKENDS: [&str; 3] = ["kvm_intel", "kvm_amd", "kvm_pvm"];

/// Runs trials in this process.
#[derive(Debug, Default)]
pub struct InProcess {
    kernels: FileCache<Kernel>,
    archives: FileCache<[u8]>,
}

impl InProcess {
    /// A launcher that has read nothing yet.
    pub fn new() -> InProcess {
        InProcess::default()
    }

    /// The module behind /dev/kvm, where it is one.
    pub(super) fn kvm(&self) -> &'static str {
        let loaded = |module: &&&str| Path::new("/sys/module").join(module).is_dir();
        BACKENDS.iter().find(loaded).copied().unwrap_or("KVM")
    }

    /// CPUs that this process may use.
    pub(super) fn cpus(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Memory that the kernel says is free, in MiB.
    pub(super) fn memory_mib(&self) -> u64 {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = available.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() / 1024
    }
}

impl Launcher for InProcess {
    fn describe(&self) -> String {
        format!("in process on {}", self.kvm())
    }

    fn capacity(&self, memory_mib: u64, per_cpu: NonZeroUsize, _cancel: &Cancel) -> usize {
        machines_at_a_time(self.cpus(), per_cpu, self.memory_mib(), memory_mib)
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        let report = conclude(job, self.observe(job, on_event, cancel)?);
        on_event(TrialEvent::Done(Box::new(report.clone())));
        Ok(report)
    }
}

impl InProcess {
    /// Runs a trial without the conclusions for which it takes the kernel's symbols.
    pub(super) fn observe(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        run_trial(job, || self.files(job), on_event, cancel)
    }

    /// The job's kernel and its initramfs.
    fn files(&self, job: &Job) -> Result<(Arc<Kernel>, Arc<[u8]>), LaunchError> {
        let unreadable = |path: &Path, source| LaunchError::File { path: path.to_owned(), source };
        let kernel = self.kernels.get(
            &job.kernel,
            |error| unreadable(&job.kernel, error),
            |path| match Kernel::open(path) {
                Ok(kernel) => Ok(Arc::new(kernel)),
                Err(source) => Err(LaunchError::Kernel { path: path.to_owned(), source }),
            },
        )?;
        let initramfs = self.archives.get(
            &job.initramfs,
            |error| unreadable(&job.initramfs, error),
            |path| std::fs::read(path).map(Arc::from).map_err(|error| unreadable(path, error)),
        )?;
        Ok((kernel, initramfs))
    }
}
