//! syzkaller's rules: a fixed number of runs a revision, thresholds on what they show, and
//! `git bisect` over the verdicts.
//!
//! The range is taken as given; syzkaller finds its good end by walking down the release tags.

use super::Answer;
use super::git_bisect::{Halving, Pick};
use crate::cancel::Cancel;
use crate::history::Rev;
use crate::simulate::world::{Counts, Lab};

/// Runs of a revision, and of the first or, once the bug proved flaky, of every one.
const RUNS: u32 = 10;
const RUNS_IF_FLAKY: u32 = 20;

/// Confidence below which a result is not published.
const PUBLISHED: f64 = 0.66;

/// Which of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Any crash is bad.
    Of2021,
    /// Thresholds, since July 2024.
    Of2024,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Good,
    Bad,
    Skip,
}

/// The verdict on a revision. Crashes are not compared, so all of them count.
fn verdict(era: Era, seen: Counts, flaky: bool) -> Word {
    let (bad, good) = (seen.hits + seen.foreign, seen.clean);
    let total = bad + good;
    let enough = if flaky { total * 3 / 4 } else { total / 2 };
    match era {
        Era::Of2021 if bad > 0 => Word::Bad,
        Era::Of2021 if good > 0 => Word::Good,
        Era::Of2024 if bad == 0 && good >= enough => Word::Good,
        Era::Of2024 if bad >= (total / 6).max(2) => Word::Bad,
        _ => Word::Skip,
    }
}

struct Rule<'a, 'b> {
    era: Era,
    lab: &'a mut Lab<'b>,
    flaky: bool,
    repro_chance: f64,
    confidence: f64,
}

impl Rule<'_, '_> {
    fn test(&mut self, rev: Rev, first: bool) -> Word {
        if !self.lab.build(rev) {
            return Word::Skip;
        }
        let runs = if self.flaky || first { RUNS_IF_FLAKY } else { RUNS };
        let seen = self.lab.run(rev, runs);
        let word = verdict(self.era, seen, self.flaky);
        let bad_ratio = f64::from(runs - seen.clean) / f64::from(runs);
        match word {
            Word::Bad if first => self.repro_chance = bad_ratio,
            Word::Bad => {
                let updated = f64::midpoint(self.repro_chance, bad_ratio);
                self.repro_chance = self.repro_chance.min(updated);
            }
            Word::Good => {
                let missed = (1.0 - self.repro_chance).powi(seen.clean.try_into().unwrap_or(0));
                self.confidence *= 1.0 - missed;
            }
            Word::Skip => {}
        }
        self.flaky |= word == Word::Bad && bad_ratio < 0.5;
        word
    }
}

pub(super) fn follow(lab: &mut Lab<'_>, era: Era, cancel: &Cancel) -> Option<Answer> {
    let graph = lab.world.graph.clone();
    let Some(mut halving) = Halving::new(&graph) else { return Some(Answer::default()) };
    let mut rule = Rule { era, lab, flaky: false, repro_chance: 1.0, confidence: 1.0 };
    let tip = graph.bad_tip().unwrap_or_default();
    if rule.test(tip, true) != Word::Bad {
        // The crash was not reproduced.
        return Some(Answer::default());
    }
    loop {
        if cancel.is_cancelled() {
            return None;
        }
        let rev = match halving.pick() {
            Pick::Test(rev) => rev,
            Pick::Found(rev) => {
                let published = era == Era::Of2021 || rule.confidence >= PUBLISHED;
                return Some(Answer { named: published.then_some(rev), claim: None });
            }
            Pick::OnlySkipped => return Some(Answer::default()),
        };
        match rule.test(rev, false) {
            Word::Good => halving.good(rev),
            Word::Bad => halving.bad(rev),
            Word::Skip => halving.skip(rev),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Era, Word, verdict};

    #[test]
    fn one_crash_of_ten_was_bad_and_is_skipped() {
        let seen = |hits, clean, foreign| Counts { hits, clean, foreign };
        assert_eq!(verdict(Era::Of2021, seen(1, 9, 0), false), Word::Bad);
        assert_eq!(verdict(Era::Of2024, seen(1, 9, 0), false), Word::Skip);
        assert_eq!(verdict(Era::Of2024, seen(2, 8, 0), false), Word::Bad);
        assert_eq!(verdict(Era::Of2024, seen(2, 18, 0), true), Word::Skip);
        assert_eq!(verdict(Era::Of2024, seen(1, 17, 2), true), Word::Bad);
        assert_eq!(verdict(Era::Of2024, seen(0, 20, 0), true), Word::Good);
    }
}
