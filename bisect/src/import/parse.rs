//! Reading the logs that syzbot publishes, in the forms it has used since 2018, our own, which are
//! of that form, and `git bisect log`.

use super::{BisectLog, ImportError, Run, Tested, Word};
use crate::history::{CommitId, Find};

/// Runs of a commit where a log says only that all were alike, as long as the bug has not proved
/// flaky; double of it after. Newer logs begin with double.
const RUNS: usize = 10;

/// Reads a log.
///
/// # Errors
/// Fails if nothing is tested in it, or if it lacks the range.
pub fn parse(text: &str) -> Result<BisectLog, ImportError> {
    let mut parser = Parser::default();
    text.lines().for_each(|line| parser.line(line.trim_end()));
    parser.settle();
    let log = parser.log;
    match () {
        () if log.tested.is_empty() => Err(ImportError::Empty),
        () if log.bad.is_none() || log.good.is_empty() => Err(ImportError::NoRange),
        () => Ok(log),
    }
}

#[derive(Default)]
struct Parser {
    log: BisectLog,
    /// Whether it is of a form that begins with twice as many runs.
    newer: bool,
    /// Whether the bug has proved flaky.
    flaky: bool,
    /// Whether the commit is tested again with a smaller configuration.
    minimizing: bool,
    /// Whether the last commit was.
    minimized: bool,
    /// What git has left to test after the next commit.
    left: Option<u32>,
    /// How many runs the next "all runs" stands for, where the log says so.
    runs: Option<usize>,
    /// Whether it records tests of commits, and not only what was made of them.
    records_tests: bool,
    /// What git says of commits in comments before it starts: the ends, which the command that
    /// starts it may call by other names.
    before_start: Vec<(String, CommitId)>,
    /// Words other than "bad" and "good" that git was told to use.
    new_term: Option<String>,
    old_term: Option<String>,
}

impl Parser {
    fn line(&mut self, line: &str) {
        let first_id = |rest: &str| rest.split_whitespace().next().and_then(|id| id.parse().ok());
        if let Some(rest) = line.strip_prefix("testing commit ") {
            let Some(commit) = first_id(rest) else { return };
            self.settle();
            self.records_tests = true;
            self.minimized = self.minimizing;
            let left = self.left.take();
            self.log.tested.push(Tested { left, ..Tested::new(commit) });
        } else if let Some((verb, rest)) = git_bisect(line) {
            self.minimizing = false;
            self.settle();
            self.git_said(verb, rest);
        } else if let Some((commit, title)) = bracketed(line) {
            self.log.titles.insert(commit, title.to_owned());
        } else if let Some(left) = line.strip_prefix("Bisecting: ") {
            self.left = left.split_whitespace().next().and_then(|left| left.parse().ok());
        } else if let Some(rest) = line.strip_suffix(" is the first bad commit") {
            self.log.culprit = rest.parse().ok().or(self.log.culprit);
        } else if let Some((_, rest)) =
            line.strip_prefix("first ").and_then(|rest| rest.split_once(" commit: "))
        {
            self.log.culprit = first_id(rest).or(self.log.culprit);
        } else if let Some(rest) = line.strip_prefix("# ") {
            self.comment(rest);
        } else {
            self.about_the_last(line);
        }
    }

    fn about_the_last(&mut self, line: &str) {
        const AGAIN: [&str; 2] =
            ["check whether we can drop unnecessary instrumentation", "kconfig minimization: "];
        const NO_MORE: [&str; 4] =
            ["testing release ", "testing current HEAD ", "picked ", "determining the merge base "];
        let begins = |with: &[&str]| with.iter().any(|begin| line.starts_with(begin));
        if begins(&AGAIN) {
            self.minimizing = true;
        } else if begins(&NO_MORE) {
            self.minimizing = false;
        } else if line.starts_with("bisecting fixing commit since ") {
            self.log.find = Find::Fix;
        } else if line.starts_with("ensuring issue is reproducible on original commit ") {
            self.newer = true;
        } else if line.starts_with("reproducer seems to be flaky") {
            self.flaky = true;
        }
        let first = self.log.tested.len() == 1;
        let usual = if self.flaky || (self.newer && first) { 2 * RUNS } else { RUNS };
        let runs = self.runs.unwrap_or(usual);
        if let Some(tested) = self.log.tested.last_mut() {
            tested.line(line, runs);
            if line.starts_with("all runs: ") {
                self.runs = None;
            }
        }
    }

    /// What git and our own logs say beside their lines.
    fn comment(&mut self, text: &str) {
        if let Some(target) = text.strip_prefix("target: ") {
            self.log.target = serde_json::from_str(target).ok();
        } else if let Some(runs) = text.strip_prefix("runs: ") {
            self.runs = runs.parse().ok();
        } else if let Some(place) = text.strip_prefix("candidate ") {
            let place = place.split_once(" of ");
            let place = place.and_then(|(at, of)| Some((at.parse().ok()?, of.parse().ok()?)));
            if let Some(tested) = self.log.tested.last_mut() {
                tested.position = place;
            }
        } else if let Some((what, rest)) = text.split_once(": ")
            && let Some((commit, title)) = bracketed(rest)
        {
            self.log.titles.insert(commit, title.to_owned());
            if what.starts_with("first ") {
                self.log.culprit = Some(commit);
            } else if self.log.bad.is_none() {
                self.before_start.push((what.to_owned(), commit));
            }
        }
    }

    /// What there is to say of the last commit, all of whose runs are read.
    fn settle(&mut self) {
        let minimized = std::mem::take(&mut self.minimized);
        if let [.., before, last] = self.log.tested.as_slice()
            && minimized
            && before.commit == last.commit
        {
            // The smaller configuration is kept if the crash still shows with it.
            let shows = last.runs.iter().any(Run::is_crash);
            let dropped = self.log.tested.len() - if shows { 2 } else { 1 };
            self.log.tested.remove(dropped);
        }
        // Older logs say so in a line; newer ones only draw the consequence.
        if let Some(last) = self.log.tested.last().filter(|_| self.newer) {
            let crashes = last.runs.iter().filter(|run| run.is_crash()).count();
            let clean = last.runs.iter().filter(|run| **run == Run::Ok).count();
            self.flaky |= crashes > 1 && crashes < clean;
        }
    }

    fn git_said(&mut self, verb: &str, rest: &str) {
        let words: Vec<&str> =
            rest.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let ids = words.iter().filter_map(|id| id.parse::<CommitId>().ok());
        if verb == "start" {
            let term = |names: [&str; 2]| term(&words, &names);
            self.new_term = term(["--term-new", "--term-bad"]);
            self.old_term = term(["--term-old", "--term-good"]);
            return self.git_starts(ids.collect());
        }
        let Some(word) = self.word(verb) else { return };
        for commit in ids {
            let log = &mut self.log;
            match log.tested.iter_mut().rev().find(|it| it.commit == commit) {
                Some(tested) => {
                    tested.word = Some(word);
                    // Said again, it was tested again.
                    if tested.is_judged_only() {
                        tested.verdicts.push(word);
                    }
                }
                None => log.tested.push(Tested::judged(commit, word)),
            }
            // The first of each kind is an end.
            match word {
                Word::Bad if log.bad.is_none() => log.bad = Some(commit),
                Word::Good if log.good.is_empty() => log.good.push(commit),
                _ => {}
            }
        }
    }

    /// The ends are what the command names or, if that is not by their hashes, what git says of
    /// them before.
    fn git_starts(&mut self, named: Vec<CommitId>) {
        let (mut bad, mut good) = (None, Vec::new());
        for (what, commit) in std::mem::take(&mut self.before_start) {
            match self.word(&what) {
                Some(Word::Bad) => bad = Some(commit),
                Some(Word::Good) => good.push(commit),
                _ => {}
            }
        }
        let mut named = named.into_iter();
        let first = named.next();
        bad = bad.or(first);
        if good.is_empty() {
            good = named.collect();
        }
        // Where a log has only verdicts, that is two of them.
        if !self.records_tests {
            let judged = |word| move |&commit: &CommitId| Tested::judged(commit, word);
            self.log.tested.extend(bad.iter().map(judged(Word::Bad)));
            self.log.tested.extend(good.iter().map(judged(Word::Good)));
        }
        self.log.bad = bad.or(self.log.bad);
        self.log.good.extend(good);
    }

    /// What git is told with a word.
    fn word(&self, word: &str) -> Option<Word> {
        let is = |term: &Option<String>| term.as_deref() == Some(word);
        match word {
            "bad" | "new" => Some(Word::Bad),
            "good" | "old" => Some(Word::Good),
            "skip" => Some(Word::Skip),
            _ if is(&self.new_term) => Some(Word::Bad),
            _ if is(&self.old_term) => Some(Word::Good),
            _ => None,
        }
    }
}

/// `git bisect VERB ARGUMENTS`, as syzbot and as `git bisect log` write it.
fn git_bisect(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("# ").unwrap_or(line).strip_prefix("git bisect ")?;
    Some(rest.split_once(' ').unwrap_or((rest, "")))
}

/// The value of an option that has two names, `--name=value` or `--name value`.
fn term(words: &[&str], names: &[&str]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((*word, None), |(n, v)| (n, Some(v)));
        if names.contains(&name) {
            return value.or(words.next().copied()).map(str::to_owned);
        }
    }
    None
}

/// `[HASH] TITLE`.
fn bracketed(line: &str) -> Option<(CommitId, &str)> {
    let (id, title) = line.strip_prefix('[')?.split_once("] ")?;
    Some((id.parse().ok()?, title))
}

impl Tested {
    fn new(commit: CommitId) -> Tested {
        Tested {
            commit,
            signature: None,
            build_failure: None,
            runs: Vec::new(),
            word: None,
            verdicts: Vec::new(),
            left: None,
            position: None,
        }
    }

    /// One of which git's own log says only this.
    fn judged(commit: CommitId, word: Word) -> Tested {
        Tested { word: Some(word), verdicts: vec![word], ..Tested::new(commit) }
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
    fn is_crash(&self) -> bool {
        matches!(self, Run::Crashed(_) | Run::BootFailed(_))
    }

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
