//! Whole searches against a simulated bug, with known rates and seeded randomness.
//!
//! The builds and the trials are simulated; what is tested is the belief and the choice.

use std::sync::Arc;

use super::{Action, Belief, Costs, Limits, Verdict, next};
use crate::history::{Graph, Rev};
use crate::search::{Model, Tally};

/// xorshift64*: enough for coins.
struct Coins(u64);

impl Coins {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }
}

/// What is true in a simulated history.
struct World {
    graph: Arc<Graph>,
    culprit: Rev,
    p: f64,
    q: f64,
    broken: std::ops::Range<Rev>,
    coins: Coins,
}

struct Run {
    verdict: Verdict,
    trials: u64,
    builds: usize,
    broken_builds: usize,
}

impl World {
    fn search(&mut self, confidence: f64) -> Run {
        let mut belief = Belief::new(self.graph.clone(), Model::new(confidence));
        let costs = Costs { build_seconds: 400.0, trial_seconds: 10.0, machines: 1 };
        let (mut trials, mut built, mut broken_builds) = (0, Vec::new(), 0);
        loop {
            match next(&belief, &costs, &Limits::default(), trials) {
                Action::Done(verdict) => {
                    return Run { verdict, trials, builds: built.len(), broken_builds };
                }
                Action::Test { rev, .. } if self.broken.contains(&rev) => {
                    broken_builds += 1;
                    belief.untestable(rev);
                }
                Action::Test { rev, trials: batch, .. } => {
                    if !built.contains(&rev) {
                        built.push(rev);
                        belief.built(rev, None);
                    }
                    let bad = self.graph.ancestors(rev).contains(self.culprit);
                    let rate = if bad { self.p } else { self.q };
                    let hits = (0..batch).filter(|_| self.coins.uniform() < rate).count() as u32;
                    belief.observe(rev, Tally { hits, clean: batch - hits });
                    trials += u64::from(batch);
                }
            }
        }
    }
}

/// Linux-shaped: branches fork from a recent point of the main line, grow, and are merged.
fn branchy(candidates: usize, coins: &mut Coins) -> Graph {
    let good = candidates as Rev;
    let mut parents: Vec<Vec<Rev>> = Vec::new();
    let mut main = good;
    while parents.len() < candidates {
        if coins.uniform() < 0.2 && parents.len() + 8 < candidates {
            let mut tip = main;
            let back = parents.len().saturating_sub(coins.below(20) + 1);
            if back > 0 && !parents.is_empty() {
                tip = back as Rev;
            }
            for _ in 0..=coins.below(6) {
                parents.push(vec![tip]);
                tip = parents.len() as Rev - 1;
            }
            parents.push(vec![main, tip]);
        } else {
            parents.push(vec![main]);
        }
        main = parents.len() as Rev - 1;
    }
    Graph::new(&parents, candidates + 1, vec![good])
}

struct Score {
    right: usize,
    named: usize,
    claimed: f64,
    trials: u64,
    builds: usize,
}

fn score(runs: usize, p: f64, q: f64, graph: impl Fn(&mut Coins) -> Graph) -> Score {
    let mut score = Score { right: 0, named: 0, claimed: 0.0, trials: 0, builds: 0 };
    for seed in 1..=runs as u64 {
        let mut coins = Coins(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let graph = Arc::new(graph(&mut coins));
        // A culprit that the bad tip does not contain is none.
        let culprit = coins.below(graph.candidates()) as Rev;
        let reachable = graph.ancestors(graph.bad_tip().unwrap());
        let culprit = (culprit..).find(|&c| reachable.contains(c)).unwrap();
        let run = World { graph, culprit, p, q, broken: 0..0, coins }.search(0.95);
        score.trials += run.trials;
        score.builds += run.builds;
        if let Verdict::Culprit { rev, probability, .. } = run.verdict {
            score.named += 1;
            score.claimed += probability;
            score.right += usize::from(rev == culprit);
        }
    }
    eprintln!(
        "p {p} q {q}: {} right of {} named of {runs}, {:.1} trials, {:.1} builds, claimed {:.3}",
        score.right,
        score.named,
        score.trials as f64 / runs as f64,
        score.builds as f64 / runs as f64,
        score.claimed / score.named.max(1) as f64,
    );
    score
}

/// Right at least as often as promised, allowing for three standard deviations of chance, and
/// nearly always with a name.
fn keeps_its_promise(runs: usize, p: f64, q: f64, graph: impl Fn(&mut Coins) -> Graph) {
    let score = score(runs, p, q, graph);
    let n = score.named as f64;
    let chance = 3.0 * (0.95 * 0.05 * n).sqrt();
    assert!(score.right as f64 >= 0.95 * n - chance, "{} of {}", score.right, score.named);
    assert!(score.named as f64 >= 0.9 * runs as f64, "{} named of {runs}", score.named);
}

#[test]
fn linear_histories() {
    for (p, q, runs) in [(1.0, 0.0, 100), (0.9, 0.01, 100), (0.3, 0.01, 50), (0.1, 0.01, 10)] {
        keeps_its_promise(runs, p, q, |_| Graph::linear(300));
    }
}

#[test]
fn histories_with_merges() {
    for (p, q, runs) in [(1.0, 0.0, 100), (0.9, 0.01, 100), (0.3, 0.01, 50)] {
        keeps_its_promise(runs, p, q, |coins| branchy(300, coins));
    }
}

#[test]
fn a_sure_bug_takes_about_as_many_builds_as_halving() {
    let score = score(50, 1.0, 0.0, |_| Graph::linear(1024));
    assert!(score.builds <= 50 * 14, "{}", score.builds);
}

#[test]
fn a_broken_stretch_is_left_in_few_tries() {
    for seed in 1..=20 {
        let graph = Arc::new(Graph::linear(1000));
        let coins = Coins(seed);
        let mut world = World { graph, culprit: 230, p: 0.9, q: 0.0, broken: 400..600, coins };
        let run = world.search(0.95);
        assert!(matches!(run.verdict, Verdict::Culprit { rev: 230, .. }), "{:?}", run.verdict);
        assert!(run.broken_builds <= 4, "{}", run.broken_builds);
    }
}

#[test]
fn a_culprit_in_a_broken_stretch_is_narrowed_down_to_it() {
    let graph = Arc::new(Graph::linear(200));
    let mut world =
        World { graph, culprit: 105, p: 0.9, q: 0.0, broken: 100..110, coins: Coins(7) };
    let run = world.search(0.95);
    let Verdict::Undecided { remaining, .. } = run.verdict else { panic!("{:?}", run.verdict) };
    // The first testable revision above the stretch may be the culprit too.
    assert!(remaining.iter().all(|&(rev, _)| (100..=110).contains(&rev)), "{remaining:?}");
    assert!(remaining.len() >= 10, "{remaining:?}");
}
