//! How often the bug shows: the grid over the hit rate and the false rate.

/// Trials that told something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The target showed.
    pub hits: u32,
    /// The workload finished and it did not.
    pub clean: u32,
}

impl Tally {
    /// All of them.
    pub fn trials(self) -> u32 {
        self.hits.saturating_add(self.clean)
    }

    /// These and others.
    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            hits: self.hits.saturating_add(other.hits),
            clean: self.clean.saturating_add(other.clean),
        }
    }
}

/// Points of the grid over the hit rate, and over the false rate.
pub(super) const HIT_POINTS: usize = 32;
pub(super) const FALSE_POINTS: usize = 6;

/// False rates, even on a logarithmic scale but for those above some 2 %, which are ever rarer. To
/// disprove a low rate where there are no false hits takes hundreds of trials: 300 clean ones of good
/// revisions make 1 % twenty times less likely. But a prior that hardly grants 1 to 3 % lets the false
/// hits of the first revisions pass for the bug's.
const FALSE_RATES: [f64; FALSE_POINTS] = [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.06];

/// Trials for which the products below are tabled.
const TABLED: u32 = 512;

/// The grid, with the prior weight of every pair of rates.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    outlier: f64,
    /// Hit rates, rising.
    pub(super) hit: [f64; HIT_POINTS],
    /// False rates, rising.
    pub(super) false_: [f64; FALSE_POINTS],
    ln_rising: Vec<f64>,
    ln_factorial: Vec<f64>,
    /// Weight of (hit rate, false rate), by hit rate and then by false rate; sums to 1.
    pub(super) weight: [[f64; FALSE_POINTS]; HIT_POINTS],
}

/// What some trials of one image say at each of `N` rates.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtRates<const N: usize> {
    /// Logarithm of the probability of this sequence of trials.
    pub(super) ln: [f64; N],
    /// Given the trials, probability that the image follows a rate of its own.
    pub(super) odd: [f64; N],
}

impl Rates {
    /// Jeffreys' prior over hit rates: even in the arc sine of the root. A hit rate has to be
    /// half as much again as the false rate to be called one: rates that lie closer together take
    /// more trials to tell apart than anybody runs, but where none were allowed that lie as close as
    /// the real ones, another hypothesis would be found to explain them.
    pub(super) fn new(outlier: f64) -> Rates {
        let hit: [f64; HIT_POINTS] = std::array::from_fn(|i| {
            let angle = (i as f64 + 0.5) / HIT_POINTS as f64 * std::f64::consts::FRAC_PI_2;
            angle.sin().powi(2)
        });
        let density = |q: f64| (1.0 - q).powi(24);
        let mut weight =
            hit.map(|p| FALSE_RATES.map(|q| if p > 1.5 * q { density(q) } else { 0.0 }));
        let total: f64 = weight.iter().flatten().sum();
        weight.iter_mut().flatten().for_each(|w| *w /= total);
        Rates {
            outlier,
            hit,
            false_: FALSE_RATES,
            ln_rising: ln_products(0.5),
            ln_factorial: ln_products(1.0),
            weight,
        }
    }

    /// What these trials of one image say at each of `rates`.
    pub(super) fn likelihoods<const N: usize>(&self, rates: &[f64; N], tally: Tally) -> AtRates<N> {
        if tally.trials() == 0 {
            return AtRates { ln: [0.0; N], odd: [self.outlier; N] };
        }
        let odd = self.outlier.ln() + self.ln_any_rate(tally);
        let follows = (-self.outlier).ln_1p();
        let ln = self.ln_plain(rates, tally).map(|plain| {
            let common = follows + plain;
            let (high, low) = if common > odd { (common, odd) } else { (odd, common) };
            high + (low - high).exp().ln_1p()
        });
        AtRates { ln, odd: ln.map(|ln| (odd - ln).exp()) }
    }

    /// Logarithm of the probability of these trials at each of `rates`.
    pub(super) fn ln_plain<const N: usize>(&self, rates: &[f64; N], tally: Tally) -> [f64; N] {
        let (hits, clean) = (f64::from(tally.hits), f64::from(tally.clean));
        rates.map(|rate| hits * rate.ln() + clean * (-rate).ln_1p())
    }

    /// Probability that `more` trials stay clean, under a rate of which nothing is known but these
    /// trials.
    pub(super) fn clean_at_any_rate(&self, tally: Tally, more: u32) -> f64 {
        let after = tally.plus(Tally { hits: 0, clean: more });
        (self.ln_any_rate(after) - self.ln_any_rate(tally)).exp()
    }

    /// Logarithm of the probability of a sequence under a rate of which nothing is known
    /// (Jeffreys): B(hits + 1/2, clean + 1/2) / B(1/2, 1/2).
    fn ln_any_rate(&self, tally: Tally) -> f64 {
        let rising = |n: u32| self.product(&self.ln_rising, n, 0.5);
        rising(tally.hits) + rising(tally.clean)
            - self.product(&self.ln_factorial, tally.trials(), 1.0)
    }

    /// Logarithm of `first * (first + 1) * ...`, `n` factors, from a table as far as it goes.
    fn product(&self, table: &[f64], n: u32, first: f64) -> f64 {
        let tabled = (n as usize).min(table.len() - 1);
        let rest = (tabled as u32..n).map(|i| (f64::from(i) + first).ln()).sum::<f64>();
        table.get(tabled).copied().unwrap_or(0.0) + rest
    }
}

/// Logarithms of the products of the first `0..TABLED` factors of `first * (first + 1) * ...`.
fn ln_products(first: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut table = vec![0.0];
    for i in 0..TABLED {
        sum += (f64::from(i) + first).ln();
        table.push(sum);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Rates, Tally};

    #[test]
    fn weights_sum_to_one_and_leave_out_hit_rates_below_the_false_rate() {
        let rates = Rates::new(0.01);
        assert!((rates.weight.iter().flatten().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(rates.weight[0][2], 0.0);
        assert!(rates.weight[20][5] > 0.0);
    }

    #[test]
    fn sequences_of_one_length_sum_to_one() {
        let rates = Rates::new(0.02);
        for rate in [0.001, 0.3, 0.999] {
            let total: f64 = (0..=6u32)
                .map(|hits| {
                    let tally = Tally { hits, clean: 6 - hits };
                    let ways = [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0][hits as usize];
                    ways * rates.likelihoods(&[rate], tally).ln[0].exp()
                })
                .sum();
            assert!((total - 1.0).abs() < 1e-12, "{total}");
        }
    }

    #[test]
    fn long_sequences_do_not_underflow() {
        let rates = Rates::new(0.01);
        let tally = Tally { hits: 5000, clean: 5000 };
        assert!(rates.likelihoods(&[0.001], tally).ln[0].is_finite());
    }
    #[test]
    fn what_is_to_come_is_what_was_plus_more() {
        let rates = Rates::new(0.02);
        let (before, more) = (Tally { hits: 2, clean: 3 }, Tally { hits: 0, clean: 4 });
        let was = rates.likelihoods(&[0.3], before);
        let will = rates.likelihoods(&[0.3], before.plus(more));
        let direct = (will.ln[0] - was.ln[0]).exp();
        let odd = was.odd[0];
        let mixed = (1.0 - odd) * 0.7f64.powi(4) + odd * rates.clean_at_any_rate(before, 4);
        assert!((direct - mixed).abs() < 1e-12, "{direct} {mixed}");
    }
}
