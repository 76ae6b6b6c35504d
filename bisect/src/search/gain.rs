//! What a batch of trials is expected to tell about the culprit, and at what price.

use super::belief::Belief;
use super::class::Class;
use super::evidence::Likelihood;
use super::forecast::{Forecast, Ladder, STEPS, entropy};
use super::next::Costs;
use super::rates::Tally;
use super::shortlist::shortlist;
use super::yields::Useless;
use crate::history::{Find, Rev};

/// A revision that can tell less than this share of what another can is left alone.
const CRUMB: f64 = 0.02;

/// The share of a build that its first batch has to earn. What is looked ahead to ends at the first
/// hit, and the image serves on after it; this is the share at which simulated bisections take
/// least.
const FIRST_BATCH: f64 = 0.5;

/// A batch worth considering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) rev: Rev,
    /// Trials at which the information per second is highest.
    pub(super) trials: u32,
    /// Bits per second.
    pub(super) rate: f64,
    /// The most that any number of trials of this revision is expected to tell, in bits.
    pub(super) most_bits: f64,
}

/// The batch with the most expected information per second, and the most that any batch at all is
/// expected to tell.
pub(super) fn best_batch(belief: &Belief, costs: &Costs) -> Option<(Batch, f64)> {
    let gain = Gain::new(belief, costs);
    let mut batches: Vec<Batch> =
        (0..belief.evidence.known.len()).filter_map(|at| gain.known(at)).collect();
    gain.fresh(&mut batches);
    let most = batches.iter().map(|batch| batch.most_bits).fold(0.0, f64::max);
    // However cheap, what has hardly anything left to tell is not worth asking again.
    let worthwhile = batches.into_iter().filter(|batch| batch.most_bits >= CRUMB * most);
    worthwhile.max_by(|a, b| a.rate.total_cmp(&b.rate)).map(|best| (best, most))
}

struct Gain<'a> {
    belief: &'a Belief,
    costs: &'a Costs,
    ladder: Ladder,
    /// By class, what trials of a revision show of which nothing is known: if good, and if bad.
    of_fresh: Vec<[Forecast; 2]>,
}

/// What a build and a trial of one revision take, and how likely it is that there will be none.
struct Price {
    build_seconds: f64,
    trial_seconds: f64,
    risk: f64,
}

impl<'a> Gain<'a> {
    fn new(belief: &'a Belief, costs: &'a Costs) -> Gain<'a> {
        let ladder = Ladder::new(&belief.rates, costs.machines.max(1));
        let none = Tally::default();
        let likelihood = Likelihood::new(&belief.rates, none);
        let any = ladder.at_any_rate(&belief.rates, none);
        let of =
            |class: &Class| [false, true].map(|bad| ladder.forecast(class, bad, &likelihood, &any));
        let of_fresh = belief.classes.iter().map(of).collect();
        Gain { belief, costs, ladder, of_fresh }
    }

    /// The best batch on a revision that was tried, or at least built.
    fn known(&self, at: usize) -> Option<Batch> {
        let Gain { belief, costs, ladder, .. } = self;
        let known = belief.evidence.known.get(at).filter(|known| {
            !belief.is_untestable(known.rev) && belief.representative(known.rev) == known.rev
        })?;
        let (shared, own) = (belief.tally(known.rev), known.tally);
        let any = [shared, own].map(|tally| ladder.at_any_rate(&belief.rates, tally));
        let mut mean = Forecast::default();
        for class in &belief.classes {
            let (tally, likelihood) = class.bearing(&belief.evidence, known);
            let any = if tally == shared { &any[0] } else { &any[1] };
            let forecast = ladder.forecast(class, class.is_bad(at), likelihood, any);
            weigh(&mut mean, &forecast, class.mass);
        }
        let price = Price {
            build_seconds: if known.built { 0.0 } else { costs.build_seconds },
            trial_seconds: costs.trial_seconds / belief.yields.share(known.tally, known.useless),
            risk: 1.0 - belief.speaks(known.rev),
        };
        self.batch(known.rev, &mean, &price)
    }

    /// The best batches on revisions of which nothing is known.
    fn fresh(&self, batches: &mut Vec<Batch>) {
        let Gain { belief, costs, .. } = self;
        let revs = shortlist(belief, &self.ladder, &self.of_fresh);
        let partition = &belief.partition;
        let contained = partition.chains.contained(&revs);
        let own: Vec<_> = revs.iter().map(|&rev| partition.chains.locate(rev)).collect();
        let mut inside = vec![vec![0.0; belief.classes.len()]; revs.len()];
        for run in partition.runs() {
            let word = contained.get(run.chain as usize).copied().unwrap_or(0);
            let factor = belief.classes.get(run.class as usize).map_or(0.0, |class| class.factor);
            for (bit, (inside, own)) in inside.iter_mut().zip(&own).enumerate() {
                if let Some(sum) = inside.get_mut(run.class as usize) {
                    *sum += partition.inside(run, *own, word >> bit & 1 == 1) * factor;
                }
            }
        }
        let beyond = (partition.outside_class() as usize, belief.everywhere());
        let share = belief.yields.share(Tally::default(), Useless::default());
        for (&rev, mut inside) in revs.iter().zip(inside) {
            // Older than the range is bad everywhere.
            if let (Find::Cause, Some(sum)) = (belief.model.find, inside.get_mut(beyond.0)) {
                *sum += beyond.1;
            }
            let mut mean = Forecast::default();
            for (([good, bad], class), inside) in
                self.of_fresh.iter().zip(&belief.classes).zip(inside)
            {
                let (within, without) = match belief.model.find {
                    Find::Cause => (bad, good),
                    Find::Fix => (good, bad),
                };
                weigh(&mut mean, within, inside);
                weigh(&mut mean, without, (class.mass - inside).max(0.0));
            }
            let price = Price {
                build_seconds: FIRST_BATCH * costs.build_seconds,
                trial_seconds: costs.trial_seconds / share,
                risk: belief.testability.risk(rev),
            };
            batches.extend(self.batch(rev, &mean, &price));
        }
    }

    /// Looks ahead along the ladder. `mean` is what is expected over all hypotheses; its entropy is
    /// what would be left of it if the culprit were known.
    fn batch(&self, rev: Rev, mean: &Forecast, price: &Price) -> Option<Batch> {
        let machines = f64::from(self.costs.machines.max(1));
        let testable = 1.0 - price.risk;
        let mut best: Option<Batch> = None;
        let mut most_bits: f64 = 0.0;
        // Rounds stop at the first hit, so later ones are only run as often as it comes to them.
        let (mut rounds, mut before, mut still_clean) = (0.0, 0.0, 1.0);
        for ((&trials, &clean), &known) in
            self.ladder.trials.iter().zip(&mean.clean).zip(&mean.entropy)
        {
            let here = f64::from(trials) / machines;
            rounds += match best {
                None => 1.0,
                Some(_) => (here - before) * (still_clean + clean) / 2.0,
            };
            (before, still_clean) = (here, clean);
            let bits = (entropy(clean) - known).max(0.0) * testable;
            let seconds = price.build_seconds + testable * rounds * price.trial_seconds;
            let rate = bits / seconds.max(1e-6);
            most_bits = most_bits.max(bits);
            if best.is_none_or(|best| rate > best.rate) {
                best = Some(Batch { rev, trials, rate, most_bits });
            }
        }
        best.map(|best| Batch { most_bits, ..best })
    }
}

fn weigh(mean: &mut Forecast, forecast: &Forecast, mass: f64) {
    for step in 0..STEPS {
        let of = |values: &[f64; STEPS]| values.get(step).copied().unwrap_or(0.0);
        if let (Some(clean), Some(entropy)) = (mean.clean.get_mut(step), mean.entropy.get_mut(step))
        {
            *clean += mass * of(&forecast.clean);
            *entropy += mass * of(&forecast.entropy);
        }
    }
}
