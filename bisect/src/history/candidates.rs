//! The candidates of one bisection.

use std::collections::HashMap;

use super::{CommitId, Graph, Rev};

/// The candidates of one bisection: their graph and their names.
#[derive(Clone, Debug)]
pub struct Candidates {
    graph: Graph,
    ids: Vec<CommitId>,
    index: HashMap<CommitId, Rev>,
}

impl Candidates {
    /// Candidates from commits with their parents, parents before children, and the good tips.
    ///
    /// A parent that is not among the commits is outside the range, as are the good tips.
    pub fn new(commits: Vec<(CommitId, Vec<CommitId>)>, good_tips: &[CommitId]) -> Candidates {
        let mut ids: Vec<CommitId> = commits.iter().map(|(id, _)| *id).collect();
        let mut index: HashMap<CommitId, Rev> = ids.iter().copied().zip(0..).collect();
        let mut number = |id: CommitId, ids: &mut Vec<CommitId>| {
            *index.entry(id).or_insert_with(|| {
                ids.push(id);
                (ids.len() - 1) as Rev
            })
        };
        let good: Vec<Rev> = good_tips.iter().map(|&id| number(id, &mut ids)).collect();
        let parents: Vec<Vec<Rev>> = commits
            .iter()
            .map(|(_, parents)| parents.iter().map(|&id| number(id, &mut ids)).collect())
            .collect();
        let graph = Graph::new(&parents, ids.len(), good);
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
