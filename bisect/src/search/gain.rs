//! What a batch of trials is expected to tell about the culprit, and at what price.

use super::ancestry::ancestor_sums;
use super::belief::{Belief, Class};
use super::next::Costs;
use super::rates::Tally;
use crate::history::{Find, Rev};

/// Rounds of trials that are looked ahead to; a round is as many trials as run at a time.
const ROUNDS: [u32; 10] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89];

/// More trials than this are not planned for at once.
const LONGEST: u32 = 128;

/// Steps of the ladder at which revisions that were not tried yet are compared coarsely, and how
/// many of the best at each are looked at closely.
const COARSE: [usize; 2] = [0, 4];
const SHORTLIST: usize = 8;

/// A revision that can tell less than this share of what another can is left alone.
const CRUMB: f64 = 0.02;

/// A batch worth considering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) rev: Rev,
    /// Trials at which the information per second is highest.
    pub(super) trials: u32,
    /// The information about the culprit to be expected of them, in bits.
    pub(super) bits: f64,
    /// Bits per second.
    pub(super) rate: f64,
    /// The most that any number of trials of this revision is expected to tell.
    pub(super) most_bits: f64,
}

/// A share of the hypotheses that all predict the same of a revision.
struct Part<'a> {
    class: &'a Class,
    /// Whether they make the revision bad.
    bad: bool,
    /// Their posterior mass.
    mass: f64,
}

/// The batch with the most expected information per second, and the most that any batch at all is
/// expected to tell.
pub(super) fn best_batch(belief: &Belief, costs: &Costs) -> Option<(Batch, f64)> {
    let gain = Gain::new(belief, costs);
    let known = (0..belief.known.len()).filter_map(|at| gain.known(at));
    let shortlist = gain.shortlist();
    let fresh = shortlist.into_iter().filter_map(|rev| gain.fresh(rev));
    let batches: Vec<Batch> = known.chain(fresh).collect();
    let most = batches.iter().map(|batch| batch.most_bits).fold(0.0, f64::max);
    // However cheap, what has hardly anything left to tell is not worth asking again.
    let worthwhile = batches.into_iter().filter(|batch| batch.most_bits >= CRUMB * most);
    worthwhile.max_by(|a, b| a.rate.total_cmp(&b.rate)).map(|best| (best, most))
}

struct Gain<'a> {
    belief: &'a Belief,
    costs: &'a Costs,
    /// Numbers of trials looked ahead to.
    ladder: Vec<u32>,
    fresh: Prediction,
}

/// For a revision with certain trials behind it: by step of the ladder and by rate, the
/// probability that all further trials stay clean.
struct Prediction {
    if_bad: Vec<Vec<f64>>,
    if_good: Vec<Vec<f64>>,
}

impl Prediction {
    fn new(belief: &Belief, ladder: &[u32], tally: Tally) -> Prediction {
        let of = |rates: &[f64]| -> Vec<Vec<f64>> {
            let before = belief.rates.ln_likelihoods(rates, tally);
            let after = |&trials: &u32| {
                let more = tally.plus(Tally { hits: 0, clean: trials });
                let after = belief.rates.ln_likelihoods(rates, more);
                after.iter().zip(&before).map(|(after, before)| (after - before).exp()).collect()
            };
            ladder.iter().map(after).collect()
        };
        Prediction { if_bad: of(&belief.rates.hit), if_good: of(&belief.rates.false_) }
    }

    /// The probability that all trials of a step stay clean.
    fn clean(&self, class: &Class, bad: bool, step: usize) -> f64 {
        let (rates, posterior) =
            if bad { (&self.if_bad, &class.hit) } else { (&self.if_good, &class.false_) };
        let at_rates = rates.get(step).map(Vec::as_slice).unwrap_or_default();
        at_rates.iter().zip(posterior).map(|(clean, mass)| clean * mass).sum()
    }
}

impl<'a> Gain<'a> {
    fn new(belief: &'a Belief, costs: &'a Costs) -> Gain<'a> {
        let machines = costs.machines.max(1);
        let ladder: Vec<u32> = ROUNDS
            .iter()
            .map(|rounds| rounds.saturating_mul(machines))
            .filter(|&trials| trials <= LONGEST.max(machines))
            .collect();
        let fresh = Prediction::new(belief, &ladder, Tally::default());
        Gain { belief, costs, ladder, fresh }
    }

    /// The best batch on a revision that was tried, or at least built.
    fn known(&self, at: usize) -> Option<Batch> {
        let known = self.belief.known.get(at).filter(|known| {
            !self.belief.is_untestable(known.rev)
                && self.belief.representative(known.rev) == known.rev
        })?;
        let shared = Prediction::new(self.belief, &self.ladder, self.belief.tally(known.rev));
        let own = Prediction::new(self.belief, &self.ladder, known.tally);
        let parts: Vec<Part<'_>> = self
            .belief
            .classes
            .iter()
            .map(|class| Part {
                class,
                bad: class.bad.get(at).copied().unwrap_or(false),
                mass: class.mass,
            })
            .collect();
        let predict = |part: &Part<'_>, step| {
            let sharing = self.belief.evidence(part.class, known) == self.belief.tally(known.rev);
            let prediction = if sharing { &shared } else { &own };
            prediction.clean(part.class, part.bad, step)
        };
        let informative = f64::from(known.tally.trials()) + 1.0;
        let informative = informative / (informative + f64::from(known.useless));
        let build = if known.built { 0.0 } else { self.costs.build_seconds };
        self.batch(known.rev, &parts, predict, build, self.costs.trial_seconds / informative, 0.0)
    }

    /// The best batch on a revision of which nothing is known.
    fn fresh(&self, rev: Rev) -> Option<Batch> {
        let ancestors = self.belief.graph.ancestors(rev);
        let mut inside = vec![0.0; self.belief.classes.len()];
        for ((hypothesis, mass), &class) in
            (0..).zip(self.belief.masses()).zip(&self.belief.class_of)
        {
            let bad = self.belief.is_bad(hypothesis, &ancestors);
            if let Some(inside) = inside.get_mut(class as usize).filter(|_| bad) {
                *inside += mass;
            }
        }
        let parts: Vec<Part<'_>> = self
            .belief
            .classes
            .iter()
            .zip(inside)
            .flat_map(|(class, inside)| {
                let outside = (class.mass - inside).max(0.0);
                [Part { class, bad: true, mass: inside }, Part { class, bad: false, mass: outside }]
            })
            .collect();
        let predict = |part: &Part<'_>, step: usize| self.fresh.clean(part.class, part.bad, step);
        let (build, trial) = (self.costs.build_seconds, self.costs.trial_seconds);
        self.batch(rev, &parts, predict, build, trial, self.belief.risk(rev))
    }

    /// Looks ahead along the ladder.
    fn batch(
        &self,
        rev: Rev,
        parts: &[Part<'_>],
        predict: impl Fn(&Part<'_>, usize) -> f64,
        build_seconds: f64,
        trial_seconds: f64,
        risk: f64,
    ) -> Option<Batch> {
        let machines = f64::from(self.costs.machines.max(1));
        let mut best: Option<Batch> = None;
        let mut most_bits: f64 = 0.0;
        // Rounds stop at the first hit, so later ones are only run as often as it comes to them.
        let (mut rounds, mut before, mut still_clean) = (0.0, 0.0, 1.0);
        for (step, &trials) in self.ladder.iter().enumerate() {
            let (mut clean, mut known) = (0.0, 0.0);
            for part in parts.iter().filter(|part| part.mass > 0.0) {
                let probability = predict(part, step);
                clean += part.mass * probability;
                known += part.mass * entropy(probability);
            }
            let here = f64::from(trials) / machines;
            rounds += if step == 0 { 1.0 } else { (here - before) * (still_clean + clean) / 2.0 };
            (before, still_clean) = (here, clean);
            let bits = (entropy(clean) - known).max(0.0) * (1.0 - risk);
            let seconds = build_seconds + (1.0 - risk) * rounds * trial_seconds;
            let rate = bits / seconds.max(1e-6);
            most_bits = most_bits.max(bits);
            if best.is_none_or(|best| rate > best.rate) {
                best = Some(Batch { rev, trials, bits, rate, most_bits });
            }
        }
        best.map(|best| Batch { most_bits, ..best })
    }

    /// The revisions not tried yet that look best at a few trials or at many.
    fn shortlist(&self) -> Vec<Rev> {
        let belief = self.belief;
        let mut columns = vec![[0.0; 9]; belief.graph.candidates()];
        let mut totals = [[0.0; 2]; COARSE.len()];
        let mut outside = [[0.0; 2]; COARSE.len()];
        let steps = COARSE.map(|step| step.min(self.ladder.len().saturating_sub(1)));
        let predicted: Vec<[[f64; 4]; COARSE.len()]> = belief
            .classes
            .iter()
            .map(|class| {
                steps.map(|step| {
                    let bad = self.fresh.clean(class, true, step);
                    let good = self.fresh.clean(class, false, step);
                    [bad, entropy(bad), good, entropy(good)]
                })
            })
            .collect();
        for ((hypothesis, mass), &class) in (0usize..).zip(belief.masses()).zip(&belief.class_of) {
            // What is this unlikely can't make a revision stand out.
            if *mass < 1e-9 {
                continue;
            }
            let Some(predicted) = predicted.get(class as usize) else { continue };
            let column = columns.get_mut(hypothesis);
            // By whether the revision contains the culprit, and not by whether it is bad.
            let predicted = match belief.model.find {
                Find::Cause => *predicted,
                Find::Fix => predicted.map(|[a, b, c, d]| [c, d, a, b]),
            };
            for (at, [in_it, in_it_entropy, out, out_entropy]) in predicted.iter().enumerate() {
                let (Some(total), Some(outside)) = (totals.get_mut(at), outside.get_mut(at)) else {
                    continue;
                };
                if column.is_some() {
                    total[0] += mass * out;
                    total[1] += mass * out_entropy;
                } else {
                    *outside = match belief.model.find {
                        Find::Cause => [mass * in_it, mass * in_it_entropy],
                        Find::Fix => [mass * out, mass * out_entropy],
                    };
                }
            }
            if let (Some(column), [first, second]) = (column, &predicted) {
                let mut row = [*mass; 9];
                for (slot, value) in row.iter_mut().skip(1).zip(first.iter().chain(second)) {
                    *slot *= value;
                }
                *column = row;
            }
        }
        let sums = ancestor_sums(&belief.graph, &columns);
        let mut chosen: Vec<Rev> = Vec::new();
        for (at, &step) in steps.iter().enumerate() {
            let (Some(total), Some(outside)) = (totals.get(at), outside.get(at)) else { continue };
            let trials = self.ladder.get(step).copied().unwrap_or(1);
            let rounds = f64::from(trials.div_ceil(self.costs.machines.max(1)));
            let seconds = self.costs.build_seconds + rounds * self.costs.trial_seconds;
            let mut ranked: Vec<(Rev, f64)> = (0..)
                .zip(&sums)
                .filter(|(rev, _)| belief.known(*rev).is_none())
                .map(|(rev, sum)| {
                    let [bad, bad_entropy, good, good_entropy] =
                        [1, 2, 3, 4].map(|i| sum.get(at * 4 + i).copied().unwrap_or(0.0));
                    let clean = bad + outside[0] + total[0] - good;
                    let known = bad_entropy + outside[1] + total[1] - good_entropy;
                    let bits = (entropy(clean) - known).max(0.0);
                    (rev, bits * (1.0 - belief.risk(rev)) / seconds)
                })
                .collect();
            let by_value = |a: &(Rev, f64), b: &(Rev, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            if ranked.len() > SHORTLIST {
                ranked.select_nth_unstable_by(SHORTLIST, by_value);
                ranked.truncate(SHORTLIST);
            }
            chosen.extend(ranked.into_iter().map(|(rev, _)| rev));
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }
}

/// Entropy of a yes or no that is yes with this probability, in bits.
fn entropy(probability: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    let probability = probability.clamp(0.0, 1.0);
    term(probability) + term(1.0 - probability)
}
