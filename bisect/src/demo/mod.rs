//! What the demonstration and the whole-path tests are made from: a kernel source in git, a small
//! configuration, and a bug to plant.

mod bug;
mod source;

pub use bug::{KVM_C, with_old_kvm_wait};
pub use source::{Change, SourceError, commit, import, read, set_branch};

use crate::kernel::{Base, BuildConfig, BuildError, Fragment};

/// Kconfig options over tinyconfig.
pub const KERNEL_CONFIG: &str = include_str!("kernel.config");

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
