//! The posterior over culprits.

use std::collections::HashMap;
use std::sync::Arc;

use super::Model;
use super::rates::{Rates, Tally};
use crate::history::{AncestorSet, Find, Graph, Rev};

/// What is believed about who the culprit is.
#[derive(Clone, Debug)]
pub struct Belief {
    pub(super) graph: Arc<Graph>,
    pub(super) model: Model,
    pub(super) rates: Rates,
    children: Vec<Vec<Rev>>,
    /// Logarithm of each hypothesis' prior: the candidates, then "outside".
    ln_prior: Vec<f64>,
    /// Which candidates were ruled out otherwise than by trials; empty as long as none was.
    ruled_out: Vec<bool>,
    pub(super) known: Vec<Known>,
    index: HashMap<Rev, usize>,
    groups: Vec<Group>,
    signatures: HashMap<String, usize>,
    pub(super) class_of: Vec<u32>,
    pub(super) classes: Vec<Class>,
    mass: Vec<f64>,
    /// Nearness of each revision to untestable ones, and to all that were tried.
    broken_near: Vec<f64>,
    tried_near: Vec<f64>,
}

/// A revision that something is known of.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) rev: Rev,
    pub(super) group: usize,
    pub(super) tally: Tally,
    pub(super) useless: u32,
    pub(super) built: bool,
    pub(super) untestable: bool,
    likelihood: Likelihood,
}

/// Revisions of one signature; most often only one.
#[derive(Clone, Debug)]
struct Group {
    members: Vec<usize>,
    tally: Tally,
    likelihood: Likelihood,
}

/// Logarithm of the probability of some trials at every hit rate and at every false rate.
#[derive(Clone, Debug)]
struct Likelihood {
    if_bad: Vec<f64>,
    if_good: Vec<f64>,
}

impl Likelihood {
    fn new(rates: &Rates, tally: Tally) -> Likelihood {
        Likelihood {
            if_bad: rates.ln_likelihoods(&rates.hit, tally),
            if_good: rates.ln_likelihoods(&rates.false_, tally),
        }
    }
}

/// Hypotheses that make the same known revisions bad.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// By known revision, whether it is bad.
    pub(super) bad: Vec<bool>,
    /// Logarithm of the likelihood of all trials.
    ln_likelihood: f64,
    /// Posterior mass of all of its hypotheses.
    pub(super) mass: f64,
    /// Posterior over the grids of hit rates and of false rates.
    pub(super) hit: Vec<f64>,
    pub(super) false_: Vec<f64>,
}

/// How often a bad revision hits, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitRate {
    /// Posterior mean.
    pub mean: f64,
    /// 2.5 % of the posterior lies below.
    pub low: f64,
    /// 2.5 % of the posterior lies above.
    pub high: f64,
}

/// How far the neighbourhood of a revision tells about whether it can be tested: as little as one
/// neighbour 50 commits off. Broken stretches come in every length, hence no scale of its own.
const NEIGHBOURHOOD: f64 = 0.02;

/// Share of revisions that can't be tested, where nothing is known.
const UNTESTABLE: f64 = 0.02;

/// What is left of the probability of a culprit that was ruled out otherwise than by trials.
const RULED_OUT: f64 = 1e-3;

impl Belief {
    /// Every candidate is as likely as any other.
    pub fn new(graph: Arc<Graph>, model: Model) -> Belief {
        let candidates = graph.candidates();
        let each = (1.0 - model.outside) / candidates.max(1) as f64;
        let mut ln_prior = vec![each.ln(); candidates];
        ln_prior.push(model.outside.ln());
        let mut belief = Belief {
            rates: Rates::new(model.outlier),
            children: graph.children(),
            ln_prior,
            ruled_out: Vec::new(),
            known: Vec::new(),
            index: HashMap::new(),
            groups: Vec::new(),
            signatures: HashMap::new(),
            class_of: vec![0; candidates + 1],
            classes: vec![Class {
                bad: Vec::new(),
                ln_likelihood: 0.0,
                mass: 1.0,
                hit: Vec::new(),
                false_: Vec::new(),
            }],
            mass: Vec::new(),
            broken_near: vec![0.0; graph.revisions()],
            tried_near: vec![0.0; graph.revisions()],
            graph,
            model,
        };
        belief.update();
        belief
    }

    /// Takes in trials of a revision that told something.
    pub fn observe(&mut self, rev: Rev, trials: Tally) {
        let at = self.know(rev);
        let Some(known) = self.known.get_mut(at) else { return };
        known.tally = known.tally.plus(trials);
        known.likelihood = Likelihood::new(&self.rates, known.tally);
        known.built = true;
        let group = known.group;
        self.regroup(group);
        self.update();
    }

    /// Takes in trials of a revision that told nothing.
    pub fn observe_useless(&mut self, rev: Rev, trials: u32) {
        let at = self.know(rev);
        if let Some(known) = self.known.get_mut(at) {
            known.useless = known.useless.saturating_add(trials);
            known.built = true;
        }
        self.update();
    }

    /// Takes in that there is an image of the revision, and its signature if that is known.
    pub fn built(&mut self, rev: Rev, signature: Option<&str>) {
        let at = self.know(rev);
        let Some(known) = self.known.get_mut(at) else { return };
        let (first, own) = (!known.built, known.group);
        known.built = true;
        if first {
            self.spread(rev, false);
        }
        if let Some(signature) = signature {
            let shared = *self.signatures.entry(signature.to_owned()).or_insert(own);
            if shared != own {
                self.join(at, shared);
            }
        }
        self.update();
    }

    /// Moves a known revision to the group that has its image.
    fn join(&mut self, at: usize, group: usize) {
        let Some(known) = self.known.get_mut(at) else { return };
        let before = std::mem::replace(&mut known.group, group);
        if let Some(before) = self.groups.get_mut(before) {
            before.members.retain(|&member| member != at);
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.members.push(at);
        }
        self.regroup(before);
        self.regroup(group);
    }

    /// Adds up the trials of a group's members.
    fn regroup(&mut self, group: usize) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let members = group.members.iter().filter_map(|&member| self.known.get(member));
        group.tally = members.fold(Tally::default(), |sum, known| sum.plus(known.tally));
        group.likelihood = Likelihood::new(&self.rates, group.tally);
    }

    /// Takes in that the revision can't be tested. It stays a candidate like any other.
    pub fn untestable(&mut self, rev: Rev) {
        let at = self.know(rev);
        let Some(known) = self.known.get_mut(at) else { return };
        if !known.untestable {
            known.untestable = true;
            self.spread(rev, true);
        }
        self.update();
    }

    /// Posterior probability that this candidate is the culprit.
    pub fn probability(&self, rev: Rev) -> f64 {
        if self.graph.is_candidate(rev) {
            self.mass.get(rev as usize).copied().unwrap_or(0.0)
        } else {
            0.0
        }
    }

    /// Posterior probability that it is none of the candidates: that the bug is older than the
    /// range or, where its fix is looked for, not fixed in it.
    pub fn outside(&self) -> f64 {
        self.mass.last().copied().unwrap_or(0.0)
    }

    /// The likeliest candidate and its probability.
    pub fn best(&self) -> Option<(Rev, f64)> {
        let candidates = self.mass.iter().take(self.graph.candidates()).copied();
        (0..).zip(candidates).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }

    /// The fewest candidates that hold `share` of the probability that lies on candidates,
    /// likeliest first.
    pub fn credible(&self, share: f64) -> Vec<(Rev, f64)> {
        let candidates = self.mass.iter().take(self.graph.candidates()).copied();
        let mut ranked: Vec<(Rev, f64)> = (0..).zip(candidates).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let wanted = share * (1.0 - self.outside());
        let mut held = 0.0;
        let enough = ranked.iter().position(|(_, mass)| {
            held += mass;
            held >= wanted
        });
        ranked.truncate(enough.map_or(ranked.len(), |last| last + 1));
        ranked
    }

    /// How often a bad revision hits.
    pub fn hit_rate(&self) -> HitRate {
        let at = |rate: usize| -> f64 {
            self.classes.iter().map(|c| c.mass * c.hit.get(rate).copied().unwrap_or(0.0)).sum()
        };
        let (mut below, mut mean, mut low, mut high) = (0.0, 0.0, None, 1.0);
        for (i, &rate) in self.rates.hit.iter().enumerate() {
            let mass = at(i);
            mean += mass * rate;
            below += mass;
            if low.is_none() && below > 0.025 {
                low = Some(rate);
            }
            if below <= 0.975 {
                high = self.rates.hit.get(i + 1).copied().unwrap_or(1.0);
            }
        }
        HitRate { mean, low: low.unwrap_or(0.0), high: f64::max(high, low.unwrap_or(0.0)) }
    }

    /// How often a good revision hits all the same: the posterior mean.
    pub fn false_rate(&self) -> f64 {
        let mean = |c: &Class| -> f64 {
            c.false_.iter().zip(&self.rates.false_).map(|(mass, rate)| mass * rate).sum()
        };
        self.classes.iter().map(|class| class.mass * mean(class)).sum()
    }

    /// What the trials of a revision, and of all others of its signature, told.
    pub fn tally(&self, rev: Rev) -> Tally {
        let group = self.known(rev).and_then(|known| self.groups.get(known.group));
        group.map(|group| group.tally).unwrap_or_default()
    }

    /// What the trials of a revision told that were taken in under its own name.
    pub fn own_tally(&self, rev: Rev) -> Tally {
        self.known(rev).map(|known| known.tally).unwrap_or_default()
    }

    /// The most hits that any one revision has that would not show the bug unless the bad end did.
    pub(super) fn most_hits(&self) -> u32 {
        let counts = |rev| self.model.find == Find::Fix || self.graph.is_candidate(rev);
        let candidates = self.known.iter().filter(|known| counts(known.rev));
        candidates.map(|known| self.tally(known.rev).hits).max().unwrap_or(0)
    }

    /// Probability that this revision has the bug.
    pub fn probability_bad(&self, rev: Rev) -> f64 {
        let set = self.graph.ancestors(rev);
        let inside: f64 =
            (0..).zip(&self.mass).filter(|(c, _)| set.contains(*c)).map(|x| x.1).sum();
        match self.model.find {
            Find::Cause => inside + self.outside(),
            Find::Fix => 1.0 - inside,
        }
    }

    /// Whether a hypothesis makes a revision bad whose ancestors these are.
    pub(super) fn is_bad(&self, hypothesis: Rev, ancestors: &AncestorSet) -> bool {
        !self.graph.is_candidate(hypothesis)
            || self.model.find.is_bad(ancestors.contains(hypothesis))
    }

    /// Takes in that the culprit is hardly among the ancestors of a revision, nor the revision
    /// itself, for a reason that its trials do not tell.
    pub fn rule_out(&mut self, rev: Rev) {
        let ancestors = self.graph.ancestors(rev);
        self.ruled_out.resize(self.graph.candidates(), false);
        for (hypothesis, (prior, done)) in
            (0..).zip(self.ln_prior.iter_mut().zip(&mut self.ruled_out))
        {
            if ancestors.contains(hypothesis) && !std::mem::replace(done, true) {
                *prior += RULED_OUT.ln();
            }
        }
        self.update();
    }

    /// The number of clean trials after which a revision that had the bug would have shown it
    /// with the model's confidence, if `culprit` is the culprit; at most `most`.
    pub fn clean_trials_needed(&self, culprit: Rev, most: u32) -> u32 {
        let class = self.class_of.get(culprit as usize).and_then(|&c| self.classes.get(c as usize));
        let Some(class) = class else { return most };
        let missed = |k: u32| -> f64 {
            let miss = |(p, m): (&f64, &f64)| m * (1.0 - p).powi(k.try_into().unwrap_or(i32::MAX));
            self.rates.hit.iter().zip(&class.hit).map(miss).sum()
        };
        (1..most).find(|&k| missed(k) <= 1.0 - self.model.confidence).unwrap_or(most)
    }

    pub(super) fn known(&self, rev: Rev) -> Option<&Known> {
        self.index.get(&rev).and_then(|&at| self.known.get(at))
    }

    /// Whether nothing more can be learned from trials of this revision.
    pub fn is_untestable(&self, rev: Rev) -> bool {
        self.same_image(rev).any(|known| known.untestable)
    }

    /// The revision under whose name trials of this one's image go: the first that was tried.
    pub(super) fn representative(&self, rev: Rev) -> Rev {
        let tried = |known: &&Known| known.tally.trials() > 0 || known.useless > 0;
        self.same_image(rev).find(tried).map_or(rev, |known| known.rev)
    }

    fn same_image(&self, rev: Rev) -> impl Iterator<Item = &Known> {
        let group = self.known(rev).and_then(|known| self.groups.get(known.group));
        let members = group.map(|group| group.members.as_slice()).unwrap_or_default();
        members.iter().filter_map(|&member| self.known.get(member))
    }

    /// Probability that a revision that was not tried can't be tested.
    pub(super) fn risk(&self, rev: Rev) -> f64 {
        let at = |near: &[f64]| near.get(rev as usize).copied().unwrap_or(0.0);
        (at(&self.broken_near) + NEIGHBOURHOOD * UNTESTABLE)
            / (at(&self.tried_near) + NEIGHBOURHOOD)
    }

    /// The trials that bear on a known revision under a class: those of all with its signature,
    /// unless the class tells them apart.
    pub(super) fn evidence(&self, class: &Class, known: &Known) -> Tally {
        match self.groups.get(known.group) {
            Some(group) if uniform(&group.members, &class.bad).is_some() => group.tally,
            _ => known.tally,
        }
    }

    /// The number of a known revision. One that was not known splits the classes; the posterior is
    /// to be worked out anew then.
    fn know(&mut self, rev: Rev) -> usize {
        if let Some(&at) = self.index.get(&rev) {
            return at;
        }
        let at = self.known.len();
        let ancestors = self.graph.ancestors(rev);
        let mut split: HashMap<(u32, bool), u32> = HashMap::new();
        let mut classes = Vec::new();
        let bad: Vec<bool> = (0..)
            .take(self.class_of.len())
            .map(|hypothesis| self.is_bad(hypothesis, &ancestors))
            .collect();
        for (bad, class) in bad.into_iter().zip(&mut self.class_of) {
            *class = *split.entry((*class, bad)).or_insert_with(|| {
                let mut parted = self.classes.get(*class as usize).cloned();
                if let Some(parted) = &mut parted {
                    parted.bad.push(bad);
                }
                classes.extend(parted);
                (classes.len() - 1) as u32
            });
        }
        self.classes = classes;
        let likelihood = Likelihood::new(&self.rates, Tally::default());
        self.groups.push(Group {
            members: vec![at],
            tally: Tally::default(),
            likelihood: likelihood.clone(),
        });
        self.known.push(Known {
            rev,
            group: self.groups.len() - 1,
            tally: Tally::default(),
            useless: 0,
            built: false,
            untestable: false,
            likelihood,
        });
        self.index.insert(rev, at);
        at
    }

    /// Lets a revision's neighbours know whether it could be tested.
    fn spread(&mut self, rev: Rev, broken: bool) {
        for (at, steps) in self.graph.distances(&self.children, rev).into_iter().enumerate() {
            let near = if steps == u32::MAX { 0.0 } else { 1.0 / (1.0 + f64::from(steps)) };
            if let Some(tried) = self.tried_near.get_mut(at) {
                *tried += near;
            }
            if let Some(of_broken) = self.broken_near.get_mut(at).filter(|_| broken) {
                *of_broken += near;
            }
        }
    }

    /// Works out the posterior anew from all trials.
    fn update(&mut self) {
        let lie = self.model.signature_lies.ln();
        for class in &mut self.classes {
            let mut constant = 0.0;
            let mut hit = vec![0.0; self.rates.hit.len()];
            let mut false_ = vec![0.0; self.rates.false_.len()];
            let mut take = |bad: bool, of: &Likelihood| {
                let (sum, more) =
                    if bad { (&mut hit, &of.if_bad) } else { (&mut false_, &of.if_good) };
                sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            };
            for group in &self.groups {
                if let Some(bad) = uniform(&group.members, &class.bad) {
                    take(bad, &group.likelihood);
                } else {
                    constant += lie;
                    for &member in &group.members {
                        let bad = class.bad.get(member).copied().unwrap_or(false);
                        if let Some(known) = self.known.get(member) {
                            take(bad, &known.likelihood);
                        }
                    }
                }
            }
            class.weigh(&self.rates, constant, &hit, &false_);
        }
        self.normalise();
    }

    fn normalise(&mut self) {
        let ln_likelihood =
            |class: u32| self.classes.get(class as usize).map_or(0.0, |class| class.ln_likelihood);
        let mut mass: Vec<f64> = self
            .ln_prior
            .iter()
            .zip(&self.class_of)
            .map(|(prior, &class)| prior + ln_likelihood(class))
            .collect();
        let highest = mass.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut total = 0.0;
        for mass in &mut mass {
            *mass = (*mass - highest).exp();
            total += *mass;
        }
        self.classes.iter_mut().for_each(|class| class.mass = 0.0);
        for (mass, &class) in mass.iter_mut().zip(&self.class_of) {
            *mass /= total;
            if let Some(class) = self.classes.get_mut(class as usize) {
                class.mass += *mass;
            }
        }
        self.mass = mass;
    }

    pub(super) fn masses(&self) -> &[f64] {
        &self.mass
    }
}

impl Class {
    /// Sums the likelihood over the grid, and keeps the posterior over both rates.
    fn weigh(&mut self, rates: &Rates, constant: f64, hit: &[f64], false_: &[f64]) {
        let highest = |ln: &[f64]| ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (top_hit, top_false) = (highest(hit), highest(false_));
        let hit: Vec<f64> = hit.iter().map(|ln| (ln - top_hit).exp()).collect();
        let false_: Vec<f64> = false_.iter().map(|ln| (ln - top_false).exp()).collect();
        self.hit = vec![0.0; hit.len()];
        self.false_ = vec![0.0; false_.len()];
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

/// Whether all of them are bad, or all good; `None` if they differ.
fn uniform(members: &[usize], bad: &[bool]) -> Option<bool> {
    let mut of_members = members.iter().map(|&member| bad.get(member).copied().unwrap_or(false));
    let first = of_members.next().unwrap_or(false);
    of_members.all(|bad| bad == first).then_some(first)
}
