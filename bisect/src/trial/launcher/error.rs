//! Why a launcher could not run a trial, and what to do about it.

use std::path::PathBuf;

use thiserror::Error;
use vmm::kernel::{ElfError, HeaderError, PayloadError};
use vmm::{KernelError, StartError};

use super::{OuterKernelError, TcgError};

/// What to do where a temporary file can't be made.
pub const TEMPORARY: &str = "make room there, or name another directory with the variable TMPDIR";

/// Why a launcher could not run a trial.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A file of the job can't be read.
    #[error("can't read {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The image is not a kernel that can be booted.
    #[error("{path} is not a kernel that can be booted")]
    Kernel {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KernelError,
    },
    /// The machine can't be made as asked, here.
    #[error("can't start the machine")]
    Start(#[from] StartError),
    /// The worker can't run the trial as asked.
    #[error("the trial can't be run: {reason}")]
    Refused {
        /// What it says.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// A 32-bit kernel, and no PID 1 for it.
    #[error(
        "{0} is a 32-bit kernel, for which this vmbisect has no PID 1: the C compiler that it was built \
         with makes no 32-bit programs"
    )]
    NoInit32(PathBuf),
    /// The emulator's outer machine can't be prepared.
    #[error("can't prepare the outer machine")]
    Tcg(#[from] TcgError),
    /// The program behind the launcher did not start, died or spoke nonsense.
    #[error("{launcher}: {reason}")]
    Remote {
        /// Which launcher.
        launcher: String,
        /// What happened.
        reason: String,
        /// What to do about it.
        hint: &'static str,
    },
}

impl LaunchError {
    /// What the user can do about it.
    pub fn hint(&self) -> &str {
        match self {
            LaunchError::Cancelled => "run it again",
            LaunchError::File { .. } => "check the path and its permissions",
            LaunchError::Kernel { source, .. } => kernel_hint(source),
            LaunchError::Start(StartError::Kernel(source)) => kernel_hint(source),
            LaunchError::Start(StartError::NoKvm | StartError::KvmPermission) => {
                "--launcher tcg needs no KVM; `vmbisect doctor` says what this machine can do"
            }
            LaunchError::Start(
                StartError::TooLittleMemory { .. }
                | StartError::InitramfsTooLarge { .. }
                | StartError::MemorySize { .. }
                | StartError::MoreThanHost { .. },
            ) => "give the guest another amount of memory with --memory",
            LaunchError::Start(StartError::CommandLineTooLong { .. }) => "shorten --append",
            LaunchError::Start(StartError::Vcpus { .. }) => "give another number with --vcpus",
            LaunchError::Tcg(TcgError::Kernel(OuterKernelError::Io { .. })) => {
                "name a directory that you may write to, and that has some 100 MB to spare, with the \
                 variable VMBISECT_CACHE"
            }
            LaunchError::Tcg(TcgError::Kernel(
                OuterKernelError::NoPackage | OuterKernelError::Command { .. },
            )) => {
                "see that apt has package lists (`apt-get update`) and network, or give a kernel that \
                 has KVM and virtio with --outer-kernel and --outer-modules"
            }
            LaunchError::Tcg(TcgError::Kernel(_)) => {
                "give a kernel that has KVM and virtio with --outer-kernel and --outer-modules"
            }
            LaunchError::Tcg(TcgError::Io { .. }) => TEMPORARY,
            LaunchError::Tcg(TcgError::Read { .. }) => "check the path and its permissions",
            LaunchError::Tcg(TcgError::GuestTooLarge { .. }) => "give the guest less with --memory",
            LaunchError::NoInit32(_) => "build vmbisect with a C compiler that knows -m32 (CC)",
            LaunchError::Refused { hint, .. } => hint,
            LaunchError::Start(_) | LaunchError::Tcg(_) => {
                "`vmbisect doctor` says what this machine can do"
            }
            LaunchError::Remote { hint, .. } => hint,
        }
    }
}

/// What the user can do about an image.
fn kernel_hint(error: &KernelError) -> &'static str {
    match error {
        KernelError::Io { .. } => "check the path and its permissions",
        KernelError::NotAKernel(_)
        | KernelError::Header(HeaderError::ZImage | HeaderError::Version(_))
        | KernelError::Elf(ElfError::NotAKernel) => {
            "give the bzImage that `make` leaves in arch/x86/boot, or a vmlinux"
        }
        KernelError::Header(HeaderError::NoPayload)
        | KernelError::Payload(PayloadError::UnknownCompression(_)) => {
            "let its own decompressor do it: --boot native"
        }
        KernelError::NativeVmlinux => "leave out --boot native",
        KernelError::Changed { .. } => "wait until it is written, then begin again",
        KernelError::TooLittleMemory { .. } => "give the guest more with --memory",
        KernelError::Memory(_) => "`vmbisect doctor` says what this machine can do",
        KernelError::Header(_) | KernelError::Payload(_) | KernelError::Elf(_) => {
            "copy it again from where it was built, or build it again"
        }
    }
}
