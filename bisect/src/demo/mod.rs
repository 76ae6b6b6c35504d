//! The demonstration: a real kernel with a real bug, planted in a history and found again.
//!
//! [`import`] makes a repository from a kernel source, once; [`history::write`] writes a history on
//! top of it, another one for every seed.

pub mod history;

/// Kconfig options over tinyconfig that the planted bug needs.
pub const FRAGMENT: &str = include_str!("demo.config");

/// The title that the planted bug is known by.
pub const CRASH: &str = "WARNING in kvm_wait";

/// The title of the unrelated warning that comes and goes.
pub const FOREIGN_CRASH: &str = "WARNING in calibrate_verify_cycles";
