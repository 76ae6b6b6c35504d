//! Which of the revisions not tried yet deserve a close look.

use super::ancestry::{add, sums_below};
use super::belief::Belief;
use super::forecast::{Forecast, Ladder, entropy};
use super::partition::Run;
use crate::history::{Find, Rev};

/// Steps of the ladder at which revisions are compared, and how many of the best at each are looked
/// at closely.
const COARSE: [usize; 2] = [0, 4];
const SHORTLIST: usize = 8;

/// A run with less mass than this can't make a revision stand out.
const SPECK: f64 = 1e-9;

/// Merges whose sums take more work than this, in blocks of chains times chains, are summed from a
/// sample.
const EXACT_WORK: usize = 1 << 20;
const SAMPLE: usize = 1024;

/// The probability of staying clean and its entropy, at each coarse step.
type Columns = [f64; 2 * COARSE.len()];

/// The revisions not tried yet that look best at a few trials or at many.
///
/// What a batch is expected to tell of a revision is the entropy of a sum over what it contains,
/// minus another such sum. Along a run both sums grow in proportion, so the best member of a run is
/// where the derivative vanishes, and no other has to be looked at; unless some are likelier than
/// others to be testable.
pub(super) fn shortlist(belief: &Belief, ladder: &Ladder, fresh: &[[Forecast; 2]]) -> Vec<Rev> {
    let mut best = Best { belief, best: Default::default() };
    Scan::new(belief, ladder, fresh).all(&mut best);
    let mut chosen: Vec<Rev> = best.best.iter().flatten().map(|&(_, rev)| rev).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The best few at each step.
struct Best<'a> {
    belief: &'a Belief,
    best: [Vec<(f64, Rev)>; COARSE.len()],
}

impl Best<'_> {
    /// Looks at a revision of which a batch stays clean with probability `clean`, and which of the
    /// entropy of that tells all but `known` of the culprit.
    fn look(&mut self, step: usize, rev: Rev, clean: f64, known: f64) {
        let Some(best) = self.best.get_mut(step) else { return };
        let least = match best.last() {
            Some(&(least, _)) if best.len() == SHORTLIST => least,
            _ => -1.0,
        };
        let testable = 1.0 - self.belief.testability.risk(rev);
        // Most are nowhere near, and this bound on the entropy takes no logarithm.
        let bound = 2.0 * (clean * (1.0 - clean)).max(0.0).sqrt();
        if (bound - known) * testable <= least {
            return;
        }
        let value = (entropy(clean) - known).max(0.0) * testable;
        let is_fresh =
            || self.belief.evidence.number(rev).is_none() && self.belief.representative(rev) == rev;
        if value <= least || best.iter().any(|&(_, it)| it == rev) || !is_fresh() {
            return;
        }
        let at = best.partition_point(|&(other, _)| other >= value);
        best.insert(at, (value, rev));
        best.truncate(SHORTLIST);
    }
}

struct Scan<'a> {
    belief: &'a Belief,
    /// By class, what its hypotheses gain per mass in a revision that contains them.
    gains: Vec<Columns>,
    /// The sums for a revision that contains nothing.
    nothing: Columns,
}

impl<'a> Scan<'a> {
    fn new(belief: &'a Belief, ladder: &Ladder, fresh: &[[Forecast; 2]]) -> Scan<'a> {
        let steps = COARSE.map(|step| step.min(ladder.trials.len().saturating_sub(1)));
        let columns = |forecast: &Forecast| -> Columns {
            let at = |column: usize| -> f64 {
                let step = steps.get(column / 2).copied().unwrap_or(0);
                let of = if column.is_multiple_of(2) { &forecast.clean } else { &forecast.entropy };
                of.get(step).copied().unwrap_or(0.0)
            };
            std::array::from_fn(at)
        };
        let outside = belief.everywhere();
        let outside_class = belief.partition.outside_class() as usize;
        let mut nothing = Columns::default();
        let mut gains = Vec::with_capacity(fresh.len());
        for (at, ([good, bad], class)) in fresh.iter().zip(&belief.classes).enumerate() {
            let (good, bad) = (columns(good), columns(bad));
            let beyond = if at == outside_class { outside } else { 0.0 };
            let (within, without) = match belief.model.find {
                Find::Cause => (bad, good),
                Find::Fix => (good, bad),
            };
            add(&mut nothing, &without.map(|value| value * (class.mass - beyond)));
            add(&mut nothing, &bad.map(|value| value * beyond));
            let mut gain = within;
            gain.iter_mut().zip(without).for_each(|(gain, without)| *gain -= without);
            gains.push(gain);
        }
        Scan { belief, gains, nothing }
    }

    fn gain(&self, run: &Run) -> Columns {
        let mass = self.belief.mass(run);
        let gain = self.gains.get(run.class as usize).copied().unwrap_or_default();
        if mass < SPECK { Columns::default() } else { gain.map(|gain| gain * mass) }
    }

    /// Looks at all revisions worth it.
    fn all(&self, best: &mut Best<'_>) {
        let partition = &self.belief.partition;
        let mut whole = vec![Columns::default(); partition.chains.len()];
        for run in partition.runs() {
            if let Some(sum) = whole.get_mut(run.chain as usize) {
                add(sum, &self.gain(run));
            }
        }
        let weighty = whole.iter().filter(|columns| columns.iter().any(|&x| x != 0.0)).count();
        let below = if weighty.div_ceil(256).saturating_mul(whole.len()) <= EXACT_WORK {
            sums_below(&partition.chains, &whole, &whole)
        } else {
            sums_below(&partition.chains, &whole, &self.sample())
        };
        let mut before = (0, Columns::default());
        for run in partition.runs() {
            if before.0 != run.chain || partition.chains.range(run.chain).start == run.from {
                let below = below.get(run.chain as usize).copied().unwrap_or_default();
                before = (run.chain, below);
                add(&mut before.1, &self.nothing);
            }
            let gain = self.gain(run);
            self.along(run, &before.1, &gain, best);
            add(&mut before.1, &gain);
        }
    }

    /// The weights of few chains, drawn by mass, in place of those of all.
    fn sample(&self) -> Vec<Columns> {
        let partition = &self.belief.partition;
        let mut weights = vec![Columns::default(); partition.chains.len()];
        let total: f64 = partition.runs().iter().map(|run| self.belief.mass(run)).sum();
        let each = total / SAMPLE as f64;
        // Evenly spaced through all mass, which errs far less than independent draws.
        let (mut mass, mut drawn) = (0.0, 0u32);
        for run in partition.runs() {
            mass += self.belief.mass(run);
            while f64::from(drawn) + 0.5 < mass / each && (drawn as usize) < SAMPLE {
                let gain = self.gains.get(run.class as usize).copied().unwrap_or_default();
                if let Some(weight) = weights.get_mut(run.chain as usize) {
                    add(weight, &gain.map(|gain| gain * each));
                }
                drawn += 1;
            }
        }
        weights
    }

    fn along(&self, run: &Run, before: &Columns, gain: &Columns, best: &mut Best<'_>) {
        let partition = &self.belief.partition;
        let of = |columns: &Columns, at: usize| columns.get(at).copied().unwrap_or(0.0);
        let sum = |at: usize, share: f64| of(before, at) + share * of(gain, at);
        if self.belief.testability.is_uneven() {
            let mut mass = 0.0;
            for (rev, prior) in partition.members(run) {
                mass += prior;
                let share = mass / run.prior;
                for step in 0..COARSE.len() {
                    best.look(step, rev, sum(2 * step, share), sum(2 * step + 1, share));
                }
            }
            return;
        }
        for step in 0..COARSE.len() {
            let (clean, known) = (2 * step, 2 * step + 1);
            let share = optimum(of(before, clean), of(gain, clean), of(gain, known));
            let place = partition.place_at(run, share * run.prior);
            for place in [place, place.saturating_sub(1).max(run.from)] {
                let share = partition.mass_between(run.from, place + 1) / run.prior;
                let rev = partition.chains.member(place);
                best.look(step, rev, sum(clean, share), sum(known, share));
            }
        }
    }
}

/// The share of a run at which `entropy(clean + share * rise) - share * known` is highest.
fn optimum(clean: f64, rise: f64, known: f64) -> f64 {
    let share = (1.0 / (1.0 + (known / rise).exp2()) - clean) / rise;
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}
