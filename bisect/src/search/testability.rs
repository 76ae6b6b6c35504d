//! How likely it is that a revision can't be tested.

use crate::history::{Children, Graph, Rev};

/// How far the neighbourhood of a revision tells about whether it can be tested: as little as one
/// neighbour 50 commits off. Broken stretches come in every length, hence no scale of its own.
const NEIGHBOURHOOD: f64 = 0.02;

/// Share of revisions that can't be tested, where nothing is known.
const UNTESTABLE: f64 = 0.02;

/// Nothing further away than this counts, in commits.
const HORIZON: u32 = 4096;

/// What is known of where revisions can't be tested. Their neighbours are likelier not to be
/// testable either, the nearer the likelier; those of tested ones are likelier to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Testability {
    tried: Vec<(Rev, bool)>,
    /// Nothing as long as everything could be tested: one revision is as good as the next then.
    near: Option<Near>,
}

#[derive(Clone, Debug)]
struct Near {
    children: Children,
    /// By revision, nearness to those that can't be tested, and to all that were tried.
    broken: Vec<f64>,
    tried: Vec<f64>,
}

impl Testability {
    /// Takes in whether a revision could be tested.
    pub(super) fn learn(&mut self, graph: &Graph, rev: Rev, broken: bool) {
        self.tried.push((rev, broken));
        match &mut self.near {
            Some(near) => near.spread(graph, rev, broken),
            None if broken => {
                let mut near = Near {
                    children: graph.children(),
                    broken: vec![0.0; graph.revisions()],
                    tried: vec![0.0; graph.revisions()],
                };
                for &(rev, broken) in &self.tried {
                    near.spread(graph, rev, broken);
                }
                self.near = Some(near);
            }
            None => {}
        }
    }

    /// Whether some revisions are likelier to be testable than others.
    pub(super) fn is_uneven(&self) -> bool {
        self.near.is_some()
    }

    /// Probability that a revision that was not tried can't be tested.
    pub(super) fn risk(&self, rev: Rev) -> f64 {
        let Some(near) = &self.near else { return UNTESTABLE };
        let at = |near: &[f64]| near.get(rev as usize).copied().unwrap_or(0.0);
        (at(&near.broken) + NEIGHBOURHOOD * UNTESTABLE) / (at(&near.tried) + NEIGHBOURHOOD)
    }
}

impl Near {
    fn spread(&mut self, graph: &Graph, rev: Rev, broken: bool) {
        for (at, steps) in graph.distances(&self.children, rev, HORIZON) {
            let near = 1.0 / (1.0 + f64::from(steps));
            if let Some(tried) = self.tried.get_mut(at as usize) {
                *tried += near;
            }
            if let Some(of_broken) = self.broken.get_mut(at as usize).filter(|_| broken) {
                *of_broken += near;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Testability;
    use crate::history::Graph;

    #[test]
    fn neighbours_of_what_is_broken_are_shunned() {
        let graph = Graph::linear(1000);
        let mut testability = Testability::default();
        testability.learn(&graph, 999, false);
        assert!(!testability.is_uneven());
        testability.learn(&graph, 500, true);
        let risk = |rev| testability.risk(rev);
        assert!(risk(501) > 0.9 && risk(501) > risk(550) && risk(550) > risk(900));
        assert!(risk(998) < 0.01, "{}", risk(998));
        testability.learn(&graph, 510, false);
        assert!(testability.risk(511) < 0.2);
    }
}
