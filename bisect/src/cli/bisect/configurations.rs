//! The configurations of a bisection: baselines, and the one asked for.

use std::collections::HashSet;
use std::path::Path;

use anyhow::anyhow;
use vmbisect::kernel::{Base, BuildConfig, BuildError, Builder, Fragment};

use crate::cli::args::KernelArgs;
use crate::cli::{WithHint, told};

/// The configurations of a bisection.
pub(super) struct Configurations {
    /// In the order they are tried.
    baselines: Vec<BuildConfig>,
    asked: BuildConfig,
}

/// A builder for each of them.
pub(super) struct Builders {
    pub(super) baselines: Vec<Builder>,
    pub(super) asked: Builder,
}

impl Configurations {
    /// Those of the command line; reads the files that are named, each once.
    pub(super) fn read(
        kernel: &KernelArgs,
        baselines: &[String],
    ) -> anyhow::Result<Configurations> {
        let asked = kernel.build_config()?;
        let mut keys = HashSet::from([asked.key()]);
        let mut baseline = |name: &String| {
            let base = match name.as_str() {
                "tinyconfig" => Base::Tinyconfig,
                "defconfig" => Base::Defconfig,
                path => Base::File(told(Fragment::read(Path::new(path)), hint)?),
            };
            let config = BuildConfig { base, ..asked.clone() };
            match keys.insert(config.key()) {
                true => Ok(config),
                false => {
                    Err(anyhow!("the baseline {name} is named twice, or is what is asked for"))
                        .hint("name each configuration once, the smallest first")
                }
            }
        };
        let baselines = baselines.iter().map(&mut baseline).collect::<anyhow::Result<_>>()?;
        Ok(Configurations { baselines, asked })
    }

    /// Their hashes.
    pub(super) fn key(&self) -> String {
        let all = self.baselines.iter().chain([&self.asked]);
        all.map(BuildConfig::key).collect::<Vec<_>>().join(" ")
    }

    /// Makes the builders.
    pub(super) fn builders(self, kernel: &KernelArgs) -> anyhow::Result<Builders> {
        let builder = |config| kernel.builder_with(config);
        let baselines = self.baselines.into_iter().map(builder).collect::<anyhow::Result<_>>()?;
        Ok(Builders { baselines, asked: builder(self.asked)? })
    }
}

/// What to do about a baseline that can't be read.
fn hint(error: &BuildError) -> String {
    match error {
        BuildError::Config { .. } => {
            "--baseline takes a complete .config, or one of the words tinyconfig and defconfig"
                .into()
        }
        error => error.hint(),
    }
}
