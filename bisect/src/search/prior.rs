//! What is thought of the candidates before the first trial.

use crate::history::Rev;

/// Share of the belief that is spread evenly whatever the user suspects. It bounds what a wrong
/// suspicion costs, at log2(1 / 0.05) = 4.3 bits, and so what it can spoil.
const EVEN: f64 = 0.05;

/// The share of the probability that the commits hold that touch files of the crash. Where they are
/// one in fifty, that is 4.6 bits if the culprit is among them, and -1 if it is not.
///
/// It is chosen, not measured: it is right where a culprit touches such a file in half of the cases,
/// which could be counted over the `Fixes:` tags of a history. What it is worth at any such
/// probability is told by `vmbisect simulate --rule ours --suspects 0.02`.
pub(crate) const SUSPECTED: f64 = 0.5;

/// How likely each candidate is to be the culprit, before the first trial: even by default, then
/// as the user, or the crash itself, points at some of them.
///
/// A good hint saves log2(probability * candidates) bits, each worth about one build. A bad one costs
/// time, and makes a wrong name likelier, though every candidate keeps a share.
///
/// ```
/// use vmbisect::search::Prior;
///
/// let mut prior = Prior::even(1000);
/// prior.hold([3, 5, 7], 0.8); // they touch net/, and so four in five that do break it
/// prior.weigh(7, 100.0); // and somebody suspects this one
/// let probabilities = prior.probabilities();
/// assert!(probabilities[7] > probabilities[3] && probabilities[3] > probabilities[0]);
/// assert!(probabilities[0] > 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    weights: Vec<f64>,
}

impl Prior {
    /// Every candidate is as likely as any other.
    pub fn even(candidates: usize) -> Prior {
        Prior { weights: vec![1.0; candidates] }
    }

    /// Makes one candidate `factor` times as likely as it was, relative to the others. Of a factor
    /// that is not a positive number nothing comes.
    pub fn weigh(&mut self, rev: Rev, factor: f64) {
        if factor > 0.0
            && factor.is_finite()
            && let Some(weight) = self.weights.get_mut(rev as usize)
        {
            *weight = (*weight * factor).clamp(1e-100, 1e100);
        }
    }

    /// Lets these candidates, among themselves as they were, hold this share of the probability,
    /// from 0 to 1; more, if they have more already. Where they are none or all, nothing changes.
    pub fn hold(&mut self, revs: impl IntoIterator<Item = Rev>, share: f64) {
        let mut chosen = vec![false; self.weights.len()];
        for rev in revs {
            if let Some(chosen) = chosen.get_mut(rev as usize) {
                *chosen = true;
            }
        }
        let (mut inside, mut outside) = (0.0, 0.0);
        for (weight, &chosen) in self.weights.iter().zip(&chosen) {
            *if chosen { &mut inside } else { &mut outside } += weight;
        }
        // What is left to the others is never nothing.
        let odds = share.clamp(0.0, 1.0) / (1.0 - share.clamp(0.0, 1.0)).max(1e-6);
        let factor = odds * outside / inside;
        if factor.is_finite() && factor > 1.0 {
            for (weight, _) in self.weights.iter_mut().zip(chosen).filter(|(_, chosen)| *chosen) {
                *weight *= factor;
            }
        }
    }

    /// The probability of each candidate; together 1.
    pub fn probabilities(&self) -> Vec<f64> {
        let even = 1.0 / self.weights.len().max(1) as f64;
        // An even prior stays exactly even: equals are told apart by their number, not by rounding.
        if self.weights.iter().all(|&weight| weight == 1.0) {
            return vec![even; self.weights.len()];
        }
        let total: f64 = self.weights.iter().sum();
        self.weights.iter().map(|w| EVEN * even + (1.0 - EVEN) * w / total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Prior;

    #[test]
    fn nobody_is_ruled_out_and_the_whole_is_one() {
        let mut prior = Prior::even(10);
        assert_eq!(prior.probabilities(), [0.1; 10]);
        prior.hold([1, 2, 99], 1.0);
        prior.weigh(1, 1e300);
        prior.weigh(1, 1e300);
        prior.weigh(3, 0.0);
        prior.weigh(3, f64::NAN);
        let probabilities = prior.probabilities();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(probabilities.iter().all(|&p| p >= 0.005), "{probabilities:?}");
        assert!(probabilities[1] > 0.9);
    }

    #[test]
    fn some_hold_the_share_asked_for_and_never_less_than_before() {
        let mut prior = Prior::even(100);
        prior.hold([0, 1], 0.5);
        let share = |prior: &Prior| prior.probabilities()[..2].iter().sum::<f64>();
        assert!((share(&prior) - (0.95 * 0.5 + 0.05 * 0.02)).abs() < 1e-9);
        let before = prior.clone();
        prior.hold([0, 1], 0.1);
        prior.hold([], 0.9);
        prior.hold(0..100, 0.9);
        assert_eq!(prior, before);
    }
}
