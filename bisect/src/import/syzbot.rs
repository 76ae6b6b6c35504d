//! The logs that syzbot publishes, in the forms it has used since 2018, and `git bisect log`.

use serde::Serialize;
use thiserror::Error;

use crate::history::CommitId;
use crate::journal::Event;
use crate::trial::{Outcome, Target};

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BisectLog {
    /// The bad and the good end.
    pub bad: Option<CommitId>,
    /// The good ends.
    pub good: Vec<CommitId>,
    /// Every commit that was tested, in that order.
    pub tested: Vec<Tested>,
    /// The commit that was blamed in the end.
    pub culprit: Option<CommitId>,
}

/// A commit that was tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// Which.
    pub commit: CommitId,
    /// First line of its message, if the log has it.
    pub title: Option<String>,
    /// The hash of the image.
    pub signature: Option<String>,
    /// Why it did not build.
    pub build_failure: Option<String>,
    /// What its runs showed.
    pub runs: Vec<Run>,
    /// What git was told of it.
    pub word: Option<Word>,
    /// How many revisions git had left to test if this one turned out good.
    pub left: Option<u32>,
}

/// What one run showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Nothing.
    Ok,
    /// A crash.
    Crashed(String),
    /// A failure before the reproducer ran.
    BootFailed(String),
    /// The kernel could not be tried.
    TestFailed(String),
    /// The host failed.
    Infra(String),
}

/// What git was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It has the bug.
    Bad,
    /// It does not have it.
    Good,
    /// It can't be said.
    Skip,
}

/// Why a log can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImportError {
    /// It tests nothing.
    #[error("no commit is tested in it")]
    Empty,
    /// It does not say between which ends it searched.
    #[error("it does not say from where to where it searched (no `git bisect start`)")]
    NoRange,
}

impl BisectLog {
    /// The crash that the bisection set out from: the first one it saw.
    pub fn first_crash(&self) -> Option<&str> {
        self.tested.iter().flat_map(|tested| &tested.runs).find_map(|run| match run {
            Run::Crashed(title) => Some(title.as_str()),
            _ => None,
        })
    }

    /// What was tested of a commit.
    pub fn of(&self, commit: CommitId) -> Option<&Tested> {
        self.tested.iter().find(|tested| tested.commit == commit)
    }
}

impl Tested {
    /// What a session that looks for `target` would have recorded of it.
    pub fn events(&self, target: &Target) -> Vec<Event> {
        let commit = self.commit;
        if let Some(reason) = &self.build_failure {
            let (reason, log) = (reason.clone(), Default::default());
            return vec![Event::BuildFailed { commit, reason, log, seconds: 0.0, cached: true }];
        }
        // Without a signature every commit is an image of its own.
        let signature = self.signature.clone().unwrap_or_else(|| commit.to_string());
        let built = Event::Built {
            commit,
            signature,
            image: Default::default(),
            compiler: String::new(),
            seconds: 0.0,
            cached: true,
        };
        let trials = self.runs.iter().filter_map(|run| {
            let (outcome, boot) = run.outcome(target)?;
            let crashes = match run {
                Run::Crashed(title) | Run::BootFailed(title) => vec![title.clone()],
                _ => Vec::new(),
            };
            let (console, report) = (None, None);
            Some(Event::Trial { commit, outcome, crashes, boot, seconds: 0.0, console, report })
        });
        std::iter::once(built).chain(trials).collect()
    }
}

impl Run {
    /// What it says about the target, and whether it did so before the reproducer ran; nothing
    /// where the host failed.
    fn outcome(&self, target: &Target) -> Option<(Outcome, bool)> {
        let crash = |title: &String| match target.matches_title(title) {
            true => Outcome::Hit { title: title.clone() },
            false => Outcome::Foreign { title: title.clone() },
        };
        Some(match self {
            Run::Ok => (Outcome::Clean, false),
            Run::Crashed(title) => (crash(title), false),
            Run::BootFailed(title) if *target == Target::NoBoot => {
                (Outcome::Hit { title: title.clone() }, true)
            }
            Run::BootFailed(title) => (crash(title), true),
            Run::TestFailed(reason) => (Outcome::Invalid { reason: reason.clone() }, true),
            Run::Infra(_) => return None,
        })
    }
}

/// Runs of a commit where a log says only that all were alike: the first number of runs it gives
/// one by one until then, as long as the bug has not proved flaky, and double of it after.
const RUNS: usize = 10;

/// Reads a log.
///
/// # Errors
/// Fails if nothing is tested in it, or if it lacks the range.
pub fn parse(text: &str) -> Result<BisectLog, ImportError> {
    let mut log = BisectLog::default();
    let mut flaky = false;
    let mut next: (Option<u32>, Option<(CommitId, String)>) = (None, None);
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("testing commit ") {
            let Some(commit) = rest.split_whitespace().next().and_then(|id| id.parse().ok()) else {
                continue;
            };
            let (left, named) = std::mem::take(&mut next);
            let title = named.filter(|(named, _)| *named == commit).map(|(_, title)| title);
            log.tested.push(Tested { title, left, ..Tested::new(commit) });
        } else if let Some((verb, rest)) = git_bisect(line) {
            git_said(&mut log, verb, rest);
        } else if let Some(left) = line.strip_prefix("Bisecting: ") {
            next.0 = left.split_whitespace().next().and_then(|left| left.parse().ok());
        } else if let Some((commit, title)) = bracketed(line) {
            next.1 = Some((commit, title.to_owned()));
        } else if let Some(rest) = line.strip_suffix(" is the first bad commit") {
            log.culprit = rest.parse().ok().or(log.culprit);
        } else if let Some(rest) = line.strip_prefix("first bad commit: ") {
            let commit = rest.split_whitespace().next().and_then(|id| id.parse().ok());
            log.culprit = commit.or(log.culprit);
        } else if let Some(rest) = line.strip_prefix("# first bad commit: ") {
            log.culprit = bracketed(rest).map(|(commit, _)| commit).or(log.culprit);
        } else if line.starts_with("reproducer seems to be flaky") {
            flaky = true;
        } else if let Some(tested) = log.tested.last_mut() {
            tested.line(line, if flaky { 2 * RUNS } else { RUNS });
        }
    }
    match () {
        () if log.tested.is_empty() => Err(ImportError::Empty),
        () if log.bad.is_none() || log.good.is_empty() => Err(ImportError::NoRange),
        () => Ok(log),
    }
}

/// `git bisect VERB ARGUMENTS`, as syzbot and as `git bisect log` write it.
fn git_bisect(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("# ").unwrap_or(line).strip_prefix("git bisect ")?;
    Some(rest.split_once(' ').unwrap_or((rest, "")))
}

/// `[HASH] TITLE`.
fn bracketed(line: &str) -> Option<(CommitId, &str)> {
    let (id, title) = line.strip_prefix('[')?.split_once("] ")?;
    Some((id.parse().ok()?, title))
}

fn git_said(log: &mut BisectLog, verb: &str, rest: &str) {
    let mut ids = rest
        .split_whitespace()
        .filter_map(|id| id.trim_matches('\'').parse::<CommitId>().ok())
        .peekable();
    let word = match verb {
        "start" => {
            log.bad = ids.next().or(log.bad);
            log.good.extend(ids);
            return;
        }
        "bad" | "new" => Word::Bad,
        "good" | "old" => Word::Good,
        "skip" => Word::Skip,
        _ => return,
    };
    for commit in ids {
        if let Some(tested) = log.tested.iter_mut().rev().find(|it| it.commit == commit) {
            tested.word = Some(word);
            continue;
        }
        // In git's own log a word is all there is of a test; the first of each kind is an end.
        let runs = match word {
            Word::Bad => vec![Run::Crashed("bad".into())],
            Word::Good => vec![Run::Ok],
            Word::Skip => vec![Run::TestFailed("skipped".into())],
        };
        log.tested.push(Tested { runs, word: Some(word), ..Tested::new(commit) });
        match word {
            Word::Bad if log.bad.is_none() => log.bad = Some(commit),
            Word::Good if log.good.is_empty() => log.good.push(commit),
            _ => {}
        }
    }
}

impl Tested {
    fn new(commit: CommitId) -> Tested {
        Tested {
            commit,
            title: None,
            signature: None,
            build_failure: None,
            runs: Vec::new(),
            word: None,
            left: None,
        }
    }

    /// A line about this commit.
    fn line(&mut self, line: &str, runs: usize) {
        if let Some(signature) = line.strip_prefix("kernel signature: ") {
            self.signature = Some(signature.to_owned());
        } else if let Some(reason) = line.strip_prefix("failed building ") {
            self.build_failure = Some(reason.to_owned());
        } else if let Some(run) = line.strip_prefix("all runs: ").and_then(Run::parse) {
            self.runs = vec![run; runs];
        } else if let Some(run) = line.strip_prefix("run #").or(line.strip_prefix("try #")) {
            let run = run.split_once(": ").and_then(|(_, run)| Run::parse(run));
            self.runs.extend(run);
        }
    }
}

impl Run {
    fn parse(text: &str) -> Option<Run> {
        let behind = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        let crashed = || behind("crashed: ").or_else(|| behind("kernel crashed: "));
        Some(match text {
            "OK" => Run::Ok,
            _ => crashed()
                .or_else(|| behind("ignore: "))
                .map(Run::Crashed)
                .or_else(|| behind("boot failed: ").map(Run::BootFailed))
                .or_else(|| behind("basic kernel testing failed: ").map(Run::TestFailed))
                .or_else(|| behind("infra problem: ").map(Run::Infra))
                .or_else(|| behind("failed: ").map(Run::Infra))?,
        })
    }
}
