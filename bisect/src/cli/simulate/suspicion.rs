//! What a suspicion is worth, by how likely it is to be right.

use serde::Serialize;
use vmbisect::cancel::Cancel;
use vmbisect::simulate::{Rule, Score, Setting, SimulateError, Suspicion, simulate};

use crate::cli::Output;

/// Probabilities of a right suspicion that have a line of their own.
const PROBABILITIES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// What a suspicion is worth to our own rule.
///
/// Histories in which it is right and those in which it is wrong have each a mean of their own, and
/// what it comes to at any probability lies between the two.
#[derive(Debug, Serialize)]
pub(super) struct Worth {
    /// Share of the commits that are suspected.
    share: f64,
    /// Nobody is suspected.
    without: Score,
    /// The culprit is not among those suspected.
    wrong: Score,
    /// It is.
    right: Score,
    /// The probability of being right from which on it saves hours; absent if it never does.
    saves_hours_from: Option<f64>,
}

impl Worth {
    /// Finds it out, in the histories of the setting; `None` where it suspects nobody or was
    /// interrupted.
    pub(super) fn find(
        setting: &Setting,
        histories: u64,
        jobs: usize,
        cancel: &Cancel,
        on_done: &mut dyn FnMut(&str, u64),
    ) -> Result<Option<Worth>, SimulateError> {
        let Some(Suspicion { share, .. }) = setting.suspicion else { return Ok(None) };
        let mut score = |what, suspicion| {
            let setting = Setting { suspicion, ..setting.clone() };
            let mut done = |done| on_done(what, done);
            let scores = simulate(&setting, &[Rule::Ours], histories, jobs, cancel, &mut done)?;
            Ok(scores.into_iter().next())
        };
        let without = score(", without a suspicion", None)?;
        let wrong = score(", with a wrong suspicion", Some(Suspicion { share, right: 0.0 }))?;
        let right = score(", with a right suspicion", Some(Suspicion { share, right: 1.0 }))?;
        let (Some(without), Some(wrong), Some(right), false) =
            (without, wrong, right, cancel.is_cancelled())
        else {
            return Ok(None);
        };
        let saves_hours_from = break_even(without.hours, wrong.hours, right.hours);
        Ok(Some(Worth { share, without, wrong, right, saves_hours_from }))
    }

    pub(super) fn print(&self, output: &Output) {
        output.line(format!(
            "ours, if {} % of the commits are suspected, by the probability that the culprit is one:",
            100.0 * self.share
        ));
        output.line("                   right   wrong   trials  builds    hours");
        let line = |name: &str, [right, wrong, trials, builds, hours]: [f64; 5]| {
            output.line(format!(
                "{name:<17} {right:>5.1} % {wrong:>5.1} % {trials:>8.1} {builds:>7.1} {hours:>8.2}"
            ));
        };
        line("nobody suspected", means(&self.without));
        let (wrong, right) = (means(&self.wrong), means(&self.right));
        for at in PROBABILITIES {
            let between = |n: usize| (1.0 - at) * wrong[n] + at * right[n];
            line(&format!("{} %", 100.0 * at), std::array::from_fn(between));
        }
        output.line(match self.saves_hours_from {
            Some(from) => format!("it saves hours if it is right in {:.0} % or more", 100.0 * from),
            None => "it saves no hours, even if it is right".into(),
        });
    }
}

/// Per cent of the histories that were right and wrong, then trials, builds and hours.
fn means(score: &Score) -> [f64; 5] {
    let share = |part: u64| 100.0 * part as f64 / score.histories.max(1) as f64;
    [share(score.right), share(score.wrong), score.trials, score.builds, score.hours]
}

/// The probability of being right from which on hours are saved.
fn break_even(without: f64, wrong: f64, right: f64) -> Option<f64> {
    match () {
        () if right >= without => None,
        () if wrong <= without => Some(0.0),
        () => Some((wrong - without) / (wrong - right)),
    }
}

#[cfg(test)]
mod tests {
    use super::break_even;

    #[test]
    fn what_is_gained_when_right_pays_for_what_is_lost_when_wrong() {
        assert_eq!(break_even(2.0, 3.0, 1.0), Some(0.5));
        assert_eq!(break_even(2.0, 2.5, 0.5), Some(0.25));
        assert_eq!(break_even(2.0, 1.9, 1.0), Some(0.0));
        assert_eq!(break_even(2.0, 3.0, 2.0), None);
    }
}
