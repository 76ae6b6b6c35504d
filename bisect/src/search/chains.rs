//! The candidates as chains: what merges and forks leave of a history.
//!
//! A chain is a run of commits of which each is the only candidate child of the one before, and
//! has no other candidate parent. Whatever contains one commit of a chain contains all before it,
//! so a history of a million commits is a graph of some hundred thousand chains, and a linear one
//! is a single chain.

use std::ops::Range;

use crate::history::{Graph, Rev};

/// A chain: an index into [`Chains`]. Parents come before children.
pub(super) type Chain = u32;

/// A candidate's place when candidates are put in order by chain, and along it.
pub(super) type Place = u32;

/// The chains of a graph. 12 bytes a candidate.
///
/// Revisions outside the range may be among them: they come first, each a chain of its own.
#[derive(Clone, Debug)]
pub(crate) struct Chains {
    /// How many of the chains are revisions outside the range.
    beyond: Chain,
    /// First place of each chain, and one past the last place of all.
    starts: Vec<Place>,
    members: Vec<Rev>,
    places: Vec<Place>,
    of: Vec<Chain>,
    parent_starts: Vec<u32>,
    parents: Vec<Chain>,
}

impl Chains {
    /// The chains of this graph's candidates.
    pub(crate) fn new(graph: &Graph) -> Chains {
        Chains::among(graph, graph.candidates())
    }

    /// The same, and every revision just outside.
    pub(super) fn with_outside(graph: &Graph) -> Chains {
        Chains::among(graph, graph.revisions())
    }

    /// The chains of the first `all` revisions.
    fn among(graph: &Graph, all: usize) -> Chains {
        let candidates = graph.candidates();
        let beyond = (all - candidates) as Chain;
        let mut children = vec![0u8; candidates];
        for rev in 0..candidates as Rev {
            for parent in graph.candidate_parents(rev) {
                if let Some(children) = children.get_mut(parent as usize) {
                    *children = children.saturating_add(1);
                }
            }
        }
        let mut of: Vec<Chain> = vec![0; all];
        for (chain, of) in (0..).zip(of.iter_mut().skip(candidates)) {
            *of = chain;
        }
        let mut lengths: Vec<u32> = vec![1; beyond as usize];
        let (mut parents, mut parent_starts) = (Vec::new(), vec![0; beyond as usize + 1]);
        for rev in 0..candidates as Rev {
            let known = graph.parents(rev).iter().copied().filter(|&it| (it as usize) < all);
            let mut its = known.clone();
            let first = its.next();
            let only = first.filter(|&parent| {
                its.next().is_none() && children.get(parent as usize).is_some_and(|&n| n == 1)
            });
            let chain = match only.and_then(|parent| of.get(parent as usize)) {
                Some(&chain) => chain,
                None => {
                    let chain_of = |parent: Rev| of.get(parent as usize).copied();
                    parents.extend(known.filter_map(chain_of));
                    parent_starts.push(parents.len() as u32);
                    lengths.push(0);
                    (lengths.len() - 1) as Chain
                }
            };
            if let Some(length) = lengths.get_mut(chain as usize) {
                *length += 1;
            }
            if let Some(of) = of.get_mut(rev as usize) {
                *of = chain;
            }
        }
        let mut starts: Vec<Place> = Vec::with_capacity(lengths.len() + 1);
        let mut next = 0;
        starts.push(0);
        for length in lengths {
            next += length;
            starts.push(next);
        }
        let mut free = starts.clone();
        let (mut places, mut members) = (vec![0; all], vec![0; all]);
        for ((rev, place), &chain) in (0..).zip(&mut places).zip(&of) {
            if let Some(free) = free.get_mut(chain as usize) {
                *place = *free;
                *free += 1;
            }
            if let Some(member) = members.get_mut(*place as usize) {
                *member = rev;
            }
        }
        Chains { beyond, starts, members, places, of, parent_starts, parents }
    }

    /// How many of the chains, and of the places, are revisions outside the range: the first ones.
    pub(super) fn beyond(&self) -> u32 {
        self.beyond
    }

    /// How many chains there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The places of a chain's members, from its oldest.
    pub(super) fn range(&self, chain: Chain) -> Range<Place> {
        let at = |index: usize| self.starts.get(index).copied().unwrap_or_default();
        at(chain as usize)..at(chain as usize + 1)
    }

    /// The chains that the oldest commit of a chain has its parents in, in the commit's order.
    /// All of each of them is contained in the chain.
    pub(super) fn parents(&self, chain: Chain) -> &[Chain] {
        let chain = chain as usize;
        match (self.parent_starts.get(chain), self.parent_starts.get(chain + 1)) {
            (Some(&from), Some(&to)) => {
                self.parents.get(from as usize..to as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// The candidate at a place.
    pub(super) fn member(&self, place: Place) -> Rev {
        self.members.get(place as usize).copied().unwrap_or_default()
    }

    /// The candidates at these places, in their order.
    pub(super) fn members(&self, places: Range<Place>) -> &[Rev] {
        self.members.get(places.start as usize..places.end as usize).unwrap_or_default()
    }

    /// The chain and the place of a revision; `None` for one that is not among them.
    pub(super) fn locate(&self, rev: Rev) -> Option<(Chain, Place)> {
        Some((*self.of.get(rev as usize)?, *self.places.get(rev as usize)?))
    }

    /// Which chains each of up to 64 revisions contains as a whole, their own left out: bit `i` of
    /// a chain's word is for `revs[i]`.
    pub(super) fn contained(&self, revs: &[Rev]) -> Vec<u64> {
        let mut words = vec![0u64; self.len()];
        let mut highest = 0;
        for (bit, &rev) in revs.iter().take(64).enumerate() {
            let Some((chain, _)) = self.locate(rev) else { continue };
            highest = highest.max(chain);
            for &parent in self.parents(chain) {
                if let Some(word) = words.get_mut(parent as usize) {
                    *word |= 1 << bit;
                }
            }
        }
        for chain in (0..highest).rev() {
            let word = words.get(chain as usize).copied().unwrap_or(0);
            if word != 0 {
                for &parent in self.parents(chain) {
                    if let Some(of_parent) = words.get_mut(parent as usize) {
                        *of_parent |= word;
                    }
                }
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::Chains;
    use crate::history::Graph;

    #[test]
    fn a_line_is_one_chain_and_a_merge_parts_it() {
        assert_eq!(Chains::new(&Graph::linear(1000)).len(), 1);
        // 0 - 1 - 4 - 5 with 2 - 3 forked from 0 and merged by 4.
        let parents = [vec![6], vec![0], vec![0], vec![2], vec![1, 3], vec![4]];
        let chains = Chains::new(&Graph::new(&parents, 7, vec![6]));
        let all: Vec<_> =
            (0..chains.len() as u32).map(|it| chains.members(chains.range(it))).collect();
        assert_eq!(all, [&[0][..], &[1], &[2, 3], &[4, 5]]);
        assert_eq!(chains.parents(3), [1, 2]);
        assert_eq!(chains.contained(&[3, 5, 1]), [0b111, 0b010, 0b010, 0]);
        assert_eq!(chains.locate(5), Some((3, 5)));
        assert_eq!(chains.locate(6), None);
    }
}
