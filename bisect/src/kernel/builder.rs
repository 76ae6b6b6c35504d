//! Builds revisions: checkout, configuration, make, signature, store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::configure::{self, Configured};
use super::diagnose::{Cause, Diagnosis, host_failure};
use super::log::Log;
use super::run::run;
use super::scratch::{MARK, Scratch, worktree};
use super::signature::signature_of_build;
use super::source::{Revision, Source};
use super::store::{Entry, EntryResult, Files, Store};
use super::{Base, BuildConfig, BuildError, Built, Dependencies};
use crate::cancel::Cancel;
use crate::hex;

/// Part of every key: goes up when the same input comes to give another output.
const FORMAT: &str = "vmbisect image 2";
/// Bytes that the store may take before the least recently used images go.
const STORE_LIMIT: u64 = 20 << 30;
/// Every release name is this wide, so that no address depends on it (uts names hold 64 bytes).
const RELEASE_WIDTH: usize = 20;
const RELEASE_SUFFIX: &str = "vmbisect";

/// Where images are kept if nobody says otherwise.
pub fn default_store() -> PathBuf {
    crate::cache::dir().join("images")
}

/// Where builds of a repository happen if nobody says otherwise.
pub fn default_scratch(repo: &Path) -> PathBuf {
    let repo = repo.canonicalize().unwrap_or_else(|_| repo.to_owned());
    let name = hex::encode(&Sha256::digest(repo.as_os_str().as_encoded_bytes()));
    crate::cache::dir().join("build").join(name.get(..16).unwrap_or_default())
}

/// Builds the revisions of one repository with one configuration.
///
/// Any number of builders, in any number of processes, may share a store and a scratch directory;
/// those that share a scratch directory build one after another.
#[derive(Debug)]
pub struct Builder {
    source: Source,
    config: BuildConfig,
    store: Store,
    scratch: PathBuf,
    configs: PathBuf,
    compiler: String,
}

impl Builder {
    /// A builder for the repository at `repo` that keeps images in `store` and works in `scratch`;
    /// both directories are made if they are not there.
    ///
    /// # Errors
    /// Fails if `repo` is no git repository, the compiler is missing, or a directory can't be made.
    pub fn new(
        repo: &Path,
        config: BuildConfig,
        store: &Path,
        scratch: &Path,
    ) -> Result<Builder, BuildError> {
        fs::create_dir_all(scratch).map_err(BuildError::io("create", scratch))?;
        let scratch = scratch.canonicalize().map_err(BuildError::io("open", scratch))?;
        Ok(Builder {
            source: Source::open(repo, worktree(&scratch))?,
            compiler: config.toolchain.identity()?,
            store: Store::open(store.to_owned(), STORE_LIMIT)?,
            configs: store.join("configs"),
            config,
            scratch,
        })
    }

    /// Compiler and linker, as they call themselves.
    pub fn compiler(&self) -> &str {
        &self.compiler
    }

    /// What the store has for a commit, without building anything.
    pub fn lookup(&self, commit: &str) -> Option<Built> {
        let revision = self.source.resolve(commit).ok()?;
        self.stored(&revision)
    }

    /// Builds a commit, or takes what the store has. `on_line` gets what git and make print.
    ///
    /// # Errors
    /// Fails if the result says nothing about the commit: see [`BuildError`].
    pub fn build(
        &self,
        commit: &str,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<Built, BuildError> {
        let revision = self.source.resolve(commit)?;
        if let Some(built) = self.stored(&revision) {
            return Ok(built);
        }
        let scratch = Scratch::acquire(&self.scratch, on_line, cancel)?;
        // Whoever had the lock may have built the same.
        if let Some(built) = self.stored(&revision) {
            return Ok(built);
        }
        let job = Job { builder: self, scratch: &scratch, revision: &revision, cancel };
        job.build(on_line)
    }

    /// Removes the worktree and the objects; the store stays.
    ///
    /// # Errors
    /// Fails if they can't be removed.
    pub fn remove_scratch(&self) -> Result<(), BuildError> {
        let held = Scratch::acquire(&self.scratch, &mut |_| (), &Cancel::new())?;
        self.source.remove()?;
        drop(held);
        fs::remove_dir_all(&self.scratch).map_err(BuildError::io("remove", &self.scratch))
    }

    fn stored(&self, revision: &Revision) -> Option<Built> {
        let built = self.store.get(&self.key(revision), revision)?;
        // An image without the symbols that are wanted now is not what was asked for.
        let lacks =
            self.config.keep_vmlinux && built.image().is_some_and(|it| it.vmlinux.is_none());
        (!lacks).then_some(built)
    }

    fn key(&self, revision: &Revision) -> String {
        let mut hash = Sha256::new();
        for part in [FORMAT, &revision.tree, &self.objects_key()] {
            hash.update(part);
            hash.update([0]);
        }
        hex::encode(&hash.finalize())
    }

    /// What objects of different revisions must have in common to be used for one another.
    fn objects_key(&self) -> String {
        format!("{} {}", self.config.key(), self.compiler)
    }
}

/// One revision on its way.
struct Job<'a> {
    builder: &'a Builder,
    scratch: &'a Scratch,
    revision: &'a Revision,
    cancel: &'a Cancel,
}

/// What a goal of make came to.
enum Made {
    Yes,
    No { errors: Vec<String>, guilty: Option<String> },
}

impl Job<'_> {
    fn build(&self, on_line: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
        let start = Instant::now();
        let Builder { source, .. } = self.builder;
        source
            .check_out(self.revision, on_line, self.cancel)
            .map_err(|error| self.host_or(error))?;
        let objects_key = self.builder.objects_key();
        self.scratch.begin(&objects_key)?;

        let log_path = self.scratch.log();
        let mut log = Log::create(&log_path).map_err(BuildError::io("create", &log_path))?;
        let mut lines = |line: &str| {
            log.line(line);
            on_line(line);
        };
        let release = release(source.worktree())?;
        let mut notes = Vec::new();
        let mut made = match self.configure(&release, &mut lines)? {
            Ok(configured) => {
                notes = configured.notes;
                Made::Yes
            }
            Err(failed) => failed,
        };
        if matches!(made, Made::Yes) {
            made = self.make(&["bzImage"], &release, &mut lines)?;
        }
        self.scratch.end(&objects_key)?;
        log.finish().map_err(|error| self.write_error(&log_path, error))?;

        let out = self.scratch.out();
        let vmlinux = out.join("vmlinux");
        let mut files = Files { log: log_path, ..Files::default() };
        let config = out.join(".config");
        files.config = config.is_file().then_some(config);
        let result = match made {
            Made::Yes => {
                let signature = signature_of_build(&out, source.worktree(), &release)
                    .map_err(|source| BuildError::Signature { path: vmlinux.clone(), source })?;
                files.image = Some(out.join("arch/x86/boot/bzImage"));
                files.vmlinux = self.builder.config.keep_vmlinux.then_some(vmlinux);
                let system_map = out.join("System.map");
                files.system_map = system_map.is_file().then_some(system_map);
                files.dependencies = Some(self.keep_dependencies(&out)?);
                EntryResult::Image { signature }
            }
            Made::No { errors, guilty } => EntryResult::Failed { errors, guilty },
        };
        let entry = Entry {
            tree: self.revision.tree.clone(),
            compiler: self.builder.compiler.clone(),
            notes,
            build_seconds: start.elapsed().as_secs_f64(),
            result,
        };
        let key = self.builder.key(self.revision);
        self.builder.store.put(&key, &entry, &files)?;
        self.fresh(&key)
    }

    /// Writes down what the build read.
    fn keep_dependencies(&self, out: &Path) -> Result<PathBuf, BuildError> {
        let read = Dependencies::read(out, self.builder.source.worktree());
        let path = self.scratch.dependencies();
        let kept = read.map_err(BuildError::io("read", out))?.save(&path);
        kept.map_err(|error| self.write_error(&path, error))?;
        Ok(path)
    }

    /// The entry that was just written, as a result of this build.
    fn fresh(&self, key: &str) -> Result<Built, BuildError> {
        let mut built = self.builder.store.get(key, self.revision).ok_or_else(|| {
            self.host(format!("the store lost the entry {key} that was just written"))
        })?;
        match &mut built {
            Built::Image(image) => image.cached = false,
            Built::Failed(failure) => failure.cached = false,
        }
        Ok(built)
    }

    /// Puts a complete `.config` in place. Most revisions share theirs with the one before.
    fn configure(
        &self,
        release: &str,
        lines: &mut dyn FnMut(&str),
    ) -> Result<Result<Configured, Made>, BuildError> {
        let Builder { source, config, compiler, configs, .. } = self.builder;
        let path = self.scratch.out().join(".config");
        let listing = source.list(self.revision)?;
        let kept = configs.join(format!("{}.json", configure::key(config, compiler, &listing)));
        if let Some(configured) = configure::load(&kept) {
            configure::place(&path, &configured.text).map_err(BuildError::io("write", &path))?;
            return Ok(Ok(configured));
        }

        let base = match &config.base {
            Base::File(file) => file.text.clone(),
            Base::Defconfig | Base::Tinyconfig => {
                let goals: Vec<&str> = configure::base_goal(&config.base).into_iter().collect();
                let made = self.make(&goals, release, lines)?;
                if !matches!(made, Made::Yes) {
                    return Ok(Err(made));
                }
                fs::read_to_string(&path).map_err(BuildError::io("read", &path))?
            }
        };
        fs::write(&path, configure::overlay(&base, config))
            .map_err(|error| self.write_error(&path, error))?;
        let made = self.make(&["olddefconfig"], release, lines)?;
        if !matches!(made, Made::Yes) {
            return Ok(Err(made));
        }
        let text = fs::read_to_string(&path).map_err(BuildError::io("read", &path))?;
        let notes = configure::check(&config.fragments, &text);
        let configured = Configured { text, notes };
        configure::save(&kept, &configured).map_err(|error| self.write_error(&kept, error))?;
        Ok(Ok(configured))
    }

    fn make(
        &self,
        goals: &[&str],
        release: &str,
        lines: &mut dyn FnMut(&str),
    ) -> Result<Made, BuildError> {
        let Builder { config, source, scratch, .. } = self.builder;
        let mut command = Command::new("make");
        command
            .current_dir(source.worktree())
            .arg(format!("O={}", self.scratch.out().display()))
            .arg(format!("-j{}", config.jobs))
            .args(["--no-print-directory", "ARCH=x86_64"])
            .arg(format!("KERNELRELEASE={release}"))
            // LINUX_VERSION_CODE, which the vDSO carries: a new point release changes nothing else.
            .args(["SUBLEVEL=0", "EXTRAVERSION="])
            .args(config.toolchain.make_arguments())
            .args(&config.make_args)
            .args(goals)
            .env("LC_ALL", "C")
            .env(MARK, scratch);
        for (name, value) in STAMPS {
            command.env(name, value);
        }
        // The caller's own make, compiler flags and kernel settings are not the build's.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KCFLAGS", "KBUILD_OUTPUT", "LOCALVERSION"]
        {
            command.env_remove(name);
        }
        let mut diagnosis = Diagnosis::new(source.worktree());
        let mut on_line = |line: &str| {
            diagnosis.line(line);
            lines(line);
        };
        let status = run(&mut command, &mut on_line, self.cancel).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return BuildError::MissingTool { tool: "make".into(), package: Some("make") };
            }
            self.host(format!("make can't be run: {error}"))
        })?;
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if status.success() {
            return Ok(Made::Yes);
        }
        match diagnosis.cause(status.code().is_none()) {
            Cause::Revision { errors, guilty } => Ok(Made::No { errors, guilty }),
            Cause::MissingTool { tool, package } => Err(BuildError::MissingTool { tool, package }),
            Cause::Host(reason) => Err(self.host(reason)),
        }
    }

    fn host(&self, reason: String) -> BuildError {
        BuildError::Host { commit: self.revision.commit.clone(), reason }
    }

    /// A git command that failed for want of something that the host should have is the host's.
    fn host_or(&self, error: BuildError) -> BuildError {
        match &error {
            BuildError::Git { reason, .. } => match host_failure(reason) {
                Some(why) => self.host(why.into()),
                None => error,
            },
            _ => error,
        }
    }

    fn write_error(&self, path: &Path, error: std::io::Error) -> BuildError {
        match host_failure(&error.to_string()) {
            Some(why) => self.host(why.into()),
            None => BuildError::io("write", path)(error),
        }
    }
}

/// What kbuild would otherwise take from the clock, the user and the host.
const STAMPS: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "vmbisect"),
    ("KBUILD_BUILD_HOST", "vmbisect"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// The release name: the version that the Makefile says, filled up to a fixed width.
fn release(worktree: &Path) -> Result<String, BuildError> {
    let path = worktree.join("Makefile");
    let text = fs::read_to_string(&path).map_err(BuildError::io("read", &path))?;
    Ok(format!("{:-<RELEASE_WIDTH$}{RELEASE_SUFFIX}", version(&text)))
}

/// `6.1.0-rc3` of a kernel's Makefile.
fn version(makefile: &str) -> String {
    let value = |name: &str| {
        let value = makefile.lines().take(20).find_map(|line| {
            line.strip_prefix(name)?.trim_start().strip_prefix('=').map(str::trim)
        });
        value.unwrap_or_default()
    };
    let numbers = ["VERSION", "PATCHLEVEL", "SUBLEVEL"].map(value).join(".");
    let mut version = numbers + value("EXTRAVERSION");
    version.retain(|c| c.is_ascii_alphanumeric() || ".-+_".contains(c));
    version.truncate(RELEASE_WIDTH);
    version
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_the_makefiles() {
        let text =
            "# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\nNAME = X\n";
        assert_eq!(version(text), "6.1.0-rc3");
        assert_eq!(version(""), "..");
        assert!(version(&format!("EXTRAVERSION = -{}", "x".repeat(100))).len() <= 20);
    }
}
