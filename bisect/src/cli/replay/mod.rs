//! `vmbisect replay`.

mod evidence;
mod next;
mod replayed;
mod text;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;

use self::evidence::Evidence;
use self::replayed::Replayed;
use super::Output;
use super::args::title;

/// Weighs the evidence in a bisection's log: what follows from the recorded runs, where the recorded
/// verdicts contradict them, and what should be tested next.
///
/// Reads what syzbot publishes, today and in 2021, `git bisect log`, our own bisect.log, and the
/// state directory of a bisection of ours, at work or ended. Failed boots count as runs, and only
/// the title asked for counts for or against a commit; so every title that a bisection met has a
/// belief of its own, without a single new trial.
///
/// A commit is named where a bisection of ours would name it: it is likely enough, it shows the bug
/// and its parents do not, in trials enough. Otherwise it says which is likeliest, and what is
/// missing.
///
/// A state directory is weighed as the bisection itself weighs it, with what it was told to suspect.
/// For another title than it looked for, its suspicions do not count.
///
/// `git bisect log` records verdicts and no runs, so nothing can contradict them but one another. Each
/// counts as --verdict-trials trials, all of which showed the bug, or none. By the model any revision
/// may behave oddly, so that amounts to one wrong verdict in some 150 at 2, 500 at 3 and 1,000 at 10.
/// A log that narrows a commit down from both sides names it then. One that rests on a single verdict,
/// as after a wrong "good", leaves what lies behind that verdict likely as well, and what is next is
/// the test that settles it. Take 1 where each verdict was a single boot of a bug that shows now and
/// then. A verdict that is given again counts again.
///
/// With --json, the answer is one object: find, target (null, where only verdicts are known and no
/// title was given), order (of the commits: that of the repository, the one that the log states, or
/// what it implies), candidates, counted (whether the log says how many commits lie between those it
/// tests; nobody is named or remains otherwise), verdict_trials (null, where no verdict lacks runs),
/// tested (each commit with its recorded verdict, its tally, judged (whether there is only the
/// verdict), probability_bad, and whether the verdict contradicts the runs or, without runs, other
/// verdicts), blamed (by the log), named (by us) or why_not, unconfirmed (parents of the named one
/// that can't be tested), best (the likeliest commit that has a name), remaining (those with names)
/// and unnamed_remaining, outside (probability of none of the candidates), titles (each with its rate
/// by revision), contradictions, conflicts (verdicts that exclude one another) and next.
///
/// Exit status: 0 one commit is named, 1 none is, 2 the log can't be used.
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
    #[arg(long, value_name = "TITLE", value_parser = title, conflicts_with = "any_crash")]
    crash: Vec<String>,

    /// Any crash at all
    #[arg(long)]
    any_crash: bool,

    /// Take the history from this repository; without it the order is what the log implies. A state
    /// directory knows its repository
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,

    /// Probability at which a commit is named [default: that of our own bisection; 0.95 for another
    /// log]
    #[arg(long, value_name = "P", value_parser = super::bisect::confidence)]
    confidence: Option<f64>,

    /// Trials that a verdict stands for of which no runs are recorded, as in `git bisect log`
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    verdict_trials: u32,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let evidence = Evidence::read(args, output)?;
    let replayed = Replayed::new(&evidence);
    if output.json {
        output.line(serde_json::to_string_pretty(&replayed)?);
    } else {
        replayed.print(output);
    }
    Ok(ExitCode::from(u8::from(replayed.named.is_none())))
}
