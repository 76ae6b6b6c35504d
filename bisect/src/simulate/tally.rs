//! How a rule did, over many histories.

use serde::Serialize;

use super::Rule;
use super::rules::Answer;
use super::world::Lab;

/// What one rule came to in one history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    named: Option<bool>,
    claim: Option<(f64, bool)>,
    trials: u64,
    at_bad_tip: u32,
    builds: u64,
    seconds: f64,
}

impl Outcome {
    pub(super) fn new(answer: Answer, lab: &Lab<'_>) -> Outcome {
        let is_right = |rev| rev == lab.world.culprit;
        Outcome {
            named: answer.named.map(is_right),
            claim: answer.claim.map(|(rev, probability)| (probability, is_right(rev))),
            trials: lab.trials,
            at_bad_tip: lab.world.graph.bad_tip().map_or(0, |tip| lab.trials_of(tip)),
            builds: lab.builds(),
            seconds: lab.seconds,
        }
    }
}

/// How one rule did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The rule.
    pub rule: Rule,
    /// Histories in which it was followed to the end.
    pub histories: u64,
    /// Histories in which it named the culprit.
    pub right: u64,
    /// Histories in which it named another commit.
    pub wrong: u64,
    /// Histories in which it named none.
    pub unanswered: u64,
    /// Trials a history, in the mean.
    pub trials: f64,
    /// How many of them are of the bad tip, where the rate is learned that the bug shows at.
    pub at_bad_tip: f64,
    /// Builds a history, failed ones among them, in the mean.
    pub builds: f64,
    /// Hours a history, in the mean: builds one after the other, trials as many at a time as there
    /// are machines.
    pub hours: f64,
    /// Hours that one history in ten exceeds.
    pub hours_90: f64,
    /// Claimed probability against truth; empty for rules that claim none.
    pub reliability: Vec<Reliability>,
}

/// How often claims of about the same probability are true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Claims from this probability on,
    pub from: f64,
    /// and below this one.
    pub to: f64,
    /// How many there were.
    pub claims: u64,
    /// What they claimed, in the mean.
    pub claimed: f64,
    /// The share of them that was right.
    pub actual: f64,
}

/// Limits of the rows of a reliability table.
const EDGES: [f64; 8] = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.01];

impl Reliability {
    /// The same table for several settings together: claims add up, the rest are means.
    pub fn together<'a>(tables: impl IntoIterator<Item = &'a Reliability>) -> Vec<Reliability> {
        let mut sums: Vec<Reliability> = Vec::new();
        for row in tables {
            match sums.iter_mut().find(|sum| sum.from == row.from) {
                Some(sum) => {
                    let (old, new) = (sum.claims as f64, row.claims as f64);
                    let mean = |a: f64, b: f64| (a * old + b * new) / (old + new);
                    sum.claimed = mean(sum.claimed, row.claimed);
                    sum.actual = mean(sum.actual, row.actual);
                    sum.claims += row.claims;
                }
                None => sums.push(*row),
            }
        }
        sums.sort_by(|a, b| a.from.total_cmp(&b.from));
        sums
    }

    /// All rows of a table as one; `None` if it has none.
    pub fn in_all<'a>(table: impl IntoIterator<Item = &'a Reliability>) -> Option<Reliability> {
        let whole = table.into_iter().map(|row| Reliability { from: 0.0, to: 1.0, ..*row });
        Reliability::together(&whole.collect::<Vec<_>>()).pop()
    }

    /// Whether what was claimed is off the truth by more than 2 points, and by more than two
    /// standard deviations of so many claims that are true as often as claimed.
    pub fn is_off(&self) -> bool {
        let chance = (self.claimed * (1.0 - self.claimed) / self.claims.max(1) as f64).sqrt();
        (self.claimed - self.actual).abs() > f64::max(0.02, 2.0 * chance)
    }
}

impl Score {
    /// Sums up. The order of `results` does not depend on the machine, so the sums don't either.
    pub(super) fn new(rule: Rule, results: &[Outcome]) -> Score {
        let histories = results.len() as u64;
        let count = |named| results.iter().filter(|result| result.named == named).count() as u64;
        let mean = |of: &dyn Fn(&Outcome) -> f64| {
            results.iter().map(of).sum::<f64>() / results.len().max(1) as f64
        };
        let mut seconds: Vec<f64> = results.iter().map(|result| result.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        Score {
            rule,
            histories,
            right: count(Some(true)),
            wrong: count(Some(false)),
            unanswered: count(None),
            trials: mean(&|result| result.trials as f64),
            at_bad_tip: mean(&|result| f64::from(result.at_bad_tip)),
            builds: mean(&|result| result.builds as f64),
            hours: mean(&|result| result.seconds / 3600.0),
            hours_90: seconds.get(results.len() * 9 / 10).map_or(0.0, |seconds| seconds / 3600.0),
            reliability: reliability(results),
        }
    }
}

fn reliability(results: &[Outcome]) -> Vec<Reliability> {
    let row = |edges: &[f64]| {
        let [from, to] = edges else { return None };
        let claims: Vec<(f64, bool)> = results
            .iter()
            .filter_map(|result| result.claim)
            .filter(|(claimed, _)| (*from..*to).contains(claimed))
            .collect();
        let n = claims.len() as f64;
        (!claims.is_empty()).then(|| Reliability {
            from: *from,
            to: to.min(1.0),
            claims: claims.len() as u64,
            claimed: claims.iter().map(|(claimed, _)| claimed).sum::<f64>() / n,
            actual: claims.iter().filter(|(_, right)| *right).count() as f64 / n,
        })
    };
    EDGES.windows(2).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Reliability, Score};
    use crate::simulate::Rule;

    #[test]
    fn claims_are_held_against_the_truth() {
        let result = |claimed, right, seconds| Outcome {
            named: (claimed >= 0.95).then_some(right),
            claim: Some((claimed, right)),
            trials: 10,
            at_bad_tip: 4,
            builds: 2,
            seconds,
        };
        let results =
            [result(0.96, true, 3600.0), result(0.97, false, 7200.0), result(0.6, true, 0.0)];
        let score = Score::new(Rule::Ours, &results);
        assert_eq!((score.right, score.wrong, score.unanswered), (1, 1, 1));
        assert_eq!((score.hours, score.hours_90), (1.0, 2.0));
        assert_eq!(score.reliability.len(), 2);
        let row = score.reliability[1];
        assert_eq!((row.from, row.claims, row.actual), (0.95, 2, 0.5));
        assert!((row.claimed - 0.965).abs() < 1e-12);
        let twice = Reliability::together(score.reliability.iter().chain(&score.reliability));
        assert_eq!((twice.len(), twice[1].claims, twice[1].actual), (2, 4, 0.5));
        let all = Reliability::in_all(&score.reliability).unwrap();
        assert_eq!((all.claims, all.actual), (3, 2.0 / 3.0));
        assert!((all.claimed - (0.96 + 0.97 + 0.6) / 3.0).abs() < 1e-12);
        assert_eq!(Reliability::in_all(&[]), None);
    }

    #[test]
    fn what_is_off_is_told_from_chance() {
        let row =
            |claims, claimed, actual| Reliability { from: 0.0, to: 1.0, claims, claimed, actual };
        assert!(row(200, 0.97, 0.92).is_off());
        assert!(row(200, 0.90, 0.98).is_off());
        assert!(!row(20, 0.97, 0.92).is_off());
        assert!(!row(10_000, 0.97, 0.955).is_off());
    }
}
