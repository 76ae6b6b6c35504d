//! `vmbisect replay`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use vmbisect::history::{Candidates, CommitId, History, HistoryError};
use vmbisect::import::{BisectLog, Word, implied_order, parse};
use vmbisect::journal::Record;
use vmbisect::report::percent;
use vmbisect::search::{Limits, Model, Verdict, WhyNot};
use vmbisect::session::{Fold, Step};
use vmbisect::trial::Target;

use super::{Output, WithHint};

/// Weighs the evidence in another tool's log: what follows from the recorded runs, where the
/// recorded verdicts contradict them, and what should have been tested next.
///
/// Reads what syzbot publishes and `git bisect log`. Failed boots count as runs, and only the title
/// asked for counts for or against a commit.
///
/// Exit status: 0 one commit is likely enough to be named, 1 none is, 2 the log can't be used.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vmbisect replay bisect.log --crash 'WARNING in kvm_wait'
  git bisect log | vmbisect replay - --repo ~/linux")]
pub(crate) struct Args {
    /// The log; `-` is standard input
    #[arg(value_name = "LOG")]
    log: PathBuf,

    /// The title looked for; * stands for any text; may be given several times [default: the first
    /// crash in the log]
    #[arg(long, value_name = "TITLE", conflicts_with = "any_crash")]
    crash: Vec<String>,

    /// Any crash at all
    #[arg(long)]
    any_crash: bool,

    /// Take the history from this repository; without it the order is what the log implies
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,

    /// Probability at which a commit is named
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = super::bisect::confidence)]
    confidence: f64,
}

/// What follows from a log.
#[derive(Serialize)]
struct Replayed {
    target: Target,
    candidates: usize,
    tested: Vec<Tested>,
    blamed: Option<Remaining>,
    best: Option<Remaining>,
    remaining: Vec<Remaining>,
    unnamed_remaining: Remainder,
    outside: f64,
    next: String,
}

/// A tested commit.
#[derive(Serialize)]
struct Tested {
    commit: CommitId,
    title: Option<String>,
    recorded: Option<Word>,
    hits: u32,
    trials: u32,
    foreign: BTreeMap<String, u32>,
    probability_bad: f64,
    contradicts: bool,
}

#[derive(Serialize)]
struct Remaining {
    commit: CommitId,
    title: Option<String>,
    probability: f64,
}

#[derive(Serialize)]
struct Remainder {
    commits: usize,
    probability: f64,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let text = read(&args.log)?;
    let log = parse(&text)
        .with_context(|| format!("{} is not a bisection log", args.log.display()))
        .hint("it reads what syzbot publishes, and what `git bisect log` prints")?;
    let target = match (&args.crash[..], args.any_crash, log.first_crash()) {
        ([], false, Some(first)) => Target::Crash(vec![first.to_owned()]),
        ([], _, _) => Target::AnyCrash,
        (titles, ..) => Target::Crash(titles.to_vec()),
    };
    let candidates = match &args.repo {
        Some(repo) => from_repository(repo, &log, output)?,
        None => implied_order(&log),
    };
    let candidates = Arc::new(candidates);
    let mut fold = Fold::new(candidates, Model::new(args.confidence), Limits::default(), 1);
    for event in log.tested.iter().flat_map(|tested| tested.events(&target)) {
        if let Err(error) = fold.apply(&Record { at_ms: 0, event }) {
            output.note(format!("left out: {error}"));
        }
    }
    let replayed = replayed(&log, &fold, target, args.confidence);
    if output.json {
        output.line(serde_json::to_string_pretty(&replayed)?);
    } else {
        print(&replayed, args.repo.is_none(), output);
    }
    let named = replayed.best.is_some_and(|best| best.probability >= args.confidence);
    Ok(ExitCode::from(u8::from(!named)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("can't read {}", path.display())).hint("check the path")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn from_repository(repo: &Path, log: &BisectLog, output: &Output) -> anyhow::Result<Candidates> {
    let told = |result: Result<Candidates, HistoryError>| {
        let hint = result.as_ref().err().map(HistoryError::hint).unwrap_or_default();
        result.hint(hint)
    };
    let bad = log.bad.context("the log has no bad end")?;
    let history = told_history(History::open(repo))?;
    let candidates = told(history.candidates(&log.good, bad))?;
    for tested in &log.tested {
        if candidates.rev(tested.commit).is_none() {
            output.note(format!("{} is not between the ends", tested.commit.short()));
        }
    }
    Ok(candidates)
}

fn told_history(result: Result<History, HistoryError>) -> anyhow::Result<History> {
    let hint = result.as_ref().err().map(HistoryError::hint).unwrap_or_default();
    result.hint(hint)
}

fn replayed(log: &BisectLog, fold: &Fold, target: Target, confidence: f64) -> Replayed {
    let belief = fold.belief();
    let tested = log
        .tested
        .iter()
        .filter_map(|tested| {
            let rev = fold.candidates().rev(tested.commit)?;
            let own = fold.of(rev)?;
            let tally = own.tally();
            let bad = belief.probability_bad(rev);
            Some(Tested {
                commit: tested.commit,
                title: tested.title.clone(),
                recorded: tested.word,
                hits: tally.hits,
                trials: tally.trials(),
                foreign: own.useless(),
                probability_bad: bad,
                contradicts: match tested.word {
                    Some(Word::Good) => bad > 0.5,
                    Some(Word::Bad) => bad < 0.5,
                    Some(Word::Skip) | None => false,
                },
            })
        })
        .collect();
    let of = |commit: CommitId, probability| Remaining {
        commit,
        title: log.of(commit).and_then(|tested| tested.title.clone()),
        probability,
    };
    let id = |rev| fold.candidates().id(rev);
    let (named, unnamed): (Vec<_>, Vec<_>) = belief
        .credible(confidence)
        .into_iter()
        .filter_map(|(rev, probability)| Some((id(rev)?, probability)))
        .partition(|(commit, _)| log.of(*commit).is_some());
    Replayed {
        target,
        candidates: fold.candidates().len(),
        tested,
        blamed: log.culprit.map(|culprit| {
            let rev = fold.candidates().rev(culprit);
            of(culprit, rev.map_or(0.0, |rev| belief.probability(rev)))
        }),
        best: belief.best().and_then(|(rev, probability)| Some(of(id(rev)?, probability))),
        remaining: named.into_iter().map(|(commit, probability)| of(commit, probability)).collect(),
        unnamed_remaining: Remainder {
            commits: unnamed.len(),
            probability: unnamed.iter().map(|(_, probability)| probability).sum(),
        },
        outside: belief.outside(),
        next: next(log, fold),
    }
}

/// What to test next, in words.
fn next(log: &BisectLog, fold: &Fold) -> String {
    match fold.next() {
        Step::Revert { .. } => "nothing, the culprit is known".into(),
        Step::Plan { rev, .. }
        | Step::Skip { rev, .. }
        | Step::Build { rev }
        | Step::Trials { rev, .. } => {
            let known = fold.candidates().id(rev).filter(|&commit| log.of(commit).is_some());
            match known {
                Some(commit) => format!("more trials of {}", commit.short()),
                None => format!("candidate {} of {}", rev + 1, fold.candidates().len()),
            }
        }
        Step::Done(Verdict::Culprit { .. }) => "nothing, the culprit is known".into(),
        Step::Done(Verdict::Undecided { why: WhyNot::Budget, .. }) => "as far as allowed".into(),
        Step::Done(Verdict::Undecided { why: WhyNot::Unconfirmed, .. }) => {
            "nothing: the likeliest commit can't be tested".into()
        }
        Step::Done(Verdict::Undecided { .. }) => "nothing that would tell more".into(),
        Step::Done(Verdict::NotReproduced | Verdict::BadTipUntestable) => {
            "the bad end, which has not shown it".into()
        }
        Step::Done(Verdict::GoodTipUntestable) => "an older good end".into(),
        Step::Done(Verdict::GoodTipBad { .. }) => "an older good end, this one is bad".into(),
        Step::GiveUp { reason, .. } => reason,
    }
}

fn print(replayed: &Replayed, implied: bool, output: &Output) {
    let order = if implied { ", in the order that the log implies" } else { "" };
    output.line(format!("{} candidates{order}", replayed.candidates));
    output.line("");
    output.line("commit        recorded   hits  trials  has the bug");
    for tested in &replayed.tested {
        let word = match tested.recorded {
            Some(Word::Bad) => "bad",
            Some(Word::Good) => "good",
            Some(Word::Skip) => "skip",
            None => "",
        };
        let foreign: u32 = tested.foreign.values().sum();
        output.line(format!(
            "{}  {word:<9}  {:>4}  {:>6}  {:>11}{}{}",
            tested.commit.short(),
            tested.hits,
            tested.trials,
            percent(tested.probability_bad),
            if tested.contradicts { "  CONTRADICTS THE RECORD" } else { "" },
            if foreign > 0 { format!("  ({foreign} told nothing)") } else { String::new() },
        ));
    }
    output.line("");
    if let Some(blamed) = &replayed.blamed {
        output.line(format!(
            "recorded culprit: {} at {}",
            named(blamed),
            percent(blamed.probability)
        ));
    }
    let others = &replayed.unnamed_remaining;
    output.line(format!("{} commits remain:", replayed.remaining.len() + others.commits));
    for remaining in &replayed.remaining {
        output.line(format!("  {:>8}  {}", percent(remaining.probability), named(remaining)));
    }
    if others.commits > 0 {
        output.line(format!(
            "  {:>8}  {} that were not tested, together",
            percent(others.probability),
            others.commits
        ));
    }
    output.line(format!("  {:>8}  none of the candidates", percent(replayed.outside)));
    let mut foreign: BTreeMap<&str, u32> = BTreeMap::new();
    for (title, count) in replayed.tested.iter().flat_map(|tested| &tested.foreign) {
        *foreign.entry(title).or_insert(0) += count;
    }
    if !foreign.is_empty() {
        output.line("seen and not blamed on anyone:");
        foreign.iter().for_each(|(title, count)| output.line(format!("  {count:>4} x {title}")));
    }
    output.line(format!("next: {}", replayed.next));
}

fn named(commit: &Remaining) -> String {
    match &commit.title {
        Some(title) => format!("{} {title}", commit.commit.short()),
        None => commit.commit.short(),
    }
}
