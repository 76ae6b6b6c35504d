//! The candidates of one bisection.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{CommitId, Graph, Rev};

/// The candidates of one bisection: their graph and their names.
#[derive(Clone, Debug)]
pub struct Candidates {
    graph: Graph,
    ids: Vec<CommitId>,
    index: HashMap<CommitId, Rev, BuildHasherDefault<OfName>>,
}

/// A commit's name is a hash already: its first bytes do.
#[derive(Clone, Copy, Debug, Default)]
struct OfName(u64);

impl Hasher for OfName {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Candidates {
    /// Candidates from commits with their parents, parents before children, and the good tips.
    ///
    /// A parent that is not among the commits is outside the range, as are the good tips.
    pub fn new(commits: Vec<(CommitId, Vec<CommitId>)>, good_tips: &[CommitId]) -> Candidates {
        let ids = commits.iter().map(|(id, _)| *id).collect();
        let counts: Vec<u32> = commits.iter().map(|(_, parents)| parents.len() as u32).collect();
        let parents: Vec<CommitId> = commits.into_iter().flat_map(|(_, parents)| parents).collect();
        Candidates::from_parts(ids, &counts, &parents, good_tips)
    }

    /// The same, from names, how many parents each has, and all of these one after the other.
    pub(super) fn from_parts(
        mut ids: Vec<CommitId>,
        counts: &[u32],
        parents: &[CommitId],
        good_tips: &[CommitId],
    ) -> Candidates {
        let mut index: HashMap<CommitId, Rev, _> = ids.iter().copied().zip(0..).collect();
        let mut number = |id: CommitId| {
            *index.entry(id).or_insert_with(|| {
                ids.push(id);
                (ids.len() - 1) as Rev
            })
        };
        let good: Vec<Rev> = good_tips.iter().map(|&id| number(id)).collect();
        let parents: Vec<Rev> = parents.iter().map(|&id| number(id)).collect();
        let graph = Graph::from_parts(counts, &parents, ids.len(), good);
        Candidates { graph, ids, index }
    }

    /// Who is whose parent.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many candidates there are.
    pub fn len(&self) -> usize {
        self.graph.candidates()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of a revision; `None` where the graph has no such revision.
    pub fn id(&self, rev: Rev) -> Option<CommitId> {
        self.ids.get(rev as usize).copied()
    }

    /// The revision of that name, candidate or just outside.
    pub fn rev(&self, id: CommitId) -> Option<Rev> {
        self.index.get(&id).copied()
    }
}
