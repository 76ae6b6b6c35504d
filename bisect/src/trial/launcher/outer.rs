//! PID 1 of the outer machine: makes /dev/kvm, does its work, switches the machine off.

use std::error::Error;
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

use super::tcg::{MODULES, PARAMETERS};
use super::worker::serve;
use crate::trial::with_causes;

/// How long a device may take to appear once its driver is loaded.
const DEVICE_PATIENCE: Duration = Duration::from_secs(60);

/// What the port is called in errors.
const PORT: &str = "the virtio port";

/// Why the outer machine can't serve.
#[derive(Debug, thiserror::Error)]
pub enum OuterError {
    /// Only PID 1 of a machine made for it may do this.
    #[error("this is not PID 1 of an outer machine")]
    NotInit,
    /// A file system can't be mounted.
    #[error("can't mount {0}")]
    Mount(&'static str, #[source] io::Error),
    /// A module can't be loaded.
    #[error("can't load {path}")]
    Module {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A device did not appear or can't be opened.
    #[error("can't use {0}")]
    Device(&'static str, #[source] io::Error),
}

/// What PID 1 of the outer machine does to run trials. The machine is off when it is done; what went
/// wrong is on its console.
///
/// # Errors
/// Returns only if this is not PID 1.
pub fn outer_main() -> Result<(), OuterError> {
    outer_init(|port| {
        let output = port.try_clone().map_err(|error| OuterError::Device(PORT, error))?;
        Ok(serve(port, output, Path::new("/tmp"))?)
    })
}

/// Makes an outer machine of what PID 1 finds: mounts, /dev/kvm, and the virtio port, which is handed
/// to `work` once the host has opened it. The machine is off when `work` is done; what went wrong is
/// on its console.
///
/// # Errors
/// Returns only if this is not PID 1.
pub fn outer_init(work: impl FnOnce(File) -> Result<(), Box<dyn Error>>) -> Result<(), OuterError> {
    if std::process::id() != 1 {
        return Err(OuterError::NotInit);
    }
    if let Err(error) = set_up().map_err(Into::into).and_then(work) {
        eprintln!("vmbisect: {}", with_causes(&*error));
    }
    // With QEMU's -no-reboot this ends it.
    reboot(RebootCommand::Restart).map_err(|error| OuterError::Device("reboot", error.into()))
}

fn set_up() -> Result<File, OuterError> {
    let nothing: Option<&CStr> = None;
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, at, kind, MountFlags::empty(), nothing)
            .map_err(|error| OuterError::Mount(at, error.into()))?;
    }
    favour_dynamic_cgroups();
    let devices = Devices::watch()?;
    for path in sorted(Path::new(MODULES))? {
        if path.extension().is_some_and(|extension| extension == "ko") {
            load(&path)?;
        }
    }
    devices.wait_for("/dev/kvm", |name| name == "kvm")?;
    let port = devices.wait_for(PORT, |name| name.starts_with("vport"))?;
    let port = open_port(&port)?;
    wait_for_host(&port)?;
    Ok(port)
}

/// Has KVM make machines without waiting: for each it moves a thread of its own into our cgroup, and
/// cgroups wait for an RCU grace period before that unless they are told that it will happen often
/// (`favordynmods`, Linux 6.0 and newer). Without it machines are as good, but some milliseconds later.
fn favour_dynamic_cgroups() {
    let options = c"favordynmods";
    let mounted = mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), options);
    // Where there are no cgroups nobody waits for them.
    if let Err(error) = mounted
        && !matches!(error, Errno::NODEV | Errno::NOENT)
    {
        eprintln!("vmbisect: machines will start slowly: cgroup2 with `favordynmods`: {error}");
    }
}

/// Opens the port. The driver makes its node before it knows the port by its number, and says
/// ENXIO in between; nothing tells when that is over.
fn open_port(path: &Path) -> Result<File, OuterError> {
    let deadline = Instant::now() + DEVICE_PATIENCE;
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(port) => return Ok(port),
            Err(error)
                if error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(OuterError::Device(PORT, error)),
        }
    }
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>, OuterError> {
    let failed = |source| OuterError::Module { path: directory.to_owned(), source };
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn load(path: &Path) -> Result<(), OuterError> {
    let failed = |source| OuterError::Module { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let parameters = std::fs::read(path.with_extension(PARAMETERS)).unwrap_or_default();
    let parameters = CString::new(parameters).map_err(|error| failed(error.into()))?;
    match finit_module(&file, &parameters, 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Waits until the host's end of the port is open: before, reading gives an end of file.
///
/// poll(2) would not wait, since a port without a host is hung up, which is always an event; to
/// an edge-triggered epoll it is one once, and the next comes when something changes.
fn wait_for_host(port: &File) -> Result<(), OuterError> {
    let failed = |error: io::Error| OuterError::Device(PORT, error);
    let deadline = Instant::now() + DEVICE_PATIENCE;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    let data = epoll::EventData::new_u64(0);
    epoll::add(&epoll, port, data, wanted).map_err(|e| failed(e.into()))?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|e| failed(io::Error::other(e)))?;
        let mut events = [MaybeUninit::uninit(); 1];
        match epoll::wait(&epoll, &mut events, Some(&timeout)) {
            Ok((events, _)) => match events.first() {
                // Copied out of the packed structure.
                Some(event) if !{ event.flags }.contains(EventFlags::HUP) => return Ok(()),
                Some(_) => {}
                None => return Err(failed(io::ErrorKind::TimedOut.into())),
            },
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Watches /dev for nodes that appear.
struct Devices(rustix::fd::OwnedFd);

impl Devices {
    fn watch() -> Result<Devices, OuterError> {
        let failed = |error: Errno| OuterError::Device("inotify", error.into());
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).map_err(failed)?;
        inotify::add_watch(&watch, "/dev", inotify::WatchFlags::CREATE).map_err(failed)?;
        Ok(Devices(watch))
    }

    /// Waits until a node is there whose name will do.
    fn wait_for(
        &self,
        what: &'static str,
        will_do: impl Fn(&str) -> bool,
    ) -> Result<PathBuf, OuterError> {
        let failed = |error: io::Error| OuterError::Device(what, error);
        let deadline = Instant::now() + DEVICE_PATIENCE;
        loop {
            for entry in std::fs::read_dir("/dev").map_err(failed)?.flatten() {
                if entry.file_name().to_str().is_some_and(&will_do) {
                    return Ok(entry.path());
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|e| failed(io::Error::other(e)))?;
            let mut source = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut source, Some(&timeout)) {
                Ok(0) => return Err(failed(io::ErrorKind::TimedOut.into())),
                Ok(_) | Err(Errno::INTR) => self.drain(),
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    /// Takes the events that have come: the next look at /dev sees what they tell of.
    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        while events.next().is_ok() {}
    }
}
