//! What the demonstration and the whole-path tests are made from: a kernel source in git, a small
//! configuration, and a bug to plant in it.
//!
//! [`import`] makes a repository from a kernel source, once; [`history::write`] writes a history on
//! top of it, another one for every seed.

mod bug;
pub mod history;
mod import;
mod source;

pub use bug::{KVM_C, with_old_kvm_wait};
pub use import::{ImportError, Imported, Linux, import, import_cached};
pub use source::{Author, Change, SourceError, commit, commit_as, read, set_branch};

use crate::kernel::{Base, BuildConfig, BuildError, Fragment};

/// Kconfig options over tinyconfig.
pub const KERNEL_CONFIG: &str = include_str!("kernel.config");

/// The title that the planted bug is known by.
pub const CRASH: &str = "WARNING in kvm_wait";

/// The title of the unrelated warning that comes and goes.
pub const FOREIGN_CRASH: &str = "WARNING in calibrate_verify_cycles";

/// How the demonstration's kernels are built.
///
/// # Errors
/// Fails only if [`KERNEL_CONFIG`] is not Kconfig text.
pub fn build_config() -> Result<BuildConfig, BuildError> {
    let mut config = BuildConfig::new(Base::Tinyconfig);
    config.fragments.push(Fragment::new("demo/kernel.config", KERNEL_CONFIG)?);
    Ok(config)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_configuration_can_be_read() {
        super::build_config().unwrap();
    }
}
