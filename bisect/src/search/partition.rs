//! Which hypotheses the tried revisions tell apart.

use std::ops::Range;
use std::sync::Arc;

use super::chains::{Chain, Chains, Place};
use crate::history::{Find, Rev};

/// Neighbours in a chain that no tried revision tells apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) chain: Chain,
    pub(super) from: Place,
    pub(super) to: Place,
    /// The class that its hypotheses are of.
    pub(super) class: u32,
    /// Prior mass of all of them.
    pub(super) prior: f64,
    /// The likeliest of them beforehand.
    likeliest: Place,
}

/// The hypotheses, in classes: those of a class make the same known revisions bad. Within a chain
/// the classes are ranges, so little is kept but where they begin.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) chains: Arc<Chains>,
    /// By place, all together `1 - outside.everywhere`.
    prior: Vec<f64>,
    /// Prior mass before each place.
    before: Vec<f64>,
    runs: Vec<Run>,
    outside: Outside,
    outside_class: u32,
    classes: usize,
}

/// Prior that none of the candidates is the culprit.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    /// That the bug shows all over the range.
    pub(super) everywhere: f64,
    /// Of each revision outside that the chains tell of, in their order: that it has the bug
    /// already, and with it all that contains it, and nothing else.
    pub(super) bases: Vec<f64>,
}

/// Where a class came from when a revision became known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// The class that it was part of.
    pub(super) parted: u32,
    /// Whether it makes the revision bad.
    pub(super) bad: bool,
}

impl Partition {
    /// One class of all. `weight` gives each candidate's share of what is not `outside`.
    pub(super) fn new(
        chains: Arc<Chains>,
        weight: impl Fn(Rev) -> f64,
        outside: Outside,
    ) -> Partition {
        let all = 0..chains.len() as Chain;
        let runs = all.map(|chain| {
            let Range { start: from, end: to } = chains.range(chain);
            Run { chain, from, to, class: 0, prior: 0.0, likeliest: from }
        });
        let runs = runs.collect();
        let (prior, before) = (Vec::new(), Vec::new());
        let mut partition =
            Partition { chains, prior, before, runs, outside, outside_class: 0, classes: 1 };
        partition.weigh(weight);
        partition
    }

    /// Gives the candidates other shares.
    pub(super) fn weigh(&mut self, weight: impl Fn(Rev) -> f64) {
        let last = self.runs.last().map_or(0, |run| run.to);
        let candidates = self.chains.members(self.chains.beyond()..last);
        let weights: Vec<f64> = candidates.iter().map(|&rev| weight(rev)).collect();
        let outside = self.outside.everywhere + self.outside.bases.iter().sum::<f64>();
        let scale = (1.0 - outside) / weights.iter().sum::<f64>();
        self.prior.clone_from(&self.outside.bases);
        self.prior.extend(weights.iter().map(|weight| weight * scale));
        self.before.clear();
        self.before.push(0.0);
        let mut sum = 0.0;
        for prior in &self.prior {
            sum += prior;
            self.before.push(sum);
        }
        let mut runs = std::mem::take(&mut self.runs);
        runs.iter_mut().for_each(|run| self.sum_up(run));
        self.runs = runs;
    }

    fn sum_up(&self, run: &mut Run) {
        let priors = self.prior.get(run.from as usize..run.to as usize).unwrap_or_default();
        let mut best = (run.from, 0.0);
        for (place, &prior) in (run.from..).zip(priors) {
            if prior > best.1 {
                best = (place, prior);
            }
        }
        run.likeliest = best.0;
        run.prior = self.mass_between(run.from, run.to);
    }

    /// Prior mass of a range of places.
    pub(super) fn mass_between(&self, from: Place, to: Place) -> f64 {
        let before = |place: Place| self.before.get(place as usize).copied().unwrap_or(0.0);
        (before(to) - before(from)).max(0.0)
    }

    /// The first place of a run up to which this much of its prior mass lies.
    pub(super) fn place_at(&self, run: &Run, mass: f64) -> Place {
        let before = self.before.get(run.from as usize..run.to as usize).unwrap_or_default();
        let base = before.first().copied().unwrap_or(0.0);
        let within = before.partition_point(|&before| before - base < mass) as Place;
        (run.from + within).saturating_sub(1).clamp(run.from, run.to.saturating_sub(1))
    }

    /// The runs, by place.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs of candidates.
    pub(super) fn candidate_runs(&self) -> &[Run] {
        self.runs.get(self.chains.beyond() as usize..).unwrap_or_default()
    }

    /// The runs of revisions outside.
    pub(super) fn bases(&self) -> &[Run] {
        self.runs.get(..self.chains.beyond() as usize).unwrap_or_default()
    }

    /// The class of "all over the range".
    pub(super) fn outside_class(&self) -> u32 {
        self.outside_class
    }

    /// Prior of "all over the range".
    pub(super) fn everywhere(&self) -> f64 {
        self.outside.everywhere
    }

    /// A revision's prior and class.
    pub(super) fn hypothesis(&self, rev: Rev) -> Option<(f64, u32)> {
        let (_, place) = self.chains.locate(rev)?;
        let at = self.runs.partition_point(|run| run.to <= place);
        Some((*self.prior.get(place as usize)?, self.runs.get(at)?.class))
    }

    /// The candidates of a run with their priors.
    pub(super) fn members(&self, run: &Run) -> impl Iterator<Item = (Rev, f64)> + '_ {
        let priors = self.prior.get(run.from as usize..run.to as usize).unwrap_or_default();
        self.chains.members(run.from..run.to).iter().copied().zip(priors.iter().copied())
    }

    /// The likeliest candidate of a run beforehand, with its prior.
    pub(super) fn likeliest(&self, run: &Run) -> (Rev, f64) {
        let prior = self.prior.get(run.likeliest as usize).copied().unwrap_or(0.0);
        (self.chains.member(run.likeliest), prior)
    }

    /// How much of a run's prior mass lies on candidates that a revision contains, which is located
    /// at `own` and contains the chain if `contained`.
    pub(super) fn inside(&self, run: &Run, own: Option<(Chain, Place)>, contained: bool) -> f64 {
        match own {
            _ if contained => run.prior,
            Some((chain, place)) if chain == run.chain && place >= run.from => {
                if place + 1 >= run.to { run.prior } else { self.mass_between(run.from, place + 1) }
            }
            _ => 0.0,
        }
    }

    /// Prior mass of each class.
    pub(super) fn class_priors(&self) -> Vec<f64> {
        let mut priors = vec![0.0; self.classes];
        let outside = (self.outside_class, self.outside.everywhere);
        let runs = self.runs.iter().map(|run| (run.class, run.prior));
        for (class, prior) in runs.chain([outside]) {
            if let Some(sum) = priors.get_mut(class as usize) {
                *sum += prior;
            }
        }
        priors
    }

    /// Tells apart what makes `rev` bad and what does not, when `find` is looked for. Says of each
    /// new class, in their order, where it came from.
    pub(super) fn split(&mut self, rev: Rev, find: Find) -> Vec<Split> {
        let own = self.chains.locate(rev);
        let contained = self.chains.contained(&[rev]);
        let mut numbers = vec![[None; 2]; self.classes];
        let mut splits = Vec::new();
        let mut number = |parted: u32, bad: bool| {
            let new = splits.len() as u32;
            match numbers.get_mut(parted as usize).and_then(|pair| pair.get_mut(usize::from(bad))) {
                Some(Some(known)) => *known,
                Some(slot) => {
                    *slot = Some(new);
                    splits.push(Split { parted, bad });
                    new
                }
                None => parted,
            }
        };
        let mut cut = None;
        for (at, run) in self.runs.iter_mut().enumerate() {
            let is_contained = contained.get(run.chain as usize).is_some_and(|&word| word != 0);
            let is_contained = is_contained
                || own.is_some_and(|(chain, place)| chain == run.chain && place >= run.from);
            if let Some((chain, place)) = own
                && chain == run.chain
                && (run.from..run.to.saturating_sub(1)).contains(&place)
            {
                cut = Some((at, place + 1, number(run.class, find.is_bad(false))));
            }
            run.class = number(run.class, find.is_bad(is_contained));
        }
        self.outside_class = number(self.outside_class, true);
        self.classes = splits.len();
        if let Some((at, place, class)) = cut
            && let Some(&run) = self.runs.get(at)
        {
            let mut halves = [Run { to: place, ..run }, Run { from: place, class, ..run }];
            halves.iter_mut().for_each(|half| self.sum_up(half));
            self.runs.splice(at..=at, halves);
        }
        splits
    }
}
