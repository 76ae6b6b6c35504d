//! Makes the logs in `tests/logs` again: builds kernels with one bug of each kind put in on purpose,
//! boots one for each bug, and keeps what the console printed.
//!
//! `cargo run -p vmbisect-tests --example capture -- [BUG…]`; it takes some minutes for each of the
//! kernels, once, and some seconds for each bug. What a log is expected to say stays as it is; that
//! of a new bug is for a person to write, in the lines before the log: see `logs.rs`.
//!
//! To add a bug: a function in `logs/kernel/death.c`, a line in `kinds.rs`.

mod kinds;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use clap::Parser;
use vmbisect::cancel::Cancel;
use vmbisect::crash::classify;
use vmbisect::demo::{self, Change, Linux};
use vmbisect::kernel::{Builder, Built, Fragment, Image};
use vmbisect::tools::{LINUX_SOURCE, Purpose};
use vmbisect::trial::launcher::{Choice, Launcher, TcgConfig, select};
use vmbisect::trial::{Job, Target, TrialEvent, Workload, prepare};
use vmbisect_tests::{fixture, logs, program};

use kinds::{BUGS, Bug, Config};

/// Where the bugs are put in the source. It is a place that reports can blame: not a library.
const DEATH_C: &str = "drivers/misc/death.c";
const MAKEFILE: &str = "drivers/misc/Makefile";

/// Keeps a slow boot from being a bug of its own, and so a late timer, of which the kernel tells with
/// a raw lock held; what a bug appends comes after it.
const PATIENT: &str = "initramfs_async=0 rcupdate.rcu_cpu_stall_timeout=60 highres=off";

/// Seconds for the kernel to say that it hangs, before the VMM does.
const KERNEL_FINDS_IT: u64 = 120;

/// Makes the logs of real kernels again.
#[derive(Debug, Parser)]
struct Args {
    /// Only these bugs
    bugs: Vec<String>,

    /// Only those that have no log yet
    #[arg(long)]
    missing: bool,

    /// Only build the kernels
    #[arg(long)]
    build: bool,

    /// Trials at a time, instead of as many as fit
    #[arg(long, short)]
    jobs: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(unknown) = args.bugs.iter().find(|name| BUGS.iter().all(|bug| bug.name != **name)) {
        bail!("no bug is called {unknown:?}: see tests/examples/capture/kinds.rs");
    }
    let wanted = |bug: &&Bug| {
        (args.bugs.is_empty() || args.bugs.iter().any(|name| name == bug.name))
            && !(args.missing && logs::path(bug.name).exists())
    };
    let bugs: Vec<&Bug> = BUGS.iter().filter(wanted).collect();
    fixture::ensure(&[
        Purpose::History,
        Purpose::Kernel,
        Purpose::LinuxSource,
        Purpose::OuterMachine,
        Purpose::Workload,
    ])?;
    let (repo, commit) = source()?;
    let mut configs: Vec<Config> = bugs.iter().map(|bug| bug.config).collect();
    configs.sort_unstable();
    configs.dedup();
    let mut images = Vec::new();
    for config in configs {
        images.push((config, build(&repo, &commit, config)?));
    }
    if args.build {
        return Ok(());
    }

    let config = TcgConfig { program: Some(program::path()), ..TcgConfig::default() };
    let selected = select(&Choice::Auto, config, vmm::host::inspect)?;
    let launcher = selected.launcher.as_ref();
    println!("launcher: {} ({})", launcher.describe(), selected.why);
    let jobs =
        args.jobs.unwrap_or_else(|| launcher.capacity(256, NonZeroUsize::MIN, &Cancel::new()));
    let queue = Mutex::new(bugs.into_iter());
    let next = || queue.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(bug) = next() {
                    let image = images.iter().find(|(config, _)| *config == bug.config);
                    let Some((_, image)) = image else { continue };
                    if let Err(error) = capture(bug, image, launcher) {
                        println!("{}: {error:#}", bug.name);
                    }
                }
            });
        }
    });
    Ok(())
}

/// The source with the bugs in it.
fn source() -> anyhow::Result<(PathBuf, String)> {
    let cancel = Cancel::new();
    let linux = Linux::at(Path::new(LINUX_SOURCE))?;
    let imported = demo::import_cached(&linux, &fixture::directory()?, &mut print, &cancel)?;
    let makefile = demo::read(&imported.repo, &imported.base, MAKEFILE)?;
    let changes = [
        Change { path: DEATH_C.into(), text: Some(file("death.c")?) },
        Change { path: MAKEFILE.into(), text: Some(format!("{makefile}\nobj-y += death.o\n")) },
    ];
    let message = "misc: Die in every way there is\n";
    let commit = demo::commit(&imported.repo, &[&imported.base], &changes, message)?;
    Ok((imported.repo, commit))
}

/// A file that a kernel is made with.
fn file(name: &str) -> anyhow::Result<String> {
    let path = logs::directory().join("kernel").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Where a kernel is built.
fn scratch(config: Config) -> anyhow::Result<PathBuf> {
    Ok(fixture::directory()?.join(format!("build-{}", config.name())))
}

fn build(repo: &Path, commit: &str, config: Config) -> anyhow::Result<Image> {
    let directory = fixture::directory()?;
    let name = format!("{}.config", config.name());
    let mut build = demo::build_config()?;
    build.fragments.push(Fragment::new(name.clone(), file(&name)?)?);
    build.keep_vmlinux = true;
    let scratch = scratch(config)?;
    let builder = Builder::new(repo, build, &directory.join("images"), &scratch)?;
    match builder.build(commit, &mut print, &Cancel::new())? {
        Built::Image(image) => {
            println!("{}: {:.0} s", config.name(), image.build_seconds);
            image.notes.iter().for_each(|note| println!("{}: {note}", config.name()));
            Ok(image)
        }
        Built::Failed(failure) => bail!("it does not build: {}", failure.errors.join("\n")),
    }
}

/// Boots a kernel to its death and writes the log.
fn capture(bug: &Bug, image: &Image, launcher: &dyn Launcher) -> anyhow::Result<()> {
    let room = tempfile::tempdir()?;
    let initramfs = room.path().join("initramfs");
    fs::write(&initramfs, prepare(&Workload::Shell(bug.command()), None)?)?;
    let job = Job {
        append: format!("{PATIENT} {}", bug.append),
        vcpus: bug.vcpus,
        memory_mib: bug.memory,
        timeout_s: 900,
        hang_after_s: Some(KERNEL_FINDS_IT),
        ..Job::new(image.path.clone(), initramfs, Target::AnyCrash)
    };
    let mut lines = Vec::new();
    let mut on_event = |event| match event {
        TrialEvent::Line(line) => lines.push(line.text),
        TrialEvent::Restarted { .. } => lines.clear(),
        _ => {}
    };
    let report = launcher.run(&job, &mut on_event, &Cancel::new())?;
    let version = lines.iter().find_map(|line| line.split_once("Linux version ")).map(|(_, it)| it);
    let release = version.and_then(|it| it.split(' ').next()).unwrap_or("6.1").to_owned();
    let note = format!(
        "Linux {release}, {}.config, {} vCPUs, {} MiB, `{}`: {}",
        bug.config.name(),
        bug.vcpus,
        bug.memory,
        [bug.append, &bug.command()].join(" ").trim(),
        report.machine.map_or("not started".into(), |machine| machine.ending.to_string()),
    );
    // What the kernel printed before it started PID 1 is the same each time.
    let booted = lines.iter().position(|line| line.contains(" as init process"));
    let log: String =
        lines.iter().skip(booted.unwrap_or(0)).flat_map(|line| [line, "\n"]).collect();
    // Where the source lay, which some checks print, is this machine's business.
    let source = scratch(bug.config)?.canonicalize()?.join("tree");
    let log = log.replace(&format!("{}/", source.display()), "");
    let vmlinux = image.vmlinux.as_deref().context("the image has no vmlinux")?;
    let symbolized = logs::symbolized(&log, vmlinux)?;
    let path = logs::write(bug.name, &note, &log, &symbolized)?;
    let titles: Vec<String> = classify(log.as_bytes()).into_iter().map(|it| it.title).collect();
    println!("{}: {} bytes: {}", path.display(), log.len(), titles.join("; "));
    Ok(())
}

fn print(line: &str) {
    println!("{line}");
}
