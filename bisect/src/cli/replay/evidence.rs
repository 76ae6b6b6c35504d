//! What there is to weigh: a fold, from a log or from a state directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use vmbisect::history::{Candidates, CommitId, Find, History, HistoryError};
use vmbisect::import::{BisectLog, Weighing, Word, implied_order, parse};
use vmbisect::journal::{Event, Journal, JournalError, Record, Resumption};
use vmbisect::search::{Limits, Model};
use vmbisect::session::{Fold, Hints, Rewritten, Step, retarget};
use vmbisect::trial::Target;

use super::Args;
use crate::cli::bisect::{Asked, good_ends};
use crate::cli::output::{called, note_waiting};
use crate::cli::{Output, WithHint, told};

/// The confidence, where neither the command line nor the session says another.
const CONFIDENCE: f64 = 0.95;

/// Where the order of the commits comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// From the repository: who is whose parent.
    Repository,
    /// From what the log says of each commit.
    Stated,
    /// From what the log says of git's steps.
    Implied,
}

/// What there is to weigh.
pub(super) struct Evidence {
    pub(super) fold: Fold,
    /// What is looked for; `None` where only verdicts are known, and not what of.
    pub(super) target: Option<Target>,
    pub(super) confidence: f64,
    pub(super) order: Order,
    /// Whether it is known how many commits there are between those that were tested.
    pub(super) is_counted: bool,
    /// Trials that each verdict without runs stands for, if there are any.
    pub(super) verdict_trials: Option<u32>,
    /// Verdicts of which no runs are recorded.
    pub(super) verdicts: Vec<(CommitId, Word)>,
    /// What was made of a commit.
    pub(super) words: BTreeMap<CommitId, Word>,
    /// Who was blamed in the end.
    pub(super) blamed: Option<CommitId>,
    titles: BTreeMap<CommitId, String>,
    history: Option<History>,
}

impl Evidence {
    /// Reads a log or a state directory.
    pub(super) fn read(args: &Args, output: &Output) -> anyhow::Result<Evidence> {
        match &args.log {
            dir if dir.is_dir() => Evidence::of_state(args, dir, output),
            journal if journal.ends_with(Journal::NAME) => {
                Evidence::of_state(args, journal.parent().unwrap_or(journal), output)
            }
            _ => Evidence::of_log(args, output),
        }
    }

    /// First line of a commit's message, as far as it is known.
    pub(super) fn title(&self, commit: CommitId) -> Option<String> {
        let read = || self.history.as_ref()?.title(commit).ok();
        self.titles.get(&commit).cloned().or_else(read)
    }

    /// A commit for people.
    pub(super) fn name(&self, commit: CommitId) -> String {
        match self.title(commit) {
            Some(title) => format!("{} {title}", commit.short()),
            None => commit.short(),
        }
    }

    /// Whether a commit can be spoken of by its name.
    pub(super) fn is_named(&self, commit: CommitId) -> bool {
        let tried = || self.fold.tried_revisions().iter().any(|tried| tried.commit == commit);
        self.history.is_some() || self.titles.contains_key(&commit) || tried()
    }

    /// Whether only what was made of a commit is known, and no runs.
    pub(super) fn is_judged(&self, commit: CommitId) -> bool {
        self.verdicts.iter().any(|(of, _)| *of == commit)
    }

    fn of_log(args: &Args, output: &Output) -> anyhow::Result<Evidence> {
        note_waiting(&args.log, output);
        let text = read(&args.log)?;
        let mut log = parse(&text)
            .with_context(|| format!("{} is not a bisection log", called(&args.log)))
            .hint(
                "it reads what syzbot publishes, what `git bisect log` prints, and the state \
                 directory of `vmbisect bisect`",
            )?;
        let known = log.target.clone();
        let first = log.first_crash().map(|title| Target::Crash(vec![title.to_owned()]));
        let target = match asked(args).or(known).or(first) {
            None if !log.is_verdicts_only() => Some(Target::AnyCrash),
            target => target,
        };
        let history = args.repo.as_deref().map(open).transpose()?;
        let (candidates, order) = match &history {
            Some(history) => (from_repository(history, &mut log, output)?, Order::Repository),
            None => (implied_order(&log), order_of(&log)),
        };
        let confidence = args.confidence.unwrap_or(CONFIDENCE);
        let model = Model { find: log.find, ..Model::new(confidence) };
        let mut fold = Fold::new(Arc::new(candidates), model, Limits::default(), 1);
        let weighing = Weighing {
            target: target.clone().unwrap_or(Target::AnyCrash),
            verdict_trials: args.verdict_trials,
        };
        let mut left_out = BTreeSet::new();
        for tested in &log.tested {
            let (short, events) = (tested.commit.short(), log.events(tested, &weighing));
            let told =
                events.into_iter().try_for_each(|event| fold.apply(&Record { at_ms: 0, event }));
            if told.is_err() {
                let why = match &history {
                    Some(history) if history.title(tested.commit).is_err() => {
                        "which the repository does not have"
                    }
                    _ => "which is not between the ends",
                };
                output.note(format!("left out: {short}, {why}"));
                left_out.insert(tested.commit);
            }
        }
        skip_what_tells_nothing(&mut fold)?;
        // Where git says how it ended, it has halved the range at each step; else it may go on.
        let is_counted = order != Order::Implied
            || log.culprit.is_some()
            || log.tested.iter().any(|tested| tested.left.is_some());
        let words = log.tested.iter().filter_map(|it| Some((it.commit, it.word?))).collect();
        let verdicts = log
            .tested
            .iter()
            .filter(|tested| !left_out.contains(&tested.commit))
            .flat_map(|tested| tested.verdicts.iter().map(|&word| (tested.commit, word)));
        let verdicts: Vec<(CommitId, Word)> = verdicts.collect();
        Ok(Evidence {
            fold,
            target,
            confidence,
            order,
            is_counted,
            verdict_trials: (!verdicts.is_empty()).then_some(args.verdict_trials),
            verdicts,
            words,
            blamed: log.culprit,
            titles: log.titles,
            history,
        })
    }

    fn of_state(args: &Args, dir: &Path, output: &Output) -> anyhow::Result<Evidence> {
        let (mut header, mut records) = told(Journal::read(dir), |error| match error {
            JournalError::Missing { .. } => {
                "name the directory that --state named, or vmbisect/ in the git directory; or a log"
                    .into()
            }
            error => error.hint(),
        })?;
        let anew = Resumption::held(&records);
        header.repo = args.repo.clone().or(anew.repo.clone()).unwrap_or(header.repo);
        let history = open(&header.repo)?;
        let rewritten =
            told(Rewritten::follow(&history, &mut header, &mut records), HistoryError::hint)?;
        rewritten.notes().iter().for_each(|note| output.note(note));
        let target = asked(args).unwrap_or_else(|| header.target.clone());
        header.confidence = args.confidence.unwrap_or(header.confidence);
        let mut as_asked = Asked::of(&header, &anew).unwrap_or_else(|| {
            output.note(
                "this program does not know the command that began it: what it was told to \
                 suspect, and its limits, are left out",
            );
            Asked::default()
        });
        let machines = machines(&records);
        if target != header.target {
            as_asked = as_asked.of_another_title();
            records = retarget(records, &header.target, &target);
        }
        let (older, newer) = header.find.range(&good_ends(&header, &records), header.bad);
        let candidates = told(history.candidates(&older, newer), HistoryError::hint)?;
        let hints = as_asked.hints(&history).unwrap_or_else(|error| {
            output.note(format!("what it was told to suspect is left out: {error:#}"));
            Hints::default()
        });
        let prior = told(hints.prior(&history, &candidates), HistoryError::hint)?;
        let mut fold = as_asked.fold(&header, prior.as_ref(), candidates, machines);
        for record in &records {
            if let Err(error) = fold.apply(record) {
                output.note(format!("left out: {error}"));
            }
        }
        skip_what_tells_nothing(&mut fold)?;
        Ok(Evidence {
            fold,
            target: Some(target),
            confidence: header.confidence,
            order: Order::Repository,
            is_counted: true,
            verdict_trials: None,
            verdicts: Vec::new(),
            words: BTreeMap::new(),
            blamed: None,
            titles: BTreeMap::new(),
            history: Some(history),
        })
    }
}

/// Does what a session does that looks for a fix, before it tries anything: it leaves out what can
/// say nothing of one.
fn skip_what_tells_nothing(fold: &mut Fold) -> anyhow::Result<()> {
    while let Step::Skip { rev, base, why } = fold.next() {
        let (commit, base) = (fold.commit(rev)?, fold.commit(base)?);
        fold.apply(&Record { at_ms: 0, event: Event::Skipped { commit, base, why } })?;
    }
    Ok(())
}

/// How many trials ran at a time: as many as the first batch has, which is of the bad end, and none
/// has more.
fn machines(records: &[Record]) -> u32 {
    let planned = records.iter().filter_map(|record| match record.event {
        Event::Planned { trials, .. } => Some(trials),
        _ => None,
    });
    planned.max().unwrap_or(1)
}

/// What the command line asks for.
fn asked(args: &Args) -> Option<Target> {
    match args.crash.as_slice() {
        [] => args.any_crash.then_some(Target::AnyCrash),
        titles => Some(Target::Crash(titles.to_vec())),
    }
}

fn order_of(log: &BisectLog) -> Order {
    match log.tested.iter().any(|tested| tested.position.is_some()) {
        true => Order::Stated,
        false => Order::Implied,
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("can't read {}", called(path))).hint("check the path")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The real history between the ends, which may have been rewritten since.
fn from_repository(
    history: &History,
    log: &mut BisectLog,
    output: &Output,
) -> anyhow::Result<Candidates> {
    let titles: BTreeMap<CommitId, String> = log
        .commits()
        .filter_map(|commit| Some((commit, log.titles.get(&commit)?.clone())))
        .collect();
    let names = told(history.found_again(&titles), HistoryError::hint)?;
    for (lost, found) in &names {
        output.note(format!(
            "{} is not in the repository; {} has the same title and stands for it",
            lost.short(),
            found.short()
        ));
    }
    log.rename(&names);
    let newer = log.bad.context("the log has no bad end")?;
    for &end in log.good.iter().chain([&newer]) {
        told(history.resolve(&end.to_string()), HistoryError::hint)?;
    }
    Ok(told(history.range(Find::Cause, &log.good, newer), HistoryError::hint)?.candidates)
}

fn open(repo: &Path) -> anyhow::Result<History> {
    told(History::open(repo), HistoryError::hint)
}
