//! `vmbisect replay`.

mod evidence;
mod replayed;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use self::evidence::Evidence;
use self::replayed::Replayed;
use super::Output;

/// Weighs the evidence in a bisection's log: what follows from the recorded runs, where the recorded
/// verdicts contradict them, and what should be tested next.
///
/// Reads what syzbot publishes, today and in 2021, `git bisect log`, our own bisect.log, and the
/// state directory of a bisection of ours, at work or ended. Failed boots count as runs, and only
/// the title asked for counts for or against a commit; so every title that a bisection met has a
/// belief of its own, without a single new trial.
///
/// With --json, the answer is one object: find, target, order (of the commits: that of the repository,
/// the one that the log states, or what it implies), candidates, tested (each commit with its recorded
/// verdict, its tally, probability_bad, and whether the two contradict one another), blamed (by the
/// log), named (by us) or why_not, best (the likeliest commit that has a name), remaining (those with
/// names) and unnamed_remaining, outside (probability of none of the candidates), titles (each with its
/// rate by revision), contradictions and next.
///
/// Exit status: 0 one commit is likely enough to be named, 1 none is, 2 the log can't be used.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vmbisect replay bisect.log --crash 'WARNING in kvm_wait'
  git bisect log | vmbisect replay - --repo ~/linux
  vmbisect replay ~/linux/.git/vmbisect --crash 'WARNING in foo'")]
pub(crate) struct Args {
    /// The log, or the state directory of `vmbisect bisect`; `-` is standard input
    #[arg(value_name = "LOG")]
    log: PathBuf,

    /// The title looked for; * stands for any text; may be given several times [default: what our own
    /// bisection looked for; the first crash in another log]
    #[arg(long, value_name = "TITLE", conflicts_with = "any_crash")]
    crash: Vec<String>,

    /// Any crash at all
    #[arg(long)]
    any_crash: bool,

    /// Take the history from this repository; without it the order is what the log implies. A state
    /// directory knows its repository
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,

    /// Probability at which a commit is named
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = super::bisect::confidence)]
    confidence: f64,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let evidence = Evidence::read(args, output)?;
    let replayed = Replayed::new(&evidence, args.confidence);
    if output.json {
        output.line(serde_json::to_string_pretty(&replayed)?);
    } else {
        replayed.print(output);
    }
    Ok(ExitCode::from(u8::from(replayed.named.is_none())))
}
