//! How far a rate can be from what was counted.

use serde::Serialize;
use statrs::function::beta::beta_reg;

/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;

/// The bisection below ends with an error below 2⁻⁵⁰.
const STEPS: u32 = 50;

/// The 95 % interval of Clopper and Pearson (Biometrika 26, 1934) for a rate: whatever the rate is,
/// the interval holds it at least 95 times in 100. Where runs were stopped at the first hit it
/// still does: the interval of that plan lies within this one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end, from 0 to 1.
    pub low: f64,
    /// Upper end, from 0 to 1.
    pub high: f64,
}

impl Interval {
    /// The interval for a rate that showed `hits` times in `runs` runs. With no runs it is all there
    /// is: 0 to 1. More hits than runs count as that many runs.
    pub fn of(hits: u64, runs: u64) -> Interval {
        let (hits, misses) = (hits as f64, runs.saturating_sub(hits) as f64);
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let low = if hits == 0.0 { 0.0 } else { quantile(hits, misses + 1.0, tail) };
        let high = if misses == 0.0 { 1.0 } else { quantile(hits + 1.0, misses, 1.0 - tail) };
        Interval { low, high }
    }
}

/// The quantile of the beta distribution: where its regularized incomplete beta function, which
/// rises, reaches `probability`.
fn quantile(a: f64, b: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if beta_reg(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::Interval;

    /// Probability of `hits` or more in `runs` runs.
    fn at_least(hits: u64, runs: u64, rate: f64) -> f64 {
        let term = |k: u64| {
            let ways: f64 = (0..k).map(|i| (runs - i) as f64 / (i + 1) as f64).product();
            ways * rate.powi(k as i32) * (1.0 - rate).powi((runs - k) as i32)
        };
        (hits..=runs).map(term).sum()
    }

    #[test]
    fn each_end_leaves_a_fortieth_beyond_what_was_counted() {
        for (hits, runs) in [(1, 10), (4, 20), (7, 20), (50, 100), (1, 300)] {
            let Interval { low, high } = Interval::of(hits, runs);
            assert!((at_least(hits, runs, low) - 0.025).abs() < 1e-9, "{hits}/{runs}: {low}");
            let below = 1.0 - at_least(hits + 1, runs, high);
            assert!((below - 0.025).abs() < 1e-9, "{hits}/{runs}: {high}");
        }
    }

    #[test]
    fn the_ends_of_the_scale() {
        assert_eq!(Interval::of(0, 0), Interval { low: 0.0, high: 1.0 });
        let none = Interval::of(0, 100);
        assert_eq!(none.low, 0.0);
        // 1 - 0.025^(1/100)
        assert!((none.high - 0.036_216_7).abs() < 1e-6, "{none:?}");
        let all = Interval::of(100, 100);
        assert_eq!(all.high, 1.0);
        assert!((all.low - (1.0 - none.high)).abs() < 1e-9, "{all:?}");
        let many = Interval::of(1, 10_000_000);
        assert!(many.low > 0.0 && many.high < 1e-6, "{many:?}");
    }
}
