//! The configurations of a bisection: baselines, and the one asked for.

use std::path::Path;

use vmbisect::kernel::{Base, BuildConfig, Builder, Fragment};

use crate::cli::args::{KernelArgs, hinted};

/// The configurations of a bisection.
pub(super) struct Configurations {
    /// In the order they are tried.
    baselines: Vec<BuildConfig>,
    asked: BuildConfig,
}

/// Who builds with them.
pub(super) struct Builders {
    pub(super) baselines: Vec<Builder>,
    pub(super) asked: Builder,
}

impl Configurations {
    /// Those of the command line; reads the files that are named.
    pub(super) fn read(
        kernel: &KernelArgs,
        baselines: &[String],
    ) -> anyhow::Result<Configurations> {
        let baseline = |name: &String| {
            kernel.build_config_from(match name.as_str() {
                "tinyconfig" => Base::Tinyconfig,
                "defconfig" => Base::Defconfig,
                path => Base::File(hinted(Fragment::read(Path::new(path)))?),
            })
        };
        let baselines = baselines.iter().map(baseline).collect::<anyhow::Result<_>>()?;
        Ok(Configurations { baselines, asked: kernel.build_config()? })
    }

    /// Hash of them all and of the toolchain.
    pub(super) fn key(&self) -> String {
        let all = self.baselines.iter().chain([&self.asked]);
        all.map(BuildConfig::key).collect::<Vec<_>>().join(" ")
    }

    /// Who builds with them.
    pub(super) fn builders(self, kernel: &KernelArgs) -> anyhow::Result<Builders> {
        let builder = |config| kernel.builder_with(config);
        let baselines = self.baselines.into_iter().map(builder).collect::<anyhow::Result<_>>()?;
        Ok(Builders { baselines, asked: builder(self.asked)? })
    }
}
