//! What there is to weigh: a fold, from a log or from a state directory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use vmbisect::history::{Candidates, CommitId, Find, History, HistoryError};
use vmbisect::import::{BisectLog, Word, implied_order, parse};
use vmbisect::journal::{Event, Header, Journal, JournalError, Record};
use vmbisect::search::{Limits, Model};
use vmbisect::session::{Fold, Rewritten, retarget};
use vmbisect::trial::Target;

use super::Args;
use crate::cli::{Output, WithHint};

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
    pub(super) target: Target,
    pub(super) order: Order,
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
        match args.log.is_dir() {
            true => Evidence::of_state(args, output),
            false => Evidence::of_log(args, output),
        }
    }

    /// First line of a commit's message, as far as it is known.
    pub(super) fn title(&self, commit: CommitId) -> Option<String> {
        let read = || self.history.as_ref()?.title(commit).ok();
        self.titles.get(&commit).cloned().or_else(read)
    }

    /// Whether a commit can be spoken of by its name.
    pub(super) fn is_named(&self, commit: CommitId) -> bool {
        let tried = || self.fold.tried_revisions().iter().any(|tried| tried.commit == commit);
        self.history.is_some() || self.titles.contains_key(&commit) || tried()
    }

    fn of_log(args: &Args, output: &Output) -> anyhow::Result<Evidence> {
        let text = read(&args.log)?;
        let mut log = parse(&text)
            .with_context(|| format!("{} is not a bisection log", args.log.display()))
            .hint(
                "it reads what syzbot publishes, what `git bisect log` prints, and the state \
                 directory of `vmbisect bisect`",
            )?;
        let known = log.target.clone();
        let first = log.first_crash().map(|title| Target::Crash(vec![title.to_owned()]));
        let target = asked(args).or(known).or(first).unwrap_or(Target::AnyCrash);
        let history = args.repo.as_deref().map(open).transpose()?;
        let (candidates, order) = match &history {
            Some(history) => (from_repository(history, &mut log, output)?, Order::Repository),
            None => (implied_order(&log), order_of(&log)),
        };
        let model = Model { find: log.find, ..Model::new(args.confidence) };
        let mut fold = Fold::new(Arc::new(candidates), model, Limits::default(), 1);
        for tested in &log.tested {
            let (commit, events) = (tested.commit, tested.events(&target));
            let told =
                events.into_iter().try_for_each(|event| fold.apply(&Record { at_ms: 0, event }));
            if told.is_err() {
                let short = commit.short();
                output.note(format!("left out: {short}, which is not between the ends"));
            }
        }
        let words = log.tested.iter().filter_map(|it| Some((it.commit, it.word?))).collect();
        let (blamed, titles) = (log.culprit, log.titles);
        Ok(Evidence { fold, target, order, words, blamed, titles, history })
    }

    fn of_state(args: &Args, output: &Output) -> anyhow::Result<Evidence> {
        let read = Journal::read(&args.log);
        let hint = read.as_ref().err().map(JournalError::hint).unwrap_or_default();
        let (mut header, mut records) = read.hint(hint)?;
        let history = open(args.repo.as_deref().unwrap_or(&header.repo))?;
        let rewritten = told(Rewritten::follow(&history, &mut header, &mut records))?;
        rewritten.notes().iter().for_each(|note| output.note(note));
        let target = asked(args).unwrap_or_else(|| header.target.clone());
        let (older, newer) = header.find.range(&good_ends(&header, &records), header.bad);
        let candidates = told(history.candidates(&older, newer))?;
        let model = Model { find: header.find, ..Model::new(args.confidence) };
        let mut fold = Fold::new(Arc::new(candidates), model, Limits::default(), 1);
        for Record { at_ms, event } in records {
            let event = match target == header.target {
                true => event,
                false => retarget(event, &header.target, &target),
            };
            if let Err(error) = fold.apply(&Record { at_ms, event }) {
                output.note(format!("left out: {error}"));
            }
        }
        Ok(Evidence {
            fold,
            target,
            order: Order::Repository,
            words: BTreeMap::new(),
            blamed: None,
            titles: BTreeMap::new(),
            history: Some(history),
        })
    }
}

/// What the command line asks for.
fn asked(args: &Args) -> Option<Target> {
    match args.crash.as_slice() {
        [] => args.any_crash.then_some(Target::AnyCrash),
        titles => Some(Target::Crash(titles.to_vec())),
    }
}

/// Where the range began; the release that was taken for good last, if none was given.
fn good_ends(header: &Header, records: &[Record]) -> Vec<CommitId> {
    let picked = records.iter().rev().find_map(|record| match record.event {
        Event::Good { commit, .. } => Some(commit),
        _ => None,
    });
    match picked {
        Some(picked) if header.good.is_empty() => vec![picked],
        _ => header.good.clone(),
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
    read.with_context(|| format!("can't read {}", path.display())).hint("check the path")?;
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
    let names = told(history.found_again(&titles))?;
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
        told(history.resolve(&end.to_string()))?;
    }
    Ok(told(history.range(Find::Cause, &log.good, newer))?.candidates)
}

fn open(repo: &Path) -> anyhow::Result<History> {
    told(History::open(repo))
}

fn told<T>(result: Result<T, HistoryError>) -> anyhow::Result<T> {
    let hint = result.as_ref().err().map(HistoryError::hint).unwrap_or_default();
    result.hint(hint)
}
