//! What follows from the evidence, for people.

use std::collections::BTreeMap;

use vmbisect::history::Find;
use vmbisect::import::Word;
use vmbisect::report::{describe, percent};

use super::evidence::Order;
use super::replayed::{Remaining, Replayed};
use crate::cli::Output;

impl Replayed {
    pub(super) fn print(&self, output: &Output) {
        let order = match self.order {
            Order::Repository => "",
            Order::Stated => {
                ", in the order that the log states; if there are merges among them, --repo DIR \
                 knows better"
            }
            Order::Implied if !self.counted => " at least, as the log does not count the others",
            Order::Implied => ", by number and order as the log implies",
        };
        output.line(format!("{} candidates{order}", self.candidates));
        let target = self.target.as_ref().map(describe);
        let target = target.unwrap_or_else(|| "what the verdicts are about".into());
        output.line(format!("looking for: {target}"));
        if let Some(trials) = self.verdict_trials {
            output.line(format!(
                "verdicts without runs: each counts as {trials} trials (--verdict-trials), so that \
                 it may be wrong"
            ));
        }
        output.line("");
        self.print_tested(output);
        output.line("");
        let what = match self.find {
            Find::Cause => "culprit",
            Find::Fix => "fix",
        };
        match (&self.named, &self.why_not) {
            (Some(commit), _) => {
                let probability = percent(commit.probability);
                output.line(format!("{what}: {} at {probability}", named(commit)));
                for parent in &self.unconfirmed {
                    let parent = parent.short();
                    output.line(format!("its parent {parent} could not be tested"));
                }
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                output.line(format!("no {what} can be named: {why}"));
            }
        }
        if let Some(blamed) = &self.blamed {
            let probability = percent(blamed.probability);
            output.line(format!("recorded {what}: {} at {probability}", named(blamed)));
        }
        if self.counted {
            self.print_remaining(output);
        }
        self.print_foreign(output);
        for line in vmbisect::report::doubts(&self.contradictions) {
            output.line(line);
        }
        for conflict in &self.conflicts {
            output.line(conflict.describe());
        }
        if self.order == Order::Stated && self.tested.iter().any(|tested| tested.contradicts) {
            output.line(
                "The log has its commits in one line. Where branches were merged, that alone can \
                 contradict the record: replay it with --repo DIR.",
            );
        }
        output.line(format!("next: {}", self.next));
    }

    fn print_tested(&self, output: &Output) {
        output.line("commit        recorded   hits  trials  has the bug");
        for tested in &self.tested {
            let word = match tested.recorded {
                Some(Word::Bad) => "bad",
                Some(Word::Good) => "good",
                Some(Word::Skip) => "skip",
                None => "",
            };
            let foreign: u32 = tested.foreign.values().sum();
            let (hits, trials) = match tested.judged {
                true => ("-".into(), "-".into()),
                false => (tested.hits.to_string(), tested.trials.to_string()),
            };
            output.line(format!(
                "{}  {word:<9}  {hits:>4}  {trials:>6}  {:>11}{}{}{}",
                tested.commit.short(),
                percent(tested.probability_bad),
                match (tested.contradicts, tested.judged) {
                    (true, true) => "  AT ODDS WITH OTHER VERDICTS",
                    (true, false) => "  CONTRADICTS THE RECORD",
                    (false, _) => "",
                },
                if foreign > 0 { format!("  ({foreign} told nothing)") } else { String::new() },
                if tested.build_failure.is_some() { "  (does not build)" } else { "" },
            ));
        }
    }

    fn print_remaining(&self, output: &Output) {
        let others = &self.unnamed_remaining;
        output.line(match self.remaining.len() + others.commits {
            1 => "1 commit remains:".to_owned(),
            commits => format!("{commits} commits remain:"),
        });
        for remaining in &self.remaining {
            output.line(format!("  {:>8}  {}", percent(remaining.probability), named(remaining)));
        }
        if others.commits > 0 {
            output.line(format!(
                "  {:>8}  {} others, together",
                percent(others.probability),
                others.commits
            ));
        }
        output.line(format!("  {:>8}  none of the candidates", percent(self.outside)));
    }

    /// What came first instead, and how often by revision.
    fn print_foreign(&self, output: &Output) {
        let mut useless: BTreeMap<&str, u32> = BTreeMap::new();
        for (what, count) in self.tested.iter().flat_map(|tested| &tested.foreign) {
            *useless.entry(what).or_insert(0) += count;
        }
        if useless.is_empty() {
            return;
        }
        output.line("seen and not blamed on anyone:");
        for (what, count) in useless {
            output.line(format!("  {count:>4} x {what}"));
            let title = self.titles.iter().find(|title| title.title == what && !title.target);
            for seen in title.iter().flat_map(|title| &title.seen) {
                let (commit, trials, of) = (seen.commit.short(), seen.trials, seen.of);
                output.line(format!("         {commit}: {trials} of {of} trials"));
            }
        }
    }
}

fn named(commit: &Remaining) -> String {
    match &commit.title {
        Some(title) => format!("{} {title}", commit.commit.short()),
        None => commit.commit.short(),
    }
}
