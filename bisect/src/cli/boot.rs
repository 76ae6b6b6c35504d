//! `vmbisect boot`.

mod terminal;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::json;
use vmbisect::symbols::KernelOffset;
use vmbisect::temp::TempRoom;
use vmbisect::trial::launcher::TEMPORARY;
use vmbisect::trial::{
    Job, KeptConsole, LaunchError, Outcome, Target, Terminal, TitleCount, TrialEvent, TrialReport,
    stamped,
};
use vmm::{ConsoleLine, Ending, HangKind, Milestone};

use super::args::{Explainer, LauncherArgs, MachineArgs, SymbolsArgs, WorkloadArgs, symbols_of};
use super::interrupt::{cancel_on_signals, interrupted, unless_interrupted};
use super::output::printable;
use super::{Output, WithHint};

pub(super) use terminal::restore as restore_terminal;

/// Boots a kernel once, with the workload if there is one, shows its console and says how it ended
/// and what crashed.
///
/// On a terminal it is the guest's: what is typed goes to the guest's serial port, Ctrl-C too.
/// Ctrl-A x leaves, Ctrl-A Ctrl-A sends a Ctrl-A. `--run sh` gives a shell. The guest then goes on
/// after a crash; elsewhere it is stopped when the report of the first one is complete, unless
/// --on-crash says otherwise.
///
/// Exit status: 0 the workload ended with status 0 and nothing crashed, 1 anything else was seen, 2
/// the kernel could not be tried, 130 interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json, the console goes to standard error, and one object is printed at the end: outcome (what \
the boot says where any crash counts), crashes, crashes_seen (how many there were: of more than a \
hundred only the first, and the first of each title, are in crashes), titles (how often each was \
seen), machine (how it stopped and what it took), \
milestones (with microseconds since the start), cpus_online, pv_spinlocks, launcher and console: its \
lines, each with at_us, the microseconds since the start when it was complete. Of a long one the first \
64 KiB and the last 256 KiB are there, and console_dropped says how many lines are not. A machine that \
hung has its vCPUs' registers and backtraces in machine, and the report of it among the crashes.

Examples:
  vmbisect boot arch/x86/boot/bzImage
  vmbisect boot bzImage --vcpus 4 --memory 256 --workload-c spin.c --arg 3
  vmbisect boot bzImage --run sh --timeout 3600
  vmbisect boot bzImage --workload repro --on-crash continue --timestamps
  vmbisect boot bzImage --run 'cat /proc/cpuinfo' --append nopvspin --timings")]
pub(crate) struct Args {
    /// A bzImage or an ELF vmlinux
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Say how long each part of the boot took and how much memory the machine took beyond the
    /// guest's own
    #[arg(long)]
    timings: bool,

    /// What a crash does: `stop` ends the guest when the crash's report is complete; `continue` lets it go
    /// on to an end of its own, past a warning at boot to the workload. All crashes are then counted,
    /// and a hundred reported, among them the first of each title. The exit status is 1 in either case
    /// [default: continue on a terminal that is the guest's, else stop]
    #[arg(long, value_name = "WHAT", value_enum)]
    on_crash: Option<OnCrash>,

    /// Show before each line of the console when it was complete, in seconds since the machine was
    /// started: the host's time, beside which the kernel's own stands. The terminal is not the guest's
    /// then
    #[arg(long)]
    timestamps: bool,

    /// Be the guest's terminal, which `boot` is by itself where standard input and output are one;
    /// `=never` never
    #[arg(long, value_name = "WHEN", value_enum, num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "auto", default_missing_value = "always", hide_default_value = true)]
    interactive: Interactive,

    #[command(flatten)]
    workload: WorkloadArgs,

    #[command(flatten)]
    machine: MachineArgs,

    #[command(flatten)]
    launcher: LauncherArgs,

    #[command(flatten)]
    symbols: SymbolsArgs,
}

/// What a crash does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnCrash {
    /// The guest is ended when the crash's report is complete
    Stop,
    /// It goes on
    Continue,
}

/// Whether to be the guest's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Interactive {
    /// Where standard input and output are a terminal, and none of --json, --quiet and --timestamps is
    /// given
    Auto,
    /// Always; standard input may be a file or a pipe
    Always,
    /// Never
    Never,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    if args.timestamps && args.interactive == Interactive::Always {
        return Err(anyhow!("--timestamps can't be had on the guest's terminal"))
            .hint("leave one of --timestamps and --interactive out");
    }
    let cancel = cancel_on_signals()?;
    let (job, _room) = prepare(&args.image, args.symbols.vmlinux(), &args.workload, &args.machine)?;
    let explainer = args.symbols.open_for(&args.image, output)?;

    let selected = unless_interrupted(args.launcher.select(output, &cancel))?;
    let Some(selected) = selected else { return Ok(interrupted()) };
    let terminal = args.interactive(output).then(|| Terminal::new(terminal::size()));
    let goes_on = match args.on_crash {
        Some(on_crash) => on_crash == OnCrash::Continue,
        None => terminal.is_some(),
    };
    let job = Job { measure_memory: args.timings, goes_on, terminal: terminal.clone(), ..job };
    // Given back when this is dropped, before anything else is printed.
    let attached = match terminal {
        Some(terminal) => Some(terminal::attach(terminal, cancel.clone(), output)?),
        None => None,
    };
    let mut offset = KernelOffset::default();
    let mut console = KeptConsole::default();
    let mut on_event = |event| {
        match &event {
            TrialEvent::Line(line) => {
                offset.push(line.text.as_bytes());
                offset.push(b"\n");
                console.push(line);
            }
            // Another machine's console begins.
            TrialEvent::Restarted { .. } => console = KeptConsole::default(),
            _ => {}
        }
        match (&attached, &event) {
            (Some(_), TrialEvent::Output { bytes }) => terminal::print(bytes, output),
            (Some(_), TrialEvent::Line(_)) => {}
            _ => show(&event, args.timestamps, output),
        }
    };
    let ran = selected.launcher.run(&job, &mut on_event, &cancel);
    drop(attached);
    let mut report = match ran {
        Err(LaunchError::Cancelled) => return Ok(interrupted()),
        Err(error) => return refused(error),
        Ok(report) => report,
    };
    if let Outcome::Infra { reason } = &report.outcome {
        return Err(anyhow::anyhow!("{reason}"))
            .hint("`vmbisect doctor` says what this machine can do");
    }
    for seen in &mut report.crashes {
        explainer.symbolize(&mut seen.crash, offset.get(), output);
    }
    if output.json {
        let mut value = serde_json::to_value(&report)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("launcher".into(), json!(selected.launcher.describe()));
            object.insert("console".into(), json!(console.lines().collect::<Vec<_>>()));
            object.insert("console_dropped".into(), json!(console.dropped()));
        }
        output.line(value.to_string());
    } else {
        summarize(&report, &explainer, output);
        if args.timings {
            timings(&report, output);
        }
    }
    let fine = report.crashes.is_empty()
        && matches!(
            report.machine.as_ref().map(|machine| &machine.ending),
            Some(Ending::Exit { status: 0 })
        );
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Args {
    fn interactive(&self, output: &Output) -> bool {
        match self.interactive {
            Interactive::Always => true,
            Interactive::Never => false,
            Interactive::Auto => {
                let here = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
                here && !output.json && !output.is_quiet() && !self.timestamps
            }
        }
    }
}

/// The job that runs the workload on the image, and the directory that its files are in.
pub(super) fn prepare(
    image: &Path,
    vmlinux: Option<&Path>,
    workload: &WorkloadArgs,
    machine: &MachineArgs,
) -> anyhow::Result<(Job, TempRoom)> {
    // Found out here, a wrong image costs nobody an outer machine.
    let kernel = vmm::Kernel::open(image);
    if let Err(source) = kernel.and_then(|kernel| kernel.requirements(machine.boot_mode())) {
        return refused(LaunchError::Kernel { path: image.to_owned(), source });
    }
    let room = TempRoom::new("boot").context("can't make a temporary directory").hint(TEMPORARY)?;
    let initramfs = room.path().join("initramfs.cpio");
    std::fs::write(&initramfs, workload.prepare()?)
        .with_context(|| format!("can't write {}", initramfs.display()))
        .hint(TEMPORARY)?;
    let job = machine.job(image.to_owned(), initramfs, Target::AnyCrash);
    Ok((job.with_symbols(symbols_of(image, vmlinux)?), room))
}

/// The error with what to do about it.
pub(super) fn refused<T>(error: LaunchError) -> anyhow::Result<T> {
    let hint = error.hint().to_owned();
    Err(error).hint(hint)
}

/// Shows the console while it comes.
fn show(event: &TrialEvent, timestamps: bool, output: &Output) {
    let text = |line: &ConsoleLine| match timestamps {
        true => printable(&stamped(line)).into_owned(),
        false => printable(&line.text).into_owned(),
    };
    match event {
        TrialEvent::Line(line) if output.json => {
            let _ = writeln!(std::io::stderr(), "{}", text(line));
        }
        TrialEvent::Line(line) => output.line(text(line)),
        TrialEvent::Restarted { reason } => output.note(format!("starting again: {reason}")),
        TrialEvent::Output { .. }
        | TrialEvent::Milestone { .. }
        | TrialEvent::Crash(_)
        | TrialEvent::Done(_) => {}
    }
}

fn summarize(report: &TrialReport, explainer: &Explainer, output: &Output) {
    output.line("");
    let beyond = report.beyond_console();
    beyond.lines().for_each(|line| output.line(printable(line)));
    if !beyond.is_empty() {
        output.line("");
    }
    if let Some(machine) = &report.machine {
        output.line(format!("ending: {}", machine.ending));
        if let Ending::Hang { kind: HangKind::Idle } = machine.ending {
            output.line("  (so does a workload look that only waits: --timeout gives it longer)");
        }
    }
    if let Some(online) = report.cpus_online {
        output.line(format!("CPUs online: {online}"));
    }
    if let Some(on) = report.pv_spinlocks {
        output.line(format!("PV spinlocks: {}", if on { "on" } else { "off" }));
    }
    if let Some(machine) = report.machine.as_ref().filter(|machine| !machine.hidden.is_empty()) {
        let hidden = machine.hidden.join(" ");
        output.line(format!("hidden from the guest, which could not use it here: {hidden}"));
    }
    for seen in &report.crashes {
        let title = printable(&seen.crash.title);
        output.line(format!("crash: {title} (at {})", seconds(seen.at_us)));
        if let Some(file) = &seen.crash.guilty_file {
            output.line(format!("  file to blame: {}", printable(file)));
        }
        let told = explainer.recipients(&seen.crash).map(|told| told.to_string());
        for line in told.unwrap_or_default().lines() {
            output.line(format!("  {}", printable(line)));
        }
    }
    if report.crashes.is_empty() {
        output.line("crash: none");
    }
    let kept = report.crashes.len();
    if usize::try_from(report.crashes_seen).is_ok_and(|seen| seen > kept) {
        output.line(format!("crashes in all: {}, of which {kept} are above", report.crashes_seen));
        for TitleCount { title, count } in &report.titles {
            output.line(format!("{count:>8} x {}", printable(title)));
        }
    }
}

fn timings(report: &TrialReport, output: &Output) {
    output.line("");
    for (milestone, at_us) in &report.milestones {
        let what = match milestone {
            Milestone::KernelEntered => "kernel entered",
            Milestone::FirstByte => "first console byte",
            Milestone::InitReached => "init reached",
            Milestone::WorkloadStarted => "workload started",
        };
        output.line(format!("{what:<20}{:>12}", seconds(*at_us)));
    }
    if let Some(machine) = &report.machine {
        output.line(format!("{:<20}{:>12}", "end", seconds(machine.wall_us)));
        output.line(format!("{:<20}{:>12}", "CPU time of vCPUs", seconds(machine.vcpu_cpu_us)));
        output.line(format!("{:<20}{:>12}", "KVM exits", machine.exits));
        output.line(format!("{:<20}{:>12}", "console bytes", machine.console_bytes));
    }
    if let Some(overhead) = &report.overhead {
        output.line(format!("{:<20}{:>8} KiB", "memory beyond guest", overhead.rss_kib));
        output.line(format!("{:<20}{:>8} KiB", "  of it anonymous", overhead.anonymous_kib));
    }
}

fn seconds(us: u64) -> String {
    format!("{}.{:06} s", us / 1_000_000, us % 1_000_000)
}
