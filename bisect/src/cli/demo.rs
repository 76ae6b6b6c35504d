//! `vmbisect demo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use vmbisect::cancel::Cancel;
use vmbisect::demo::history::{HistoryError as PlantError, Planted, Shape, write};
use vmbisect::demo::{
    CRASH, FOREIGN_CRASH, ImportError, Imported, KERNEL_CONFIG, Linux, import_cached,
};
use vmbisect::journal::{Journal, JournalError};
use vmbisect::report::{Answer, Report, Standing};
use vmbisect::tools::{self, LINUX_SOURCE, Purpose, ToolError};
use vmm::host::{Verdict, inspect};

use super::interrupt::{cancel_on_signals, interrupted};
use super::{Cli, Command, Output, WithHint, bisect};

/// Seconds that the workload runs where the bug does not show; where it does, it shows in the
/// first.
const WORKLOAD_SECONDS: &str = "3";

/// Plants a real bug in a history of real kernels, finds it with the ordinary `vmbisect bisect`,
/// and only then says where it was.
///
/// The bug is the one that commit f4e61f0c9add fixed ("x86/kvm: Fix broken irq restoration in
/// kvm_wait"). The history has merged branches, commits that do not build, commits that change
/// comments only, and an unrelated warning that comes and goes. Where each of them is depends on
/// the seed.
///
/// Missing tools are installed if this is Debian or Ubuntu and the user is root. From nothing it
/// takes some 15 minutes on two CPUs, with everything built a few.
///
/// With --json, one object is printed at the end: agrees, planted (what was written, and where),
/// report (as `vmbisect bisect --json` prints it) and seconds.
///
/// Exit status: 0 the planted commit was found, 1 it was not, 2 something went wrong, 130
/// interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which history to write
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// A Linux source of version 5.12 or later: a tree, a clone or a .tar.xz [default: that of
    /// Debian's package linux-source-6.1]
    #[arg(long, value_name = "TREE")]
    linux: Option<PathBuf>,

    /// Where the repository and the bisection's state are kept [default: demo/ in the cache
    /// directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let cancel = cancel_on_signals()?;
    let start = Instant::now();
    let dir = args.dir.clone().unwrap_or_else(|| vmbisect::cache::dir().join("demo"));
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("can't create {}", dir.display()))
        .hint("choose another place with --dir")?;
    let dir = dir.canonicalize().with_context(|| format!("can't enter {}", dir.display()))?;
    if !ensure_tools(args, output, &cancel)? {
        return Ok(interrupted());
    }
    let Some(imported) = import(args, &dir, output, &cancel)? else {
        return Ok(interrupted());
    };

    let planted = write(&imported.repo, &imported.base, args.seed, Shape::default());
    let hint = planted.as_ref().err().map(PlantError::hint).unwrap_or_default();
    let planted = planted.hint(hint)?;
    output.note(format!(
        "wrote {} commits on branch {} of {}",
        planted.commits.len(),
        planted.branch,
        imported.repo.display()
    ));

    let state = dir.join(format!("seed-{}", args.seed));
    remove_old(&state)?;
    let arguments = command_line(&dir, &state, &imported, &planted)?;
    output.note(format!("\n{}\n", quoted(&arguments)));
    let Command::Bisect(bisect_args) = Cli::try_parse_from(&arguments)?.command else {
        anyhow::bail!("the command line that was just made is not one of bisect");
    };
    let Some(report) = bisect::find(&bisect_args, arguments, &cancel, output)? else {
        return Ok(interrupted());
    };

    let found = match &report.answer {
        Answer::Culprit { culprit, .. } => Some(culprit.commit.to_string()),
        _ => None,
    };
    let agrees = found.as_deref() == Some(planted.culprit.as_str());
    if output.json {
        let answer = json!({
            "agrees": agrees, "planted": planted, "report": report,
            "seconds": start.elapsed().as_secs_f64(),
        });
        output.line(serde_json::to_string_pretty(&answer)?);
    } else {
        output.line(report.to_string().trim_end());
        output.line(compare(&planted, &report, agrees, start.elapsed()));
    }
    Ok(ExitCode::from(u8::from(!agrees)))
}

/// Installs what is missing; `false` if the user stopped it.
fn ensure_tools(args: &Args, output: &Output, cancel: &Cancel) -> anyhow::Result<bool> {
    let mut purposes = vec![Purpose::History, Purpose::Kernel, Purpose::Workload];
    if args.linux.is_none() {
        purposes.push(Purpose::LinuxSource);
    }
    if inspect().verdict != Verdict::RunsLinux {
        purposes.push(Purpose::OuterMachine);
    }
    let tools = tools::needed_for(&purposes);
    let ensured = tools::ensure(&tools, &mut |line| output.note(line), cancel);
    if matches!(ensured, Err(ToolError::Cancelled)) {
        return Ok(false);
    }
    let hint = ensured.as_ref().err().map(ToolError::hint).unwrap_or_default();
    ensured.hint(hint)?;
    Ok(true)
}

/// Makes the repository; `None` if the user stopped it.
fn import(
    args: &Args,
    dir: &Path,
    output: &Output,
    cancel: &Cancel,
) -> anyhow::Result<Option<Imported>> {
    let source = args.linux.as_deref().unwrap_or(Path::new(LINUX_SOURCE));
    let start = Instant::now();
    let progress = output.progress();
    output.note(format!("importing {}, unless that was done before", source.display()));
    progress.enable_steady_tick(Duration::from_millis(200));
    let imported = Linux::at(source).and_then(|linux| {
        import_cached(&linux, dir, &mut |line| progress.set_message(line.to_owned()), cancel)
    });
    progress.finish_and_clear();
    if matches!(imported, Err(ImportError::Cancelled)) {
        return Ok(None);
    }
    let hint = imported.as_ref().err().map(ImportError::hint).unwrap_or_default();
    let imported = imported.hint(hint)?;
    if !imported.cached {
        let seconds = start.elapsed().as_secs_f64();
        output.note(format!("imported {} in {seconds:.1} s", source.display()));
    }
    Ok(Some(imported))
}

/// Makes room for a new bisection where one has ended, or was interrupted.
fn remove_old(state: &Path) -> anyhow::Result<()> {
    if !state.exists() {
        return Ok(());
    }
    let opened = Journal::open(state);
    if let Err(error @ JournalError::InUse { .. }) = opened {
        return Err(error).hint("another demo with this seed is running: take another --seed");
    }
    std::fs::remove_dir_all(state)
        .with_context(|| format!("can't remove {}", state.display()))
        .hint("choose another place with --dir")
}

/// The command that anybody could have typed.
fn command_line(
    dir: &Path,
    state: &Path,
    imported: &Imported,
    planted: &Planted,
) -> anyhow::Result<Vec<String>> {
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        utf8(&path)
    };
    let fragment = file("kernel.config", KERNEL_CONFIG)?;
    let workload = file("spinlock.c", guest_init::SPINLOCK_C)?;
    let arguments = [
        ["--repo", &utf8(&imported.repo)?],
        ["--good", &planted.good],
        ["--bad", &planted.bad],
        ["--fragment", &fragment],
        ["--crash", CRASH],
        ["--workload-c", &workload],
        ["--arg", WORKLOAD_SECONDS],
        // More vCPUs than most machines that this is tried on have CPUs to spare.
        ["--vcpus", "4"],
        ["--memory", "256"],
        ["--timeout", "60"],
        ["--state", &utf8(state)?],
    ];
    let start = ["vmbisect", "bisect", "--tinyconfig", "--require-pv-spinlocks"].into_iter();
    Ok(start.chain(arguments.as_flattened().iter().copied()).map(str::to_owned).collect())
}

fn utf8(path: &Path) -> anyhow::Result<String> {
    path.to_str()
        .map(str::to_owned)
        .with_context(|| format!("{} is not UTF-8", path.display()))
        .hint("choose another place with --dir")
}

/// The command line as a shell reads it.
fn quoted(arguments: &[String]) -> String {
    let quote = |argument: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:@%,".contains(c);
        match argument.chars().all(plain) {
            true => argument.clone(),
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        }
    };
    let mut text = String::from("$");
    for argument in arguments.iter().map(quote) {
        let line = text.rsplit('\n').next().map_or(0, str::len);
        let separator = if line + argument.len() > 96 { " \\\n      " } else { " " };
        text.push_str(separator);
        text.push_str(&argument);
    }
    text
}

/// What was planted, and what became of it.
fn compare(planted: &Planted, report: &Report, agrees: bool, took: Duration) -> String {
    let short = |commit: &str| commit.get(..12).unwrap_or(commit).to_owned();
    let foreign: u32 = report
        .useless
        .iter()
        .filter(|(title, _)| title.contains(FOREIGN_CRASH))
        .map(|it| it.1)
        .sum();
    let broken = report.revisions.iter().filter(|it| it.standing == Standing::Broken).count();
    let shared = report.revisions.iter().filter(|it| it.same_image_as.is_some()).count();
    [
        String::new(),
        format!("planted:  {} {}", short(&planted.culprit), planted.subject),
        format!(
            "          {} of {} commits do not build ({broken} of them met), {} change comments \
             only ({shared} shared an image),",
            planted.broken.len(),
            planted.commits.len(),
            planted.equal.len(),
        ),
        format!(
            "          {} sometimes say {FOREIGN_CRASH} (in {foreign} of the trials)",
            planted.noisy.len()
        ),
        match agrees {
            true => "result:   the planted commit was found".to_owned(),
            false => "result:   the planted commit was NOT found".to_owned(),
        },
        format!("time:     {} min {:02} s", took.as_secs() / 60, took.as_secs() % 60),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_command_line_can_be_pasted() {
        let words = ["a", "WARNING in kvm_wait", "it's"].map(str::to_owned);
        assert_eq!(quoted(&words), r"$ a 'WARNING in kvm_wait' 'it'\''s'");
        let long: Vec<String> = (0..9).map(|_| "x".repeat(30)).collect();
        assert!(quoted(&long).lines().all(|line| line.len() <= 100));
    }
}
