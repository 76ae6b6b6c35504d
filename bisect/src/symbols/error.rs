//! Why symbols can't be had.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why symbols can't be had.
#[derive(Debug, Error)]
pub enum SymbolsError {
    /// The file can't be read.
    #[error("can't read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is neither an ELF file nor a `System.map`.
    #[error("{path} is neither an ELF file nor a System.map{}", .line.map_or(String::new(), |line| format!(": see line {line}")))]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// The first line that no `System.map` has, where it is a text at all.
        line: Option<usize>,
    },
    /// The ELF file is damaged.
    #[error("{path} is a damaged ELF file")]
    Elf {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: object::Error,
    },
    /// There are no symbols in it.
    #[error("{path} has no symbols")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Its debug information is damaged.
    #[error("the debug information in {path} is damaged: {reason}")]
    DebugInfo {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl SymbolsError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SymbolsError::Io { .. } | SymbolsError::Unknown { .. } => {
                "name the vmlinux at the top of the kernel's build directory, or its System.map"
            }
            SymbolsError::Elf { .. } | SymbolsError::DebugInfo { .. } => {
                "build the kernel again; its vmlinux may have been cut short"
            }
            SymbolsError::Empty { .. } => {
                "name a vmlinux that was not stripped: the one at the top of the build directory"
            }
        }
    }
}
