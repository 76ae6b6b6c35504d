//! `vmbisect loop`.

mod keep;
mod own;
mod show;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vmbisect::boot_loop::{self, Limits, Progress, Seen, Stop, Summary};

use self::keep::Keep;
use self::show::Show;
use super::Output;
use super::args::{LauncherArgs, MachineArgs, WorkloadArgs, at_least_one, title};
use super::boot::{prepare, refused};
use super::interrupt::{cancel_on_signals, interrupted, unless_interrupted};

/// Runs that are made where nothing else says when to stop.
const RUNS: u64 = 100;

/// Boots a kernel over and over, with the workload if there is one, and counts what shows: crashes
/// by title, hangs, boots that come to nothing, workloads that fail.
///
/// Every run is a machine of its own and ends with the first thing that shows. Rates come with the
/// 95 % interval of Clopper and Pearson. The first report of each title is printed as it comes, and
/// the console of every run that shows something is kept, each line with the host's time: the first
/// 64 KiB and the last 256 KiB of it.
///
/// Exit status: 0 nothing showed, 1 something did, 2 no run told anything or the loop could not go
/// on, 130 interrupted before anything showed. What was counted is printed in every case.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json, one object is printed at the end: counted, passed, failed, rate, interval, titles (each \
with count, rate, interval, first_run and its first report), invalid and infra (runs that told \
nothing, by reason), to_init_us (min, median, p90, max), stopped (why), seconds, jobs, launcher, \
consoles (the directory with those that were kept, or null).

Races over locks want contention: more vCPUs than CPUs (--vcpus), and more machines than CPUs \
(--overcommit).

Examples:
  vmbisect loop bzImage --runs 200
  vmbisect loop bzImage --workload-c repro.c --vcpus 4 --until-crash 'WARNING in kvm_wait' --for 2h
  vmbisect loop bzImage --run 'make -C /tests run' --overcommit 3 --for 8h --keep consoles/")]
pub(crate) struct Args {
    /// A bzImage or an ELF vmlinux
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Stop after this many runs [default: 100, or no limit with --for or --until-crash]
    #[arg(long, value_name = "N", help_heading = "Loop")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,

    /// Begin no run after this time: seconds, or such as 90s, 15m, 2h30m. Runs under way then finish
    #[arg(long = "for", value_name = "TIME", value_parser = duration, help_heading = "Loop")]
    time: Option<Duration>,

    /// Stop when this title shows; `*` stands for any text; may be given several times
    #[arg(long, value_name = "TITLE", value_parser = title, help_heading = "Loop")]
    until_crash: Vec<String>,

    /// With --until-crash, stop for a crash too that is likely to be the same bug, seen another way, in
    /// the same function
    #[arg(long, requires = "until_crash", help_heading = "Loop")]
    accept_family: bool,

    /// Keep the console of every run that shows something, as a file in this directory [default: one
    /// for this loop in the directory loops of the cache, which the result names; it holds 1 GiB, and
    /// of those of earlier loops the newest stay, 1 GiB together]
    #[arg(long, value_name = "DIR", help_heading = "Loop")]
    keep: Option<PathBuf>,

    /// Keep no consoles
    #[arg(long, conflicts_with = "keep", help_heading = "Loop")]
    no_keep: bool,

    /// Machines on each CPU, as far as memory lasts; --jobs says the number itself
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN, help_heading = "Loop")]
    #[arg(conflicts_with = "jobs", value_parser = at_least_one::<NonZeroUsize>)]
    overcommit: NonZeroUsize,

    /// The kernel's symbols, by which a hang is reported: its vmlinux, best with debug information, or
    /// its System.map. Looked for beside the image if not given
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    #[command(flatten)]
    workload: WorkloadArgs,

    #[command(flatten)]
    machine: MachineArgs,

    #[command(flatten)]
    launcher: LauncherArgs,
}

/// The result, as JSON.
#[derive(serde::Serialize)]
struct Result {
    #[serde(flatten)]
    summary: Summary,
    stopped: Stop,
    seconds: f64,
    jobs: usize,
    launcher: String,
    consoles: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let cancel = cancel_on_signals()?;
    let (job, _room) =
        prepare(&args.image, args.vmlinux.as_deref(), &args.workload, &args.machine)?;
    let mut keep = args.keep(output)?;
    let selected = unless_interrupted(args.launcher.select(output, &cancel))?;
    let Some(launcher) = selected.map(|it| it.launcher) else { return Ok(interrupted()) };
    let jobs = launcher.capacity(args.machine.memory, args.overcommit, &cancel);
    let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
    let limits = args.limits();
    let started = Instant::now();
    let show = Show::new(output, jobs, limits.runs);
    let (mut kept, mut keeping) = (Ok(()), true);
    let on_progress = |progress: Progress<'_>| {
        show.progress(&progress);
        if let (Progress::Finished { finished, .. }, Some(to)) = (&progress, &mut keep)
            && keeping
            && let Seen::Title(title) = &finished.seen
        {
            kept = to.console(finished.number, title, &finished.console);
            // What nobody asked for does not stop the loop.
            if let (Err(error), None) = (&kept, &args.keep) {
                show.note(format!("no more consoles are kept: {error:#}"));
                (keeping, kept) = (false, Ok(()));
            }
        }
        if kept.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let looped = boot_loop::run(&*launcher, &job, jobs, &limits, &cancel, on_progress);
    show.finish();
    let (tally, stopped) = looped.or_else(refused)?;
    let result = Result {
        summary: tally.summary(),
        stopped,
        seconds: started.elapsed().as_secs_f64(),
        jobs: jobs.get(),
        launcher: launcher.describe(),
        consoles: keep.as_ref().and_then(Keep::used).map(Path::to_owned),
    };
    match output.json {
        true => output.line(serde_json::to_string_pretty(&result)?),
        false => show::result(&result, output),
    }
    // Not as errors, which with --json would follow the result on standard output.
    if let Err(error) = kept {
        output.note(format!("stopped, since a console can't be kept: {error:#}"));
        return Ok(ExitCode::from(2));
    }
    if let Stop::Host(reason) = &result.stopped {
        output.note(format!("the host failed: {reason}"));
        output.note("`vmbisect doctor` says what this machine can do");
        return Ok(ExitCode::from(2));
    }
    Ok(match (&result.summary, result.stopped == Stop::Interrupted) {
        (Summary { failed: 1.., .. }, _) => ExitCode::from(1),
        (_, true) => interrupted(),
        (Summary { counted: 0, .. }, false) => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    })
}

impl Args {
    fn keep(&self, output: &Output) -> anyhow::Result<Option<Keep>> {
        Ok(match &self.keep {
            _ if self.no_keep => None,
            Some(directory) => Some(Keep::new(directory)?),
            None => {
                let parent = vmbisect::cache::dir().join("loops");
                let removed = own::tidy(&parent, own::LIMIT);
                if removed > 0 {
                    output.note(format!(
                        "{} keeps the newest {} MiB; earlier loops removed there: {removed}",
                        parent.display(),
                        own::LIMIT >> 20
                    ));
                }
                Some(Keep::below(&parent, own::LIMIT))
            }
        })
    }

    fn limits(&self) -> Limits {
        let endless = self.time.is_some() || !self.until_crash.is_empty();
        Limits {
            runs: self.runs.or((!endless).then_some(RUNS)),
            time: self.time,
            until: self.until_crash.clone(),
            accept_family: self.accept_family,
        }
    }
}

/// Reads a time: plain seconds, or with units.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "not a time such as 90s, 15m or 2h30m".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "a time can't be negative".into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn times_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("2h30m", 9000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1h 1s"), Ok(Duration::from_secs(3601)));
        for bad in ["", "soon", "-5s", "m", "5 parsecs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
