//! `git bisect`: halving the candidates.

use super::Answer;
use crate::cancel::Cancel;
use crate::history::{Graph, Rev};
use crate::rng::Rng;
use crate::search::{Chains, ancestor_sums};
use crate::simulate::world::Lab;

/// What `git bisect` says to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// Test this revision.
    Test(Rev),
    /// This is the first bad commit.
    Found(Rev),
    /// Only revisions that were skipped are left.
    OnlySkipped,
}

/// What is known to be good, bad and not testable, as `git bisect` keeps it.
#[derive(Debug)]
pub(super) struct Halving<'a> {
    graph: &'a Graph,
    chains: Chains,
    bad: Rev,
    /// 1 for what may be the culprit still, else 0.
    left: Vec<f64>,
    skipped: Vec<bool>,
    rng: Rng,
}

impl<'a> Halving<'a> {
    /// All candidates are left, the bad tip is bad; `None` if there are none.
    pub(super) fn new(graph: &'a Graph) -> Option<Halving<'a>> {
        let candidates = graph.candidates();
        Some(Halving {
            graph,
            chains: Chains::new(graph),
            bad: graph.bad_tip()?,
            left: vec![1.0; candidates],
            skipped: vec![false; candidates],
            rng: Rng::new(candidates as u64),
        })
    }

    /// The revision that halves what is left best. If that was skipped, one further down the list
    /// of the best, by chance but rather near its top.
    pub(super) fn pick(&mut self) -> Pick {
        let total: f64 = self.left.iter().sum();
        let reach = ancestor_sums(&self.chains, &self.left);
        let is_left = |rev: Rev| self.left.get(rev as usize).is_some_and(|&left| left > 0.0);
        let mut ranked: Vec<(Rev, f64)> = (0..)
            .zip(&reach)
            .filter(|&(rev, _)| rev != self.bad && is_left(rev))
            .map(|(rev, &reach)| (rev, reach.min(total - reach)))
            .collect();
        if ranked.is_empty() {
            return Pick::Found(self.bad);
        }
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let skipped = |rev: Rev| self.skipped.get(rev as usize).copied().unwrap_or(false);
        match ranked.first() {
            Some(&(best, _)) if !skipped(best) => return Pick::Test(best),
            _ => ranked.retain(|&(rev, _)| !skipped(rev)),
        }
        let chance = self.rng.uniform();
        let at = (ranked.len() as f64 * chance * chance.sqrt()) as usize;
        ranked.get(at).map_or(Pick::OnlySkipped, |&(rev, _)| Pick::Test(rev))
    }

    /// The revision has the bug: the culprit is among what it contains.
    pub(super) fn bad(&mut self, rev: Rev) {
        self.bad = rev;
        self.keep(rev, true);
    }

    /// The revision does not have the bug: nothing that it contains is the culprit.
    pub(super) fn good(&mut self, rev: Rev) {
        self.keep(rev, false);
    }

    /// The revision can't be judged.
    pub(super) fn skip(&mut self, rev: Rev) {
        if let Some(skipped) = self.skipped.get_mut(rev as usize) {
            *skipped = true;
        }
    }

    fn keep(&mut self, rev: Rev, contained: bool) {
        let ancestors = self.graph.ancestors(rev);
        for (rev, left) in (0..).zip(&mut self.left) {
            if ancestors.contains(rev) != contained {
                *left = 0.0;
            }
        }
    }
}

/// One trial decides; a revision that does not build is skipped.
pub(super) fn follow(lab: &mut Lab<'_>, cancel: &Cancel) -> Option<Answer> {
    let graph = lab.world.graph.clone();
    let Some(mut halving) = Halving::new(&graph) else { return Some(Answer::default()) };
    loop {
        if cancel.is_cancelled() {
            return None;
        }
        let rev = match halving.pick() {
            Pick::Test(rev) => rev,
            Pick::Found(rev) => return Some(Answer { named: Some(rev), claim: None }),
            Pick::OnlySkipped => return Some(Answer::default()),
        };
        if !lab.build(rev) {
            halving.skip(rev);
        } else if lab.run(rev, 1).clean == 1 {
            halving.good(rev);
        } else {
            halving.bad(rev);
        }
    }
}
