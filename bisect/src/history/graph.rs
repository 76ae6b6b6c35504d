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
        let counts: Vec<u32> = parents.iter().map(|parents| parents.len() as u32).collect();
        Graph::from_parts(&counts, &parents.concat(), revisions, good_tips)
    }

    /// The same, from how many parents each candidate has, and all of these one after the other.
    pub(super) fn from_parts(
        counts: &[u32],
        parents: &[Rev],
        revisions: usize,
        good_tips: Vec<Rev>,
    ) -> Graph {
        let candidates = counts.len();
        let revisions = revisions.max(candidates);
        let mut offsets = Vec::with_capacity(candidates + 1);
        let mut flat = Vec::with_capacity(parents.len());
        offsets.push(0);
        let mut from = 0;
        for (child, &count) in counts.iter().enumerate() {
            let to = from + count as usize;
            flat.extend(parents.get(from..to).unwrap_or_default().iter().copied().filter(
                |&parent| {
                    let parent = parent as usize;
                    parent < child || (candidates..revisions).contains(&parent)
                },
            ));
            offsets.push(flat.len() as u32);
            from = to;
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

    /// By revision, whether it contains `rev`: is it, or has it among its ancestors.
    pub fn containing(&self, rev: Rev) -> Vec<bool> {
        let mut contains = vec![false; self.revisions];
        if let Some(own) = contains.get_mut(rev as usize) {
            *own = true;
        }
        // Children come after their parents.
        for child in 0..self.candidates() as Rev {
            let has = |&parent: &Rev| contains.get(parent as usize) == Some(&true);
            let inherits = self.parents(child).iter().any(has);
            if let Some(child) = contains.get_mut(child as usize).filter(|_| inherits) {
                *child = true;
            }
        }
        contains
    }

    /// The merge by which `rev` came into the line of first parents that ends in the bad tip: the
    /// oldest commit of that line that has it among its ancestors. `None` if that is no merge, or none
    /// has it.
    pub fn merged_by(&self, rev: Rev) -> Option<Rev> {
        let has = self.containing(rev);
        let first_parent = |&rev: &Rev| self.parents(rev).first().copied();
        let line = std::iter::successors(self.bad_tip(), first_parent);
        let oldest = line.take_while(|&rev| has.get(rev as usize) == Some(&true)).last()?;
        (self.parents(oldest).len() > 1).then_some(oldest)
    }

    /// Revisions with their steps from `rev` along parent edges in either direction, nearest first,
    /// up to `most` steps.
    pub fn distances(&self, children: &Children, rev: Rev, most: u32) -> Vec<(Rev, u32)> {
        let mut seen = vec![false; self.revisions];
        let mut found = Vec::new();
        if let Some(seen) = seen.get_mut(rev as usize) {
            *seen = true;
            found.push((rev, 0));
        }
        let mut next = 0;
        while let Some(&(at, steps)) = found.get(next) {
            next += 1;
            if steps == most {
                break;
            }
            for &near in self.parents(at).iter().chain(children.of(at)) {
                if let Some(seen) = seen.get_mut(near as usize).filter(|seen| !**seen) {
                    *seen = true;
                    found.push((near, steps + 1));
                }
            }
        }
        found
    }

    /// For every revision, the candidates that it is a parent of.
    pub fn children(&self) -> Children {
        // Offsets by counting, then each edge to its place.
        let mut offsets = vec![0u32; self.revisions + 1];
        for &parent in &self.parents {
            if let Some(count) = offsets.get_mut(parent as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for offset in &mut offsets {
            sum += *offset;
            *offset = sum;
        }
        let (mut free, mut children) = (offsets.clone(), vec![0; self.parents.len()]);
        for child in 0..self.candidates() as Rev {
            for &parent in self.parents(child) {
                let Some(free) = free.get_mut(parent as usize) else { continue };
                if let Some(slot) = children.get_mut(*free as usize) {
                    *slot = child;
                }
                *free += 1;
            }
        }
        Children { offsets, children }
    }
}

/// Who is whose child: the edges of a [`Graph`] the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    offsets: Vec<u32>,
    children: Vec<Rev>,
}

impl Children {
    /// The candidates that a revision is a parent of, oldest first.
    pub fn of(&self, rev: Rev) -> &[Rev] {
        let rev = rev as usize;
        match (self.offsets.get(rev), self.offsets.get(rev + 1)) {
            (Some(&from), Some(&to)) => {
                self.children.get(from as usize..to as usize).unwrap_or_default()
            }
            _ => &[],
        }
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
    fn a_branch_comes_in_by_its_merge() {
        let graph = merged();
        assert_eq!(graph.containing(2), [false, false, true, true, true, true, false]);
        assert_eq!(graph.merged_by(2), Some(4));
        assert_eq!(graph.merged_by(0), None, "0 is on the line itself");
        assert_eq!(Graph::linear(3).merged_by(9), None);
    }

    #[test]
    fn distances_go_both_ways() {
        let graph = merged();
        let children = graph.children();
        assert_eq!(children.of(6), [0, 2]);
        let distances = graph.distances(&children, 3, 2);
        assert_eq!(distances, [(3, 0), (2, 1), (4, 1), (6, 2), (1, 2), (5, 2)]);
    }

    #[test]
    fn impossible_parents_are_left_out() {
        let graph = Graph::new(&[vec![0, 1, 9]], 2, vec![0, 7]);
        assert_eq!(graph.parents(0), [1]);
        assert!(graph.good_tips().is_empty());
    }
}
