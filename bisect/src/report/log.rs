//! The log of a bisection in the form that syzbot publishes.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::answer::standing;
use super::{ReportError, Standing};
use crate::history::{CommitText, Find, History, Rev};
use crate::search::Verdict;
use crate::session::{Fold, Tried};
use crate::trial::{Outcome, Target};

/// The log of a bisection in the form that syzbot publishes. `dir` is where the journal is.
///
/// # Errors
/// Fails if a commit, or a report kept beside the journal, can't be read.
pub fn log(
    fold: &Fold,
    verdict: &Verdict,
    history: &History,
    target: &Target,
    dir: &Path,
) -> Result<String, ReportError> {
    let mut log = Log { fold, history, dir, text: String::new() };
    if let Ok(target) = serde_json::to_string(target) {
        log.line(format!("# target: {target}"));
    }
    for (name, dropped) in fold.dropped_baselines() {
        log.line(format!("# baseline {name} not used: {}", dropped.seen));
    }
    if let Some(name) = fold.baseline() {
        log.line(format!("# configuration: the baseline {name}"));
    }
    log.trials()?;
    log.answer(verdict)?;
    Ok(log.text)
}

struct Log<'a> {
    fold: &'a Fold,
    history: &'a History,
    dir: &'a Path,
    text: String,
}

impl Log<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn trials(&mut self) -> Result<(), ReportError> {
        let fold = self.fold;
        let (bad_end, good_ends) = (fold.bad_end().unwrap_or_default(), fold.good_ends());
        self.line(match fold.find() {
            Find::Cause => {
                format!("bisecting cause commit starting from {}", fold.commit(bad_end)?)
            }
            Find::Fix => format!("bisecting fixing commit since {}", fold.commit(bad_end)?),
        });
        let is_tip = |rev: Rev| rev == bad_end || good_ends.contains(&rev);
        let (tips, others): (Vec<&Tried>, Vec<&Tried>) =
            fold.tried_revisions().iter().partition(|tried| is_tip(tried.rev));
        for tip in tips {
            self.revision(tip)?;
        }
        // git's words are about the sought commit: what has the fix is "bad".
        let graph = fold.candidates().graph();
        let newest = graph.bad_tip().unwrap_or_default();
        let mut start = format!("# git bisect start {}", fold.commit(newest)?);
        for &oldest in graph.good_tips() {
            let _ = write!(start, " {}", fold.commit(oldest)?);
        }
        self.line(start);
        for tried in others {
            self.line("");
            self.revision(tried)?;
            let word = match (standing(fold, tried), fold.find()) {
                _ if tried.skipped.is_some() => "skip",
                (Standing::Bad, Find::Cause) | (Standing::Good, Find::Fix) => "bad",
                (Standing::Good, Find::Cause) | (Standing::Bad, Find::Fix) => "good",
                (Standing::Broken | Standing::Untestable | Standing::Unclear, _) => "skip",
            };
            self.line(format!("# git bisect {word} {}", tried.commit));
        }
        Ok(())
    }

    fn revision(&mut self, tried: &Tried) -> Result<(), ReportError> {
        let title = self.history.title(tried.commit)?;
        self.line(format!("[{}] {title}", tried.commit));
        match &tried.image {
            Some(image) => {
                self.line(format!("testing commit {} with {}", tried.commit, image.compiler));
                self.line(format!("kernel signature: {}", image.signature));
            }
            None => self.line(format!("testing commit {}", tried.commit)),
        }
        // Nothing else in the log says where it is; git's own bisection would have counted.
        let candidates = self.fold.candidates();
        if candidates.graph().is_candidate(tried.rev) {
            self.line(format!("# candidate {} of {}", tried.rev + 1, candidates.len()));
        }
        if let Some(reason) = &tried.build_failure {
            self.line(format!("failed building {}: {reason}", tried.commit));
        }
        let same = self.fold.same_image(tried.rev);
        if let Some(other) = same.iter().find(|other| !other.trials.is_empty())
            && tried.trials.is_empty()
        {
            self.line(format!("same kernel signature as {}, tested there", other.commit));
        }
        let runs: Vec<String> =
            tried.trials.iter().map(|trial| run(&trial.outcome, trial.boot)).collect();
        match runs.split_first() {
            None => {}
            Some((first, others)) if others.iter().all(|other| other == first) => {
                self.line(format!("# runs: {}", runs.len()));
                self.line(format!("all runs: {first}"));
            }
            Some(_) => {
                for (number, run) in runs.iter().enumerate() {
                    self.line(format!("run #{number}: {run}"));
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, verdict: &Verdict) -> Result<(), ReportError> {
        match verdict {
            Verdict::Culprit { rev, .. } => self.culprit(*rev)?,
            Verdict::Undecided { remaining, .. } => {
                self.totals();
                let word = self.word();
                self.line(format!(
                    "bisection is inconclusive, the first {word} commit could be any of:"
                ));
                for &(rev, _) in remaining {
                    let commit = self.fold.commit(rev)?;
                    self.line(commit.to_string());
                }
            }
            Verdict::GoodTipUntestable => {
                self.totals();
                self.line("error: the oldest tested release can't be built, booted or tested");
            }
            Verdict::NotReproduced | Verdict::BadTipUntestable => {
                self.totals();
                self.line("error: the crash wasn't reproduced on the original commit");
            }
            Verdict::GoodTipBad { .. } => {
                self.totals();
                self.line(match self.fold.find() {
                    Find::Cause => "crash still happens on the oldest tested release",
                    Find::Fix => "crash still not fixed",
                });
            }
        }
        Ok(())
    }

    fn culprit(&mut self, rev: Rev) -> Result<(), ReportError> {
        let (fold, commit) = (self.fold, self.fold.commit(rev)?);
        let text = self.history.text(commit)?;
        // git's word, for a fix too.
        self.line(format!("{commit} is the first bad commit"));
        self.line(format!("commit {commit}"));
        self.show(&text);
        let signature = |rev| {
            fold.of(rev).and_then(|tried| tried.image.as_ref()).map(|it| it.signature.clone())
        };
        if let Some(signature) = signature(rev) {
            self.line(format!("culprit signature: {signature}"));
        }
        for &parent in fold.candidates().graph().parents(rev) {
            if let Some(signature) = signature(parent) {
                self.line(format!("parent  signature: {signature}"));
            }
        }
        let rate = fold.belief().hit_rate().mean;
        if rate < 0.9 {
            self.line(format!("reproducer is flaky ({rate:.2} repro chance estimate)"));
        }
        self.totals();
        let probability = fold.belief().probability(rev);
        self.line(format!("accumulated error probability: {:.2}", 1.0 - probability));
        self.line(format!("first {} commit: {commit} {}", self.word(), text.title));
        self.crash(rev)
    }

    /// What the sought commit is called in the end.
    fn word(&self) -> &'static str {
        match self.fold.find() {
            Find::Cause => "bad",
            Find::Fix => "good",
        }
    }

    /// What `git show --stat` prints below the first line.
    fn show(&mut self, text: &CommitText) {
        if !text.merged.is_empty() {
            let parents: Vec<String> = text.merged.iter().map(|id| id.short()).collect();
            self.line(format!("Merge: {}", parents.join(" ")));
        }
        self.line(format!("Author: {}", text.author));
        self.line(format!("Date:   {}", date(text.date)));
        self.line("");
        for line in text.message.trim_end().lines() {
            self.line(format!("    {line}"));
        }
        self.line("");
        self.line(&text.diffstat);
    }

    fn totals(&mut self) {
        let (build, test) = self.fold.times();
        let tested = self.fold.tried_revisions().len();
        self.line(format!(
            "revisions tested: {tested}, total time: {} (build: {}, test: {})",
            go_duration(build + test),
            go_duration(build),
            go_duration(test),
        ));
    }

    /// The crash as the culprit showed it, or as any other revision did.
    fn crash(&mut self, rev: Rev) -> Result<(), ReportError> {
        let of_culprit = self.fold.of(rev).into_iter();
        let hits = of_culprit.chain(self.fold.tried_revisions()).flat_map(|tried| &tried.trials);
        let mut hits = hits.filter_map(|trial| match &trial.outcome {
            Outcome::Hit { title } => Some((title, &trial.report)),
            _ => None,
        });
        let Some((title, report)) = hits.next() else { return Ok(()) };
        self.line(format!("crash: {title}"));
        if let Some(report) = report {
            let path = self.dir.join(report);
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ReportError::File { path, source })?;
            self.line(text.trim_end());
        }
        Ok(())
    }
}

/// One run, in syzbot's words.
fn run(outcome: &Outcome, boot: bool) -> String {
    match outcome {
        Outcome::Clean => "OK".into(),
        Outcome::Hit { title } | Outcome::Foreign { title } | Outcome::Hang { title } => match boot
        {
            true => format!("boot failed: {title}"),
            false => format!("crashed: {title}"),
        },
        Outcome::NoBoot { reason } => format!("boot failed: {reason}"),
        Outcome::Invalid { reason } => format!("basic kernel testing failed: {reason}"),
        Outcome::Infra { reason } => format!("infra problem: {reason}"),
    }
}

/// A date as git prints it: `Tue Feb 9 09:30:03 2021 +0100`.
fn date((seconds, minutes_east): (i64, i32)) -> String {
    let offset = Offset::from_seconds(minutes_east.saturating_mul(60)).unwrap_or(Offset::UTC);
    let stamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let zoned = stamp.to_zoned(TimeZone::fixed(offset));
    zoned.strftime("%a %b %-d %H:%M:%S %Y %z").to_string()
}

/// A duration as Go prints it: `4h30m54.686s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let mut text = String::new();
    if seconds >= 3600 {
        let _ = write!(text, "{}h", seconds / 3600);
    }
    if seconds >= 60 {
        let _ = write!(text, "{}m", seconds / 60 % 60);
    }
    let rest = f64::from(u32::try_from(seconds % 60).unwrap_or(0))
        + f64::from(duration.subsec_millis()) / 1e3;
    let _ = write!(text, "{rest}s");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{date, go_duration, run};
    use crate::trial::Outcome;

    #[test]
    fn dates_and_durations_as_git_and_go_print_them() {
        assert_eq!(date((1_612_859_403, 60)), "Tue Feb 9 09:30:03 2021 +0100");
        assert_eq!(go_duration(Duration::from_millis(16_254_687)), "4h30m54.687s");
        assert_eq!(go_duration(Duration::from_secs(3600)), "1h0m0s");
        assert_eq!(go_duration(Duration::from_millis(5)), "0.005s");
    }

    #[test]
    fn runs_in_syzbots_words() {
        let hit = Outcome::Hit { title: "WARNING in kvm_wait".into() };
        assert_eq!(run(&hit, false), "crashed: WARNING in kvm_wait");
        assert_eq!(run(&hit, true), "boot failed: WARNING in kvm_wait");
        assert_eq!(run(&Outcome::Clean, false), "OK");
    }
}
