//! The posterior over culprits.

use std::collections::HashSet;
use std::sync::Arc;

use super::chains::Chains;
use super::class::Class;
use super::evidence::{Evidence, Known};
use super::next::ESTABLISHED;
use super::partition::{Outside, Partition, Run};
use super::rates::{Rates, Tally};
use super::testability::Testability;
use super::yields::{Useless, Yields};
use super::{Model, Prior};
use crate::history::{Find, Graph, Rev};

/// What is believed about who the culprit is.
#[derive(Clone, Debug)]
pub struct Belief {
    pub(super) graph: Arc<Graph>,
    pub(super) model: Model,
    pub(super) rates: Rates,
    prior: Vec<f64>,
    /// Which candidates were ruled out otherwise than by trials; empty as long as none was.
    ruled_out: Vec<bool>,
    pub(super) partition: Partition,
    pub(super) classes: Vec<Class>,
    pub(super) evidence: Evidence,
    pub(super) testability: Testability,
    pub(super) yields: Yields,
}

/// What is left of the probability of a culprit that was ruled out otherwise than by trials.
const RULED_OUT: f64 = 1e-3;

/// Below this probability that it will ever tell something, no more trials of a revision are run.
const HOPELESS: f64 = 0.003;

/// Below this one its neighbours are doubted, too.
const DOUBTFUL: f64 = 0.1;

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

impl Belief {
    /// Every candidate is as likely as any other.
    pub fn new(graph: Arc<Graph>, model: Model) -> Belief {
        let prior = Prior::even(graph.candidates());
        Belief::with_prior(graph, model, &prior)
    }

    /// The candidates are as likely as the prior says; those that it does not know are ruled out.
    pub fn with_prior(graph: Arc<Graph>, model: Model, prior: &Prior) -> Belief {
        let prior = prior.probabilities();
        let weight = |rev: Rev| prior.get(rev as usize).copied().unwrap_or(0.0);
        let (chains, outside) = outside(&graph, &model);
        let partition = Partition::new(Arc::new(chains), weight, outside);
        let mut belief = Belief {
            rates: Rates::new(model.outlier),
            prior,
            ruled_out: Vec::new(),
            partition,
            classes: vec![Class::of_all()],
            evidence: Evidence::default(),
            testability: Testability::default(),
            yields: Yields::new(Tally::default(), Useless::default()),
            graph,
            model,
        };
        belief.update();
        belief
    }

    /// Takes another prior; what the trials told stays.
    pub fn set_prior(&mut self, prior: &Prior) {
        self.prior = prior.probabilities();
        self.reweigh();
    }

    /// Takes in trials of a revision that told something.
    pub fn observe(&mut self, rev: Rev, trials: Tally) {
        let at = self.know(rev);
        self.evidence.observe(&self.rates, at, trials);
        self.learn_yields();
        self.update();
    }

    /// Takes in trials of a revision that told nothing.
    pub fn observe_useless(&mut self, rev: Rev, trials: Useless) {
        let at = self.know(rev);
        if let Some(known) = self.evidence.known.get_mut(at) {
            known.useless = known.useless.plus(trials);
            known.built = true;
        }
        self.learn_yields();
        let is_doubtful = self.speaks(rev) < DOUBTFUL;
        if let Some(known) = self.evidence.known.get_mut(at)
            && is_doubtful
            && !std::mem::replace(&mut known.doubted, true)
        {
            self.testability.learn(&self.graph, rev, true);
        }
        self.update();
    }

    /// How often trials tell nothing where some do tell something.
    fn learn_yields(&mut self) {
        let (mut told, mut useless) = (Tally::default(), Useless::default());
        for known in self.evidence.known.iter().filter(|known| known.tally.trials() > 0) {
            told = told.plus(known.tally);
            useless = useless.plus(known.useless);
        }
        self.yields = Yields::new(told, useless);
    }

    /// Takes in that there is an image of the revision, and its signature if that is known.
    pub fn built(&mut self, rev: Rev, signature: Option<&str>) {
        let at = self.know(rev);
        if let Some(known) = self.evidence.known.get_mut(at)
            && !std::mem::replace(&mut known.built, true)
        {
            self.testability.learn(&self.graph, rev, false);
        }
        if let Some(signature) = signature {
            self.evidence.sign(&self.graph, &self.rates, at, signature);
        }
        self.update();
    }

    /// Takes in that the revision can't be tested. It stays a candidate like any other.
    pub fn untestable(&mut self, rev: Rev) {
        let at = self.know(rev);
        if let Some(known) = self.evidence.known.get_mut(at)
            && !std::mem::replace(&mut known.untestable, true)
        {
            self.testability.learn(&self.graph, rev, true);
        }
        self.update();
    }

    /// Takes in which commits can't change the image, all of them: they touch documentation, other
    /// architectures, files that are not built. Each has the image of its parent, so they need no
    /// build, share their trials and are hardly ever the culprit. Merges are not among them. What
    /// was said before is taken back of those that are not named again.
    pub fn cannot_change(&mut self, revs: impl IntoIterator<Item = Rev>) {
        let single = |rev: &Rev| self.graph.parents(*rev).len() == 1;
        let inert: HashSet<Rev> = revs.into_iter().filter(single).collect();
        self.evidence.set_inert(&self.graph, &self.rates, inert);
        self.reweigh();
    }

    /// Takes in that the culprit is hardly among the ancestors of a revision, nor the revision
    /// itself, for a reason that its trials do not tell.
    pub fn rule_out(&mut self, rev: Rev) {
        let ancestors = self.graph.ancestors(rev);
        self.ruled_out.resize(self.graph.candidates(), false);
        for (rev, done) in (0..).zip(&mut self.ruled_out) {
            *done |= ancestors.contains(rev);
        }
        self.reweigh();
    }

    /// Works out the priors anew.
    fn reweigh(&mut self) {
        let weight = |rev: Rev| {
            let mut prior = self.prior.get(rev as usize).copied().unwrap_or(0.0);
            if self.evidence.is_inert(rev) {
                prior *= self.model.signature_lies;
            }
            if self.ruled_out.get(rev as usize).is_some_and(|&done| done) {
                prior *= RULED_OUT;
            }
            prior
        };
        self.partition.weigh(weight);
        self.update();
    }

    /// Whether it was tried to build the revision itself; its trials may be those of another that
    /// is thought to have the same image, see [`Belief::cannot_change`].
    pub(super) fn is_built(&self, rev: Rev) -> bool {
        let known = self.evidence.number(rev).and_then(|at| self.evidence.known.get(at));
        known.is_some_and(|known| known.built || known.untestable)
    }

    /// Posterior probability that this candidate is the culprit.
    pub fn probability(&self, rev: Rev) -> f64 {
        let hypothesis = self.partition.hypothesis(rev).filter(|_| self.graph.is_candidate(rev));
        hypothesis.map_or(0.0, |(prior, class)| prior * self.factor(class))
    }

    /// Posterior probability that it is none of the candidates: that the bug is older than the
    /// range or, where its fix is looked for, not fixed in it.
    pub fn outside(&self) -> f64 {
        self.everywhere() + self.partition.bases().iter().map(|run| self.mass(run)).sum::<f64>()
    }

    /// Posterior probability that the bug shows all over the range.
    pub(super) fn everywhere(&self) -> f64 {
        self.partition.everywhere() * self.factor(self.partition.outside_class())
    }

    /// The revision outside the range, none of the good ends, that is likeliest to have the bug already,
    /// where some have it and others not, and the probability of that.
    pub fn bad_base(&self) -> Option<(Rev, f64)> {
        let good = self.model.find.good_ends(&self.graph);
        let of = |run: &Run| (self.partition.likeliest(run).0, self.mass(run));
        let bases = self.partition.bases().iter().map(of).filter(|(rev, _)| !good.contains(rev));
        let worst = bases.max_by(|a, b| a.1.total_cmp(&b.1));
        worst.map(|(rev, mass)| (rev, mass + self.everywhere()))
    }

    /// Whether a side branch left here, below the good ends.
    pub(super) fn is_base(&self, rev: Rev) -> bool {
        let is_good_end = || self.graph.good_tips().contains(&rev);
        self.model.find == Find::Cause && !self.graph.is_candidate(rev) && !is_good_end()
    }

    /// Probability that a good end has the bug.
    pub(super) fn bad_good_end(&self) -> f64 {
        let good = self.model.find.good_ends(&self.graph);
        let of =
            |&rev: &Rev| self.partition.hypothesis(rev).filter(|_| !self.graph.is_candidate(rev));
        let its = good.iter().filter_map(of).map(|(prior, class)| prior * self.factor(class));
        self.everywhere() + its.sum::<f64>()
    }

    /// Probability that what these trials are of has the bug, by them alone and at even odds
    /// beforehand, at the rates that follow if `culprit` is the culprit.
    pub fn has_bug(&self, trials: Tally, culprit: Rev) -> f64 {
        let class = self.partition.hypothesis(culprit).map(|(_, class)| class);
        let class = class.and_then(|class| self.classes.get(class as usize));
        let Some((if_bad, if_good)) = class.map(|class| class.odds_of(&self.rates, trials)) else {
            return 0.5;
        };
        if_bad / (if_bad + if_good).max(f64::MIN_POSITIVE)
    }

    /// Whether trials say with the model's confidence that what they are of has the bug, or that it
    /// has not, at the rates that follow if `culprit` is the culprit; `None` if they do not say. A
    /// single hit never does.
    pub fn shows(&self, trials: Tally, culprit: Rev) -> Option<bool> {
        let bad = self.has_bug(trials, culprit);
        let is_sure = |probability| probability >= self.model.confidence;
        match () {
            () if is_sure(bad) && trials.hits >= ESTABLISHED => Some(true),
            () if is_sure(1.0 - bad) && trials.clean > 0 => Some(false),
            () => None,
        }
    }

    fn factor(&self, class: u32) -> f64 {
        self.classes.get(class as usize).map_or(0.0, |class| class.factor)
    }

    /// Posterior mass of a run.
    pub(super) fn mass(&self, run: &Run) -> f64 {
        run.prior * self.factor(run.class)
    }

    /// The likeliest candidate and its probability.
    pub fn best(&self) -> Option<(Rev, f64)> {
        let likeliest = |run: &Run| {
            let (rev, prior) = self.partition.likeliest(run);
            (rev, prior * self.factor(run.class))
        };
        let runs = self.partition.candidate_runs().iter().map(likeliest);
        runs.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }

    /// The fewest candidates that hold `share` of the probability that lies on candidates,
    /// likeliest first.
    pub fn credible(&self, share: f64) -> Vec<(Rev, f64)> {
        let all = 1.0 - self.outside();
        let wanted = share * all;
        // As long as those left out are too unlikely to be missed, the likeliest are the same.
        let least = (all - wanted).max(0.0) / (2 * self.graph.candidates().max(1)) as f64;
        let mut ranked: Vec<(Rev, f64)> = Vec::new();
        for run in self.partition.candidate_runs() {
            let factor = self.factor(run.class);
            if self.partition.likeliest(run).1 * factor >= least {
                let members = self.partition.members(run).map(|(rev, prior)| (rev, prior * factor));
                ranked.extend(members.filter(|(_, mass)| *mass >= least));
            }
        }
        ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
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

    /// What the trials of a revision, and of all others of its image, told.
    pub fn tally(&self, rev: Rev) -> Tally {
        self.evidence.tally(&self.graph, rev)
    }

    /// What the trials of a revision told that were taken in under its own name.
    pub fn own_tally(&self, rev: Rev) -> Tally {
        let known = self.evidence.number(rev).and_then(|at| self.evidence.known.get(at));
        known.map(|known| known.tally).unwrap_or_default()
    }

    /// The most hits that any one revision has that would not show the bug unless the bad end did.
    pub(super) fn most_hits(&self) -> u32 {
        let counts = |rev| self.model.find == Find::Fix || self.graph.is_candidate(rev);
        let candidates = self.evidence.known.iter().filter(|known| counts(known.rev));
        candidates.map(|known| self.tally(known.rev).hits).max().unwrap_or(0)
    }

    /// Probability that this revision has the bug.
    pub fn probability_bad(&self, rev: Rev) -> f64 {
        if let Some(at) = self.evidence.number(rev) {
            let bad = self.classes.iter().filter(|class| class.is_bad(at));
            return bad.map(|class| class.mass).sum();
        }
        let contained = self.partition.chains.contained(&[rev]);
        let own = self.partition.chains.locate(rev);
        let inside = |run: &Run| {
            let all = contained.get(run.chain as usize).is_some_and(|&word| word != 0);
            self.partition.inside(run, own, all) * self.factor(run.class)
        };
        let inside: f64 = self.partition.runs().iter().map(inside).sum();
        match self.model.find {
            Find::Cause => inside + self.everywhere(),
            Find::Fix => 1.0 - inside,
        }
    }

    /// The number of clean trials after which a revision that had the bug would have shown it
    /// with the model's confidence, if `culprit` is the culprit; at most `most`.
    pub fn clean_trials_needed(&self, culprit: Rev, most: u32) -> u32 {
        let class = self.partition.hypothesis(culprit).map(|(_, class)| class);
        let Some(class) = class.and_then(|class| self.classes.get(class as usize)) else {
            return most;
        };
        let missed = |k: u32| -> f64 {
            let miss = |(p, m): (&f64, &f64)| m * (1.0 - p).powi(k.try_into().unwrap_or(i32::MAX));
            self.rates.hit.iter().zip(&class.hit).map(miss).sum()
        };
        (1..most).find(|&k| missed(k) <= 1.0 - self.model.confidence).unwrap_or(most)
    }

    /// Whether nothing more can be learned from trials of this revision.
    pub fn is_untestable(&self, rev: Rev) -> bool {
        let own = self.evidence.number(rev).and_then(|at| self.evidence.known.get(at));
        own.is_some_and(|known| known.untestable)
            || self.speaks(rev) < HOPELESS
            || self.tally(rev).trials() == 0 && self.same_image(rev).any(|known| known.untestable)
    }

    /// Probability that further trials of this revision will ever tell something.
    pub(super) fn speaks(&self, rev: Rev) -> f64 {
        if self.tally(rev).trials() > 0 {
            return 1.0;
        }
        let useless = self.same_image(rev).map(|known| known.useless);
        let useless = useless.fold(Useless::default(), Useless::plus);
        let is_end = !self.graph.is_candidate(rev) || self.graph.bad_tip() == Some(rev);
        self.yields.speaks(useless, is_end)
    }

    /// Whether trials of a revision outside the range will ever tell something, of which so many
    /// told nothing, and none told anything.
    pub fn is_hopeless_after(&self, useless: Useless) -> bool {
        self.yields.speaks(useless, false) < HOPELESS
    }

    /// The revision under whose name trials of this one's image go: the first that was tried, or
    /// built.
    pub fn representative(&self, rev: Rev) -> Rev {
        let tried = |known: &&Known| known.tally.trials() > 0 || known.useless.trials() > 0;
        let first = self.same_image(rev).find(tried);
        first.or_else(|| self.same_image(rev).find(|known| known.built)).map_or(rev, |it| it.rev)
    }

    fn same_image(&self, rev: Rev) -> impl Iterator<Item = &Known> {
        self.evidence.same_image(&self.graph, rev)
    }

    /// The number of a known revision. One that was not known splits the classes; the posterior is
    /// to be worked out anew then.
    fn know(&mut self, rev: Rev) -> usize {
        if let Some(at) = self.evidence.number(rev) {
            return at;
        }
        let parted = |split: super::partition::Split| {
            let mut class = self.classes.get(split.parted as usize)?.clone();
            class.bad.push(split.bad);
            Some(class)
        };
        self.classes =
            self.partition.split(rev, self.model.find).into_iter().filter_map(parted).collect();
        self.evidence.add(&self.graph, &self.rates, rev)
    }

    /// Works out the posterior anew from all trials.
    fn update(&mut self) {
        let lie = self.model.signature_lies.ln();
        let mut highest = f64::NEG_INFINITY;
        for class in &mut self.classes {
            class.weigh(&self.rates, &self.evidence, lie);
            highest = highest.max(class.ln_likelihood);
        }
        let mut total = 0.0;
        for (class, prior) in self.classes.iter_mut().zip(self.partition.class_priors()) {
            class.factor = (class.ln_likelihood - highest).exp();
            class.mass = prior * class.factor;
            total += class.mass;
        }
        for class in &mut self.classes {
            class.factor /= total;
            class.mass /= total;
        }
    }
}

/// The chains, and what is thought beforehand of none of the candidates being the culprit.
///
/// A side branch may have left below the good ends, where the bug was already which they have a fix
/// of; and of several good ends one may have it. So where more than one revision lies just outside
/// the range, each of them is a hypothesis. A fix asks otherwise which revisions had the bug to begin
/// with.
fn outside(graph: &Graph, model: &Model) -> (Chains, Outside) {
    let (candidates, revisions) = (graph.candidates(), graph.revisions());
    if model.find == Find::Fix || revisions < candidates + 2 {
        return (Chains::new(graph), Outside { everywhere: model.outside, bases: Vec::new() });
    }
    let good = graph.good_tips();
    let everywhere = model.outside / 2.0;
    let of_good = (model.outside - everywhere) / good.len().max(1) as f64;
    let of_other = model.base_is_bad() / candidates.max(1) as f64;
    let of = |rev: Rev| if good.contains(&rev) { of_good } else { of_other };
    let bases = (candidates as Rev..revisions as Rev).map(of).collect();
    (Chains::with_outside(graph), Outside { everywhere, bases })
}
