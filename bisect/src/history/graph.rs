//! The shape of a history: who is whose parent.

/// A revision: an index into a [`Graph`].
pub type Rev = u32;

/// The candidates and, behind them, the revisions just outside: parents of candidates and good
/// tips, which are good as far as anyone knows.
///
/// Candidates come first, parents before children, so the bad tip, from which all of them are
/// reachable, is the last of them. Parents are kept as one flat array with offsets: 4 bytes an
/// edge, and a walk touches memory in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    offsets: Vec<u32>,
    parents: Vec<Rev>,
    revisions: usize,
    good_tips: Vec<Rev>,
}

impl Graph {
    /// A graph whose candidate `i` has the parents `parents[i]`; each is either an earlier
    /// candidate or a revision outside, numbered from `parents.len()` on. `revisions` counts
    /// both kinds.
    ///
    /// Parents that keep to neither rule are left out.
    pub fn new(parents: &[Vec<Rev>], revisions: usize, good_tips: Vec<Rev>) -> Graph {
        let candidates = parents.len();
        let revisions = revisions.max(candidates);
        let mut offsets = Vec::with_capacity(candidates + 1);
        let mut flat = Vec::with_capacity(candidates + candidates / 8);
        offsets.push(0);
        for (child, of_child) in parents.iter().enumerate() {
            flat.extend(of_child.iter().copied().filter(|&parent| {
                let parent = parent as usize;
                parent < child || (candidates..revisions).contains(&parent)
            }));
            offsets.push(flat.len() as u32);
        }
        let good_tips = good_tips
            .into_iter()
            .filter(|&tip| (candidates..revisions).contains(&(tip as usize)))
            .collect();
        Graph { offsets, parents: flat, revisions, good_tips }
    }

    /// A history without merges: `candidates` commits on top of one good tip.
    pub fn linear(candidates: usize) -> Graph {
        let outside = candidates as Rev;
        let parents: Vec<Vec<Rev>> =
            (0..outside).map(|child| vec![if child == 0 { outside } else { child - 1 }]).collect();
        Graph::new(&parents, candidates + 1, vec![outside])
    }

    /// How many candidates there are: revisions `0..candidates()`.
    pub fn candidates(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many revisions there are in all.
    pub fn revisions(&self) -> usize {
        self.revisions
    }

    /// Whether the revision may be the culprit.
    pub fn is_candidate(&self, rev: Rev) -> bool {
        (rev as usize) < self.candidates()
    }

    /// The bad tip; there is none only if there are no candidates.
    pub fn bad_tip(&self) -> Option<Rev> {
        (self.candidates() as Rev).checked_sub(1)
    }

    /// The good tips, each a revision outside the candidates.
    pub fn good_tips(&self) -> &[Rev] {
        &self.good_tips
    }

    /// The parents of a revision, in the commit's order; none are known of a revision outside.
    pub fn parents(&self, rev: Rev) -> &[Rev] {
        let rev = rev as usize;
        match (self.offsets.get(rev), self.offsets.get(rev + 1)) {
            (Some(&from), Some(&to)) => {
                self.parents.get(from as usize..to as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// The parents that are candidates themselves.
    pub fn candidate_parents(&self, rev: Rev) -> impl Iterator<Item = Rev> + '_ {
        self.parents(rev).iter().copied().filter(|&parent| self.is_candidate(parent))
    }

    /// The candidates that `rev` contains: itself, if it is one, and its ancestors.
    pub fn ancestors(&self, rev: Rev) -> AncestorSet {
        let mut set = AncestorSet { words: vec![0; self.candidates().div_ceil(64)] };
        if self.is_candidate(rev) {
            set.insert(rev);
            // Children come after their parents, so one sweep downwards sees every ancestor.
            for child in (0..=rev).rev() {
                if set.contains(child) {
                    for parent in self.candidate_parents(child) {
                        set.insert(parent);
                    }
                }
            }
        }
        set
    }

    /// Steps from `rev` to every revision along parent edges in either direction; `u32::MAX`
    /// where there is no way.
    pub fn distances(&self, children: &[Vec<Rev>], rev: Rev) -> Vec<u32> {
        let mut distance = vec![u32::MAX; self.revisions];
        let mut queue = std::collections::VecDeque::from([rev]);
        if let Some(start) = distance.get_mut(rev as usize) {
            *start = 0;
        }
        while let Some(at) = queue.pop_front() {
            let here = distance.get(at as usize).copied().unwrap_or(u32::MAX);
            let up = children.get(at as usize).map(Vec::as_slice).unwrap_or_default();
            for &next in self.parents(at).iter().chain(up) {
                if let Some(far @ &mut u32::MAX) = distance.get_mut(next as usize) {
                    *far = here.saturating_add(1);
                    queue.push_back(next);
                }
            }
        }
        distance
    }

    /// For every revision, the candidates that it is a parent of.
    pub fn children(&self) -> Vec<Vec<Rev>> {
        let mut children = vec![Vec::new(); self.revisions];
        for child in 0..self.candidates() as Rev {
            for &parent in self.parents(child) {
                if let Some(of_parent) = children.get_mut(parent as usize) {
                    of_parent.push(child);
                }
            }
        }
        children
    }
}

/// A set of candidates, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AncestorSet {
    words: Vec<u64>,
}

impl AncestorSet {
    /// Whether the candidate is in the set.
    pub fn contains(&self, rev: Rev) -> bool {
        self.words.get(rev as usize / 64).is_some_and(|word| word >> (rev % 64) & 1 == 1)
    }

    fn insert(&mut self, rev: Rev) {
        if let Some(word) = self.words.get_mut(rev as usize / 64) {
            *word |= 1 << (rev % 64);
        }
    }

    /// How many candidates are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;

    /// 0 - 1 ----- 4 - 5, with 2 - 3 forked from the good tip and merged by 4.
    fn merged() -> Graph {
        let good = 6;
        let parents =
            [vec![good], vec![0], vec![good], vec![2], vec![1, 3], vec![4]].map(|p| p.to_vec());
        Graph::new(&parents, 7, vec![good])
    }

    #[test]
    fn ancestors_include_the_merged_branch() {
        let graph = merged();
        let members = |rev| -> Vec<u32> {
            let set = graph.ancestors(rev);
            (0..6).filter(|&c| set.contains(c)).collect()
        };
        assert_eq!(members(3), [2, 3]);
        assert_eq!(members(1), [0, 1]);
        assert_eq!(members(5), [0, 1, 2, 3, 4, 5]);
        assert_eq!(members(6), [] as [u32; 0]);
        assert_eq!(graph.bad_tip(), Some(5));
        assert_eq!(graph.good_tips(), [6]);
    }

    #[test]
    fn distances_go_both_ways() {
        let graph = merged();
        let distances = graph.distances(&graph.children(), 3);
        assert_eq!(distances, [3, 2, 1, 0, 1, 2, 2]);
    }

    #[test]
    fn impossible_parents_are_left_out() {
        let graph = Graph::new(&[vec![0, 1, 9]], 2, vec![0, 7]);
        assert_eq!(graph.parents(0), [1]);
        assert!(graph.good_tips().is_empty());
    }
}
