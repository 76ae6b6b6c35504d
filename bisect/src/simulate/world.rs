//! What is true in a simulated history, and what finding out costs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::history::{Graph, Rev};
use crate::rng::Rng;
use crate::search::Costs;

/// What goes wrong besides the bug, and how reliably the bug shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nature {
    /// Probability that a trial of a revision with the bug shows it.
    pub hit_rate: f64,
    /// Probability that a trial of a revision without the bug shows the same all the same.
    pub false_rate: f64,
    /// Probability that a trial dies of another bug first, where that one is.
    pub foreign: f64,
    /// Share of the history that has this other bug: 1 is all of it, good tip included.
    pub foreign_span: f64,
    /// Share of the revisions that can't be built, about.
    pub broken: f64,
    /// Length of a stretch of them, in commits.
    pub broken_length: usize,
}

/// What points at some commits before the first trial, as the files do that a crash names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspicion {
    /// Share of the candidates that are suspected.
    pub share: f64,
    /// Probability that the culprit is among them.
    pub right: f64,
}

/// A history and what is true in it.
///
/// Trial `n` of a revision ends the same whoever runs it, so rules that are compared in one world
/// differ by what they do, and not by luck.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) graph: Arc<Graph>,
    pub(super) culprit: Rev,
    nature: Nature,
    bad: Vec<bool>,
    foreign: Vec<bool>,
    broken: Vec<bool>,
    seed: u64,
}

/// How one trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Hit,
    Clean,
    Foreign,
}

/// How some trials of one revision ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// The bug showed, or something that looks the same.
    pub(super) hits: u32,
    /// Nothing showed.
    pub(super) clean: u32,
    /// Another bug showed first.
    pub(super) foreign: u32,
}

impl World {
    /// A world with this culprit; where other bugs are and what is broken is drawn from `seed`.
    pub(super) fn new(graph: Arc<Graph>, culprit: Rev, nature: Nature, seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let revisions = graph.revisions();
        let foreign = match nature.foreign_span {
            span if span >= 1.0 => vec![true; revisions],
            span => {
                let length = (span * graph.candidates() as f64).round() as usize;
                stretch(&graph, &mut rng, length)
            }
        };
        let mut world = World {
            bad: graph.containing(culprit),
            foreign,
            broken: vec![false; revisions],
            graph,
            culprit,
            nature,
            seed: seed.rotate_left(32),
        };
        let wanted = (nature.broken * world.graph.candidates() as f64).round() as usize;
        for _ in 0..wanted.div_ceil(nature.broken_length.max(1)) {
            let stretch = stretch(&world.graph, &mut rng, nature.broken_length);
            world.broken.iter_mut().zip(stretch).for_each(|(all, this)| *all |= this);
        }
        // Whoever starts a bisection has seen the bug at the bad tip.
        if let Some(tip) = world.graph.bad_tip().and_then(|tip| world.broken.get_mut(tip as usize))
        {
            *tip = false;
        }
        world
    }

    /// The candidates that are suspected; nothing else in the world depends on it.
    pub(super) fn suspects(&self, suspicion: Suspicion) -> Vec<Rev> {
        let mut rng = Rng::new(self.seed ^ 0x5057);
        let is_right = rng.uniform() < suspicion.right;
        let mut suspected = |rev: &Rev| {
            let drawn = rng.uniform() < suspicion.share;
            if *rev == self.culprit { is_right } else { drawn }
        };
        (0..self.graph.candidates() as Rev).filter(&mut suspected).collect()
    }

    fn trial(&self, rev: Rev, number: u32) -> Seen {
        let own = (u64::from(rev) << 32) | u64::from(number);
        let mut rng = Rng::new(self.seed ^ own.wrapping_mul(0xff51_afd7_ed55_8ccd));
        let is = |set: &[bool]| set.get(rev as usize).copied().unwrap_or(false);
        // Both are always drawn: a world with more of one thing keeps what it had of the other.
        let (foreign, hit) = (rng.uniform(), rng.uniform());
        let rate = if is(&self.bad) { self.nature.hit_rate } else { self.nature.false_rate };
        if is(&self.foreign) && foreign < self.nature.foreign {
            Seen::Foreign
        } else if hit < rate {
            Seen::Hit
        } else {
            Seen::Clean
        }
    }

    #[cfg(test)]
    pub(super) fn break_range(&mut self, range: std::ops::Range<Rev>) {
        range.for_each(|rev| self.broken[rev as usize] = true);
    }
}

/// The revisions that have something which came in at one commit and went about `length` later:
/// those that contain the one and not the other.
fn stretch(graph: &Graph, rng: &mut Rng, length: usize) -> Vec<bool> {
    let from = rng.below(graph.candidates()) as Rev;
    let mut has = graph.containing(from);
    let gone = (from as usize..graph.candidates())
        .filter(|&rev| has.get(rev).copied().unwrap_or(false))
        .nth(length);
    if let Some(gone) = gone {
        let fixed = graph.containing(gone as Rev);
        has.iter_mut().zip(fixed).for_each(|(has, fixed)| *has &= !fixed);
    }
    has
}

/// Builds and trials in a world, and what they took.
#[derive(Debug)]
pub(super) struct Lab<'a> {
    pub(super) world: &'a World,
    pub(super) costs: Costs,
    pub(super) trials: u64,
    pub(super) seconds: f64,
    built: HashSet<Rev>,
    tried: HashMap<Rev, u32>,
}

impl<'a> Lab<'a> {
    pub(super) fn new(world: &'a World, costs: Costs) -> Lab<'a> {
        Lab { world, costs, trials: 0, seconds: 0.0, built: HashSet::new(), tried: HashMap::new() }
    }

    /// Builds a revision, unless that was tried before, and says whether there is an image.
    pub(super) fn build(&mut self, rev: Rev) -> bool {
        if self.built.insert(rev) {
            self.seconds += self.costs.build_seconds;
        }
        !self.world.broken.get(rev as usize).copied().unwrap_or(false)
    }

    /// Revisions built, or tried to.
    pub(super) fn builds(&self) -> u64 {
        self.built.len() as u64
    }

    /// Revisions that could not be built.
    #[cfg(test)]
    pub(super) fn failed_builds(&self) -> usize {
        self.built.iter().filter(|&&rev| self.world.broken[rev as usize]).count()
    }

    /// Trials of a revision so far.
    pub(super) fn trials_of(&self, rev: Rev) -> u32 {
        self.tried.get(&rev).copied().unwrap_or(0)
    }

    /// Runs trials of a built revision, as many at a time as there are machines.
    pub(super) fn run(&mut self, rev: Rev, trials: u32) -> Counts {
        let before = self.tried.entry(rev).or_insert(0);
        let mut counts = Counts::default();
        for number in *before..before.saturating_add(trials) {
            match self.world.trial(rev, number) {
                Seen::Hit => counts.hits += 1,
                Seen::Clean => counts.clean += 1,
                Seen::Foreign => counts.foreign += 1,
            }
        }
        *before = before.saturating_add(trials);
        self.trials += u64::from(trials);
        let rounds = trials.div_ceil(self.costs.machines.max(1));
        self.seconds += f64::from(rounds) * self.costs.trial_seconds;
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Lab, Nature, Suspicion, World};
    use crate::history::Graph;
    use crate::search::Costs;

    const NATURE: Nature = Nature {
        hit_rate: 0.3,
        false_rate: 0.01,
        foreign: 0.2,
        foreign_span: 0.1,
        broken: 0.1,
        broken_length: 20,
    };
    const COSTS: Costs = Costs { build_seconds: 100.0, trial_seconds: 10.0, machines: 4 };

    #[test]
    fn rates_are_as_asked_for() {
        let nature = Nature { foreign_span: 1.0, broken: 0.0, ..NATURE };
        let world = World::new(Arc::new(Graph::linear(10)), 5, nature, 3);
        let mut lab = Lab::new(&world, COSTS);
        let (bad, good) = (lab.run(7, 10_000), lab.run(4, 10_000));
        assert!((1850..2150).contains(&bad.foreign), "{bad:?}");
        assert!((2300..2500).contains(&bad.hits), "{bad:?}");
        assert!((50..110).contains(&good.hits), "{good:?}");
    }

    #[test]
    fn the_culprit_is_suspected_as_often_as_asked_for() {
        let graph = Arc::new(Graph::linear(1000));
        let suspicion = Suspicion { share: 0.1, right: 0.5 };
        let (mut suspects, mut right) = (0, 0);
        for seed in 0..200 {
            let suspected = World::new(graph.clone(), 5, NATURE, seed).suspects(suspicion);
            suspects += suspected.len();
            right += usize::from(suspected.contains(&5));
        }
        assert!((19_000..21_000).contains(&suspects), "{suspects}");
        assert!((75..125).contains(&right), "{right}");
    }

    #[test]
    fn a_share_is_broken_in_stretches() {
        let world = World::new(Arc::new(Graph::linear(10_000)), 5, NATURE, 1);
        let broken = world.broken.iter().filter(|&&broken| broken).count();
        assert!((700..=1000).contains(&broken), "{broken}");
        let edges = world.broken.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(edges <= 100, "{edges}");
        assert!(!world.broken[9_999]);
    }

    #[test]
    fn time_goes_by_rounds_and_first_builds() {
        let world = World::new(Arc::new(Graph::linear(10)), 5, NATURE, 1);
        let mut lab = Lab::new(&world, COSTS);
        lab.build(9);
        lab.build(9);
        lab.run(9, 5);
        assert_eq!((lab.builds(), lab.trials, lab.seconds), (1, 5, 120.0));
    }
}
