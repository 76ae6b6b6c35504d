//! Hypotheses that make the same known revisions bad, and what the trials say of them.

use super::evidence::{Evidence, Group, Known, Likelihood};
use super::rates::{FALSE_POINTS, HIT_POINTS, Rates, Tally};

/// Hypotheses that make the same known revisions bad.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// By known revision, whether it is bad.
    pub(super) bad: Vec<bool>,
    /// Logarithm of the likelihood of all trials.
    pub(super) ln_likelihood: f64,
    /// Posterior mass of all of its hypotheses.
    pub(super) mass: f64,
    /// By how much the posterior of each of them exceeds its prior.
    pub(super) factor: f64,
    /// Posterior over the grids of hit rates and of false rates.
    pub(super) hit: [f64; HIT_POINTS],
    pub(super) false_: [f64; FALSE_POINTS],
}

impl Class {
    /// The class of all hypotheses, while nothing is known.
    pub(super) fn of_all() -> Class {
        Class {
            bad: Vec::new(),
            ln_likelihood: 0.0,
            mass: 1.0,
            factor: 1.0,
            hit: [0.0; HIT_POINTS],
            false_: [0.0; FALSE_POINTS],
        }
    }

    /// Whether it makes a known revision bad.
    pub(super) fn is_bad(&self, known: usize) -> bool {
        self.bad.get(known).copied().unwrap_or(false)
    }

    /// Whether all of a group are bad, or all good; `None` if they differ.
    fn uniform(&self, group: &Group) -> Option<bool> {
        let mut bad = group.members.iter().map(|&member| self.is_bad(member));
        let first = bad.next().unwrap_or(false);
        bad.all(|bad| bad == first).then_some(first)
    }

    /// The trials that bear on a known revision, and what they say: those of all with its image,
    /// unless the class tells them apart.
    pub(super) fn bearing<'a>(
        &self,
        evidence: &'a Evidence,
        known: &'a Known,
    ) -> (Tally, &'a Likelihood) {
        match evidence.groups.get(known.group) {
            Some(group) if self.uniform(group).is_some() => (group.tally, &group.likelihood),
            _ => (known.tally, &known.likelihood),
        }
    }

    /// How likely trials are of a revision that follows the rates that all trials tell: if it has the
    /// bug, and if it has not. Both are relative to the same.
    pub(super) fn odds_of(&self, rates: &Rates, tally: Tally) -> (f64, f64) {
        let (if_bad, if_good) =
            (rates.ln_plain(&rates.hit, tally), rates.ln_plain(&rates.false_, tally));
        let highest = if_bad.iter().chain(&if_good).copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = |ln: &[f64], masses: &[f64]| -> f64 {
            ln.iter().zip(masses).map(|(ln, mass)| mass * (ln - highest).exp()).sum()
        };
        (sum(&if_bad, &self.hit), sum(&if_good, &self.false_))
    }

    /// Works out the likelihood of all trials, and the posterior over both rates. `ln_lie` is the
    /// price of telling revisions of one image apart.
    pub(super) fn weigh(&mut self, rates: &Rates, evidence: &Evidence, ln_lie: f64) {
        let mut constant = 0.0;
        let (mut hit, mut false_) = ([0.0; HIT_POINTS], [0.0; FALSE_POINTS]);
        let mut take = |bad: bool, of: &Likelihood| match bad {
            true => hit.iter_mut().zip(&of.if_bad.ln).for_each(|(sum, more)| *sum += more),
            false => false_.iter_mut().zip(&of.if_good.ln).for_each(|(sum, more)| *sum += more),
        };
        let tells = |group: &&Group| group.tally.trials() > 0 || group.members.len() > 1;
        for group in evidence.groups.iter().filter(tells) {
            if let Some(bad) = self.uniform(group) {
                take(bad, &group.likelihood);
            } else {
                constant += ln_lie;
                for &member in &group.members {
                    if let Some(known) = evidence.known.get(member) {
                        take(self.is_bad(member), &known.likelihood);
                    }
                }
            }
        }
        let highest = |ln: &[f64]| ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (top_hit, top_false) = (highest(&hit), highest(&false_));
        let hit = hit.map(|ln| (ln - top_hit).exp());
        let false_ = false_.map(|ln| (ln - top_false).exp());
        self.hit = [0.0; HIT_POINTS];
        self.false_ = [0.0; FALSE_POINTS];
        let mut total = 0.0;
        for ((weights, p), of_hit) in rates.weight.iter().zip(&hit).zip(&mut self.hit) {
            for ((weight, q), of_false) in weights.iter().zip(&false_).zip(&mut self.false_) {
                let joint = weight * p * q;
                *of_hit += joint;
                *of_false += joint;
                total += joint;
            }
        }
        // Only a hypothesis without any hope comes to nothing at every point of the grid.
        total = total.max(f64::MIN_POSITIVE);
        self.hit.iter_mut().chain(&mut self.false_).for_each(|mass| *mass /= total);
        self.ln_likelihood = constant + top_hit + top_false + total.ln();
    }
}
