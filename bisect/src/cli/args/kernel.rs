//! Which source, how configured, how compiled.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use vmbisect::kernel::{
    Base, BuildConfig, BuildError, Builder, Fragment, Toolchain, default_scratch, default_store,
};

use crate::cli::WithHint;

/// Options of every subcommand that builds kernels.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Kernel")]
pub(crate) struct KernelArgs {
    /// A git repository of Linux; nothing in it is changed but the list of worktrees [default: the
    /// one of this directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,

    #[command(flatten)]
    base: BaseArgs,

    /// Options laid over the configuration, in order; may be given several times
    #[arg(long = "fragment", value_name = "FILE")]
    fragments: Vec<PathBuf>,

    /// Jobs that make runs at a time [default: one a CPU]
    #[arg(long, short = 'j', value_name = "N", value_parser = super::at_least_one::<NonZeroUsize>)]
    make_jobs: Option<NonZeroUsize>,

    /// The C compiler, such as gcc-12
    #[arg(long, value_name = "PROGRAM", default_value = "gcc", conflicts_with = "llvm")]
    cc: String,

    /// Build with clang and LLVM: 1, a suffix such as -16, or a directory that ends in /
    #[arg(long, value_name = "WHICH", num_args = 0..=1, default_missing_value = "1")]
    #[arg(require_equals = true)]
    llvm: Option<String>,

    /// One more argument for make, such as KCFLAGS=-O1; may be given several times
    #[arg(long = "make-arg", value_name = "ARG", allow_hyphen_values = true)]
    make_args: Vec<String>,

    /// Keep vmlinux beside each image, to symbolize call traces with
    #[arg(long)]
    keep_vmlinux: bool,

    /// Where built images are kept [default: images/ in the cache directory]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// Where builds happen: needs room for a checkout and its objects [default: one for each
    /// repository in the cache directory]
    #[arg(long, value_name = "DIR")]
    build_dir: Option<PathBuf>,
}

/// What the configuration starts from.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct BaseArgs {
    /// A complete .config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Each revision's own defconfig
    #[arg(long)]
    defconfig: bool,

    /// Each revision's own tinyconfig
    #[arg(long)]
    tinyconfig: bool,
}

impl KernelArgs {
    /// The repository.
    pub(crate) fn repo(&self) -> &Path {
        self.repo.as_deref().unwrap_or(Path::new("."))
    }

    /// What is to be built; reads the files that are named.
    pub(crate) fn build_config(&self) -> anyhow::Result<BuildConfig> {
        let base = match &self.base {
            BaseArgs { config: Some(path), .. } => Base::File(hinted(Fragment::read(path))?),
            BaseArgs { tinyconfig: true, .. } => Base::Tinyconfig,
            BaseArgs { .. } => Base::Defconfig,
        };
        let mut config = BuildConfig::new(base);
        for path in &self.fragments {
            config.fragments.push(hinted(Fragment::read(path))?);
        }
        if let Some(jobs) = self.make_jobs {
            config.jobs = jobs;
        }
        config.toolchain = match &self.llvm {
            Some(llvm) => Toolchain::Llvm(llvm.clone()),
            None => Toolchain::Gcc(self.cc.clone()),
        };
        config.make_args.clone_from(&self.make_args);
        config.keep_vmlinux = self.keep_vmlinux;
        Ok(config)
    }

    /// The builder of what was asked for.
    pub(crate) fn builder(&self) -> anyhow::Result<Builder> {
        self.builder_with(self.build_config()?)
    }

    /// The builder of the same with another configuration.
    pub(crate) fn builder_with(&self, config: BuildConfig) -> anyhow::Result<Builder> {
        let store = self.store.clone().unwrap_or_else(default_store);
        let scratch = self.build_dir.clone().unwrap_or_else(|| default_scratch(self.repo()));
        hinted(Builder::new(self.repo(), config, &store, &scratch))
    }
}

/// Adds the hint that a build error has.
pub(crate) fn hinted<T>(result: Result<T, BuildError>) -> anyhow::Result<T> {
    let hint = result.as_ref().err().map(BuildError::hint);
    result.hint(hint.unwrap_or_default())
}
