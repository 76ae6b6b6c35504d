//! `vmbisect bisect`.

mod asked;
mod begun;
mod configurations;
mod drift;
mod progress;
mod target;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use vmbisect::cancel::Cancel;
use vmbisect::history::{Find, History, HistoryError};
use vmbisect::report::{Answer, Report};
use vmbisect::search::Limits;

pub(super) use self::asked::{Asked, good_ends};
use self::begun::Begun;
use self::target::TargetArgs;
use super::args::{KernelArgs, LauncherArgs, MachineArgs, WorkloadArgs, at_least_one};
use super::interrupt::{cancel_on_signals, interrupted, unless_interrupted};
use super::{Output, WithHint, told};

/// Finds the commit that brought in a crash: builds and boots revisions between a good and a bad
/// one, and weighs what their trials show until one commit is likely enough to be the culprit.
///
/// Without a good revision, releases before the bad one are tried from new to old until one is good.
///
/// Only the target counts for or against a revision. Other crashes, failed boots and revisions that
/// do not build are counted and reported, and say nothing. Everything that happens is kept in the
/// state directory; an interrupted bisection goes on with --resume.
///
/// With --json, the answer is one object: answer (culprit, undecided, not_reproduced,
/// bad_tip_untestable, good_tip_untestable or good_tip_bad) with its own fields, find, target, bad,
/// good, candidates, inert (how many of them touch nothing that is built), revisions (each with its
/// standing and tally), hit_rate, useless, titles (each with its rate by revision), contradictions,
/// baseline (the one in use, if any), dropped_baselines (name, why and what was seen) and
/// dropped_trials, trials, build_seconds, trial_seconds and recipients (who to tell: to and cc, with
/// the reasons).
///
/// Exit status: 0 the culprit was found, 1 none can be named, 2 something went wrong, 130
/// interrupted.
#[derive(Clone, Debug, clap::Args)]
#[command(
    mut_group("BaseArgs", |group| group.required(false)),
    mut_args(only_some_with_resume),
    after_help = "Examples:
  vmbisect bisect --repo linux --good v5.11 --bad v5.12-rc1 --defconfig \\
      --fragment kvm_guest.config --crash 'WARNING in kvm_wait' --workload-c spin.c --vcpus 4
  vmbisect bisect --good v6.1 --config .config --no-boot
  vmbisect bisect --find fix --bad v6.1 --good v6.5 --config .config --hang
  vmbisect bisect --bad v6.12 --defconfig --crash 'KASAN: *' --suspect v6.11.1 -- net/ mm/
  vmbisect bisect --good v6.1 --config .config --hang --baseline tinyconfig --fragment min.config
  vmbisect bisect --resume"
)]
pub(crate) struct Args {
    /// A revision without the bug, older than the bad one; may be given several times [default: the
    /// newest release before --bad that turns out to be without it]. With --find fix, the newer one
    /// [default: HEAD]
    #[arg(long, value_name = "REV", required_unless_present_any = ["resume", "bad"])]
    #[arg(requires = "BaseArgs", requires = "target", help_heading = "Range")]
    pub(crate) good: Vec<String>,

    /// The revision with the bug [default: HEAD, where --good is given]. With --find fix, the older one
    #[arg(long, value_name = "REV", help_heading = "Range")]
    #[arg(requires = "BaseArgs", requires = "target")]
    pub(crate) bad: Option<String>,

    /// Which commit to find
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = FindArg::Cause)]
    #[arg(help_heading = "Range")]
    find: FindArg,

    #[command(flatten)]
    target: TargetArgs,

    /// Where what happens is kept [default: vmbisect/ in the git directory]
    #[arg(long, value_name = "DIR", help_heading = "Session")]
    pub(crate) state: Option<PathBuf>,

    /// Go on with the bisection in the state directory, as it was begun; what --max-trials, --revert
    /// and --repo (where the repository is now) say anew holds from then on
    #[arg(long, help_heading = "Session")]
    pub(crate) resume: bool,

    /// Probability at which a culprit is named, from 0.5 to 0.999
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = confidence)]
    #[arg(help_heading = "Session")]
    confidence: f64,

    /// Stop after this many trials and say what is known [default: 10000]
    #[arg(long, value_name = "N", help_heading = "Session", value_parser = at_least_one::<NonZeroU64>)]
    max_trials: Option<NonZeroU64>,

    /// Clean trials of the bad revision after which the bug counts as not reproduced
    #[arg(long, value_name = "N", default_value_t = Limits::default().bad_tip, help_heading = "Session")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bad_trials: u32,

    /// A commit that is likelier than others to be the answer, WEIGHT times as likely; may be given
    /// several times [default weight: 10]
    #[arg(long, value_name = "REV[=WEIGHT]", value_parser = suspect, help_heading = "Suspicion")]
    suspect: Vec<(String, f64)>,

    /// Paths that the answer probably changes, such as net/ or kernel/locking; other commits keep
    /// a tenth of the probability
    #[arg(last = true, value_name = "PATH", help_heading = "Suspicion")]
    paths: Vec<String>,

    /// Don't let the files that the crash names point at the commits that touch them; from the first
    /// hit on these hold half of the probability otherwise
    #[arg(long, help_heading = "Suspicion")]
    no_crash_prior: bool,

    /// In the end, revert the answer on top of the newer end of the range and try whether that
    /// undoes it
    #[arg(long, help_heading = "Session")]
    revert: bool,

    /// Write the log here, too; it is in the state directory in any case
    #[arg(long, value_name = "FILE", help_heading = "Session")]
    pub(crate) log: Option<PathBuf>,

    /// Try the bad revision with this configuration first, and keep to it if the bug shows with it
    /// too: a complete .config, tinyconfig or defconfig; --fragment is laid over it as well. May be
    /// given several times, the smallest first
    #[arg(long = "baseline", value_name = "CONFIG", help_heading = "Kernel")]
    baselines: Vec<String>,

    #[command(flatten)]
    kernel: KernelArgs,

    #[command(flatten)]
    workload: WorkloadArgs,

    #[command(flatten)]
    machine: MachineArgs,

    #[command(flatten)]
    launcher: LauncherArgs,
}

/// Which commit to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FindArg {
    /// The commit that brought the bug in
    Cause,
    /// The commit since which it does not show any more
    Fix,
}

impl From<FindArg> for Find {
    fn from(find: FindArg) -> Find {
        match find {
            FindArg::Cause => Find::Cause,
            FindArg::Fix => Find::Fix,
        }
    }
}

/// What may be said anew when a bisection goes on; the rest is as it was begun.
const WITH_RESUME: [&str; 10] =
    ["resume", "repo", "state", "log", "max_trials", "revert", "json", "quiet", "help", "version"];

fn only_some_with_resume(arg: clap::Arg) -> clap::Arg {
    match WITH_RESUME.contains(&arg.get_id().as_str()) {
        true => arg,
        false => arg.conflicts_with("resume"),
    }
}

/// Reads a confidence.
pub(super) fn confidence(text: &str) -> Result<f64, String> {
    let parsed = text.parse().map_err(|_| "not a number".to_owned())?;
    match parsed {
        0.5..=0.999 => Ok(parsed),
        _ => Err("must be from 0.5 to 0.999".into()),
    }
}

/// Reads a suspect: a revision, and how many times as likely as others it is.
fn suspect(text: &str) -> Result<(String, f64), String> {
    const WEIGHT: f64 = 10.0;
    let Some((revision, weight)) = text.rsplit_once('=') else {
        return Ok((text.to_owned(), WEIGHT));
    };
    match weight.parse() {
        Ok(weight) if (1e-3..=1e6).contains(&weight) => Ok((revision.to_owned(), weight)),
        _ => Err("the weight must be a number from 0.001 to 1000000".into()),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let arguments = std::env::args_os().map(|argument| {
        let told = |argument| anyhow::anyhow!("{argument:?} is not UTF-8");
        argument.into_string().map_err(told).hint("the journal holds only text; rename the file")
    });
    let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
    let cancel = cancel_on_signals()?;
    let Some(report) = find(args, arguments, &cancel, output)? else {
        return Ok(interrupted());
    };
    if output.json {
        output.line(serde_json::to_string_pretty(&report)?);
    } else {
        output.line(report.to_string().trim_end());
    }
    let found = matches!(report.answer, Answer::Culprit { .. });
    Ok(ExitCode::from(u8::from(!found)))
}

/// Begins a bisection, or goes on with one, and works until there is an answer; `None` if it was
/// interrupted. `arguments` is the command line, program first, that stands for `args`.
pub(crate) fn find(
    args: &Args,
    arguments: Vec<String>,
    cancel: &Cancel,
    output: &Output,
) -> anyhow::Result<Option<Report>> {
    let history = || {
        let opened = told(History::open(args.kernel.repo()), HistoryError::hint);
        opened.map(|history| history.with_cancel(cancel))
    };
    // The journal knows its repository, so whoever names it need not be in one.
    let state = match &args.state {
        Some(state) => state.clone(),
        None => history()?.git_dir().join("vmbisect"),
    };
    let state = std::path::absolute(&state).context("can't find the current directory")?;
    let log = args.log.as_deref().map(std::path::absolute).transpose()?;
    let begun = match args.resume {
        true => Begun::resume(&state, args, cancel, output),
        false => Begun::begin(&state, args, arguments, history()?, cancel, output),
    };
    let begun = unless_interrupted(begun)?;
    if begun.is_none() && !args.resume {
        output.note("interrupted before anything was begun");
        return Ok(None);
    }
    let worked = begun.map(|begun| unless_interrupted(begun.work(cancel, output))).transpose()?;
    let Some((report, text)) = worked.flatten().flatten() else {
        output.note(format!(
            "interrupted; what was measured is kept, go on with: vmbisect bisect --resume --state \
             {}",
            state.display()
        ));
        return Ok(None);
    };
    for path in [Some(state.join("bisect.log")), log].into_iter().flatten() {
        std::fs::write(&path, &text)
            .with_context(|| format!("can't write {}", path.display()))
            .hint("the answer is not lost: --resume gives it again")?;
    }
    Ok(Some(report))
}
