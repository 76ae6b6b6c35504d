//! Histories to search.

use std::sync::Arc;

use crate::history::{Graph, Rev};
use crate::rng::Rng;

/// What the history looks like.
#[derive(Clone, Debug)]
pub enum Shape {
    /// One commit after the other.
    Linear {
        /// How many may be the culprit.
        candidates: usize,
    },
    /// Branches that fork from the main line, or from each other, and are merged.
    Merges {
        /// How many may be the culprit.
        candidates: usize,
        /// Share of merges among them, from 0 to 0.4; Linux has 0.07.
        share: f64,
        /// Share of the branches that left below the good end, from 0 to 1.
        below: f64,
    },
    /// This one, and no other.
    Given(Arc<Graph>),
}

/// More branches than this are not open at a time.
const OPEN: usize = 64;

impl Shape {
    /// How many commits may be the culprit.
    pub fn candidates(&self) -> usize {
        match self {
            Shape::Linear { candidates } | Shape::Merges { candidates, .. } => *candidates,
            Shape::Given(graph) => graph.candidates(),
        }
    }

    /// A history of this shape; the same for the same seed.
    pub fn sample(&self, seed: u64) -> Arc<Graph> {
        self.history(&mut Rng::new(seed))
    }

    pub(super) fn history(&self, rng: &mut Rng) -> Arc<Graph> {
        match self {
            Shape::Linear { candidates } => Arc::new(Graph::linear(*candidates)),
            Shape::Merges { candidates, share, below } => {
                Arc::new(merged(*candidates, *share, *below, rng))
            }
            Shape::Given(graph) => graph.clone(),
        }
    }
}

/// A history in which every commit is in the last one. A share of the commits are merges, and as
/// many start a branch; the others go on where a branch ends. A share of the branches leave below
/// the good end, each at a commit of its own.
fn merged(candidates: usize, share: f64, below: f64, rng: &mut Rng) -> Graph {
    let good = candidates as Rev;
    let mut revisions = candidates + 1;
    let mut parents: Vec<Vec<Rev>> = Vec::with_capacity(candidates);
    let mut main = vec![good];
    let mut open: Vec<Rev> = Vec::new();
    while parents.len() < candidates {
        let this = parents.len() as Rev;
        let left = candidates - parents.len();
        let dice = rng.uniform();
        // Each open branch needs a merge of its own before the end.
        let must_merge = left <= open.len();
        let may_fork = left > open.len() + 1 && open.len() < OPEN;
        if !open.is_empty() && (must_merge || dice < share) {
            let merged = open.swap_remove(rng.below(open.len()));
            // A third of merges are a maintainer's, of a smaller tree into a larger one.
            match rng.below(3) {
                0 if !open.is_empty() && !must_merge => {
                    let into = rng.below(open.len());
                    if let Some(tip) = open.get_mut(into) {
                        parents.push(vec![*tip, merged]);
                        *tip = this;
                    }
                }
                _ => {
                    parents.push(vec![main.last().copied().unwrap_or(good), merged]);
                    main.push(this);
                }
            }
        } else if may_fork && (dice < 2.0 * share) && below > 0.0 && rng.uniform() < below {
            parents.push(vec![revisions as Rev]);
            revisions += 1;
            open.push(this);
        } else if may_fork && (dice < 2.0 * share) {
            let recent = main.len().div_ceil(2);
            let from = main.len() - 1 - rng.below(recent);
            parents.push(vec![main.get(from).copied().unwrap_or(good)]);
            open.push(this);
        } else {
            // One in eight commits is on the main line itself.
            let branch = rng.below(open.len() + open.len().div_ceil(7).max(1));
            match open.get_mut(branch) {
                Some(tip) => {
                    parents.push(vec![*tip]);
                    *tip = this;
                }
                None => {
                    parents.push(vec![main.last().copied().unwrap_or(good)]);
                    main.push(this);
                }
            }
        }
    }
    Graph::new(&parents, revisions, vec![good])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::merged;
    use crate::rng::Rng;

    proptest! {
        /// What the bad tip does not contain would be no candidate.
        #[test]
        fn the_last_commit_contains_all(
            candidates in 1usize..2000, share in 0.0..0.4, below in 0.0..1.0, seed in any::<u64>()
        ) {
            let graph = merged(candidates, share, below, &mut Rng::new(seed));
            prop_assert_eq!(graph.candidates(), candidates);
            prop_assert_eq!(graph.ancestors(graph.bad_tip().unwrap()).count(), candidates);
        }
    }

    #[test]
    fn there_are_as_many_merges_as_asked_for() {
        let graph = merged(20_000, 0.07, 0.5, &mut Rng::new(1));
        let merges = (0..20_000).filter(|&rev| graph.parents(rev).len() == 2).count();
        assert!((1200..=1600).contains(&merges), "{merges}");
        let bases = graph.revisions() - 20_001;
        assert!((600..=800).contains(&bases), "{bases}");
    }
}
