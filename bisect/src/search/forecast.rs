//! What trials to come will show, under each hypothesis.

use super::class::Class;
use super::evidence::Likelihood;
use super::rates::{FALSE_POINTS, HIT_POINTS, Rates, Tally};

/// Rounds of trials that are looked ahead to; a round is as many trials as run at a time.
const ROUNDS: [u32; STEPS] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89];
pub(super) const STEPS: usize = 10;

/// More trials than this are not planned for at once.
const LONGEST: u32 = 128;

/// Numbers of trials that are looked ahead to, and what is the same for all revisions.
pub(super) struct Ladder {
    /// The numbers, rising.
    pub(super) trials: Vec<u32>,
    /// By step and by rate, the probability that all of its trials stay clean.
    hit: Vec<[f64; HIT_POINTS]>,
    false_: Vec<[f64; FALSE_POINTS]>,
}

/// By step of the ladder: the probability that all of its trials stay clean, and the entropy of
/// whether they do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forecast {
    pub(super) clean: [f64; STEPS],
    pub(super) entropy: [f64; STEPS],
}

impl Ladder {
    pub(super) fn new(rates: &Rates, machines: u32) -> Ladder {
        let trials: Vec<u32> = ROUNDS
            .iter()
            .map(|rounds| rounds.saturating_mul(machines))
            .filter(|&trials| trials <= LONGEST.max(machines))
            .collect();
        let power =
            |rate: f64, trials: u32| (1.0 - rate).powi(trials.try_into().unwrap_or(i32::MAX));
        let hit = trials.iter().map(|&n| rates.hit.map(|rate| power(rate, n))).collect();
        let false_ = trials.iter().map(|&n| rates.false_.map(|rate| power(rate, n))).collect();
        Ladder { trials, hit, false_ }
    }

    /// For an image with these trials behind it: by step, the probability that all further ones
    /// stay clean if it has a rate of its own.
    pub(super) fn at_any_rate(&self, rates: &Rates, tally: Tally) -> [f64; STEPS] {
        let mut at = [0.0; STEPS];
        for (at, &trials) in at.iter_mut().zip(&self.trials) {
            *at = rates.clean_at_any_rate(tally, trials);
        }
        at
    }

    /// What trials of an image show that a class makes bad, or good. `likelihood` is that of the
    /// trials behind it, `any` is [`Ladder::at_any_rate`] of them.
    pub(super) fn forecast(
        &self,
        class: &Class,
        bad: bool,
        likelihood: &Likelihood,
        any: &[f64; STEPS],
    ) -> Forecast {
        match bad {
            true => mix(&self.hit, &class.hit, &likelihood.if_bad.odd, any),
            false => mix(&self.false_, &class.false_, &likelihood.if_good.odd, any),
        }
    }
}

fn mix<const N: usize>(
    powers: &[[f64; N]],
    posterior: &[f64; N],
    odd: &[f64; N],
    any: &[f64; STEPS],
) -> Forecast {
    let mut follows = *posterior;
    let mut strays = 0.0;
    for (follows, odd) in follows.iter_mut().zip(odd) {
        strays += *follows * odd;
        *follows *= 1.0 - odd;
    }
    let mut forecast = Forecast::default();
    for (((clean, unsure), at_rates), any) in
        forecast.clean.iter_mut().zip(&mut forecast.entropy).zip(powers).zip(any)
    {
        let common: f64 = at_rates.iter().zip(&follows).map(|(clean, mass)| clean * mass).sum();
        *clean = common + strays * any;
        *unsure = entropy(*clean);
    }
    forecast
}

/// Entropy of a yes or no that is yes with this probability, in bits.
pub(super) fn entropy(probability: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    let probability = probability.clamp(0.0, 1.0);
    term(probability) + term(1.0 - probability)
}
