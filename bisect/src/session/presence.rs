//! Where a fix is looked for: which revisions had the bug to begin with.
//!
//! Everything on top of the bad end had the bug until it was fixed. A branch that left earlier may
//! have left before the bug came in, and then looks fixed all along. So such a revision is judged
//! only if the commit where its branch left, the merge base, is seen to have the bug.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Find, Graph, Rev};

/// Merge bases that are tried for one revision.
const MERGE_BASES: usize = 4;

/// Which revisions had the bug to begin with, as far as is known.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    /// By revision, whether it is, or is on top of, the bad end.
    sure: Vec<bool>,
    /// What was found out of others.
    found: BTreeMap<Rev, Found>,
}

/// What was found out of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It shows the bug.
    Shows,
    /// It does not.
    Lacks,
    /// It can't be tested.
    Untestable,
}

/// Whether a revision had the bug to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// It did.
    Yes,
    /// This merge base has to be tried to know.
    Try(Rev),
    /// It did not: its branch left here, where the bug had not come in.
    No(Rev),
    /// Nobody knows: this merge base can't be tested.
    Unknown(Rev),
}

impl Presence {
    /// Where a fix is looked for; a cause asks no such question.
    pub(super) fn new(find: Find, graph: &Graph) -> Option<Presence> {
        let bad = match find {
            Find::Cause => return None,
            Find::Fix => find.bad_end(graph)?,
        };
        Some(Presence { sure: graph.containing(bad), found: BTreeMap::new() })
    }

    /// Takes in what was found out of a revision.
    pub(super) fn found(&mut self, rev: Rev, found: Found) {
        self.found.insert(rev, found);
    }

    /// Whether this revision had the bug to begin with.
    pub(super) fn of(&self, graph: &Graph, rev: Rev) -> Present {
        let mut bases = Vec::new();
        let mut met = HashSet::from([rev]);
        let mut ahead = vec![rev];
        while let Some(at) = ahead.pop() {
            let is_sure = self.sure.get(at as usize) == Some(&true);
            if is_sure || self.found.get(&at) == Some(&Found::Shows) {
                return Present::Yes;
            }
            if !graph.is_candidate(at) {
                bases.push(at);
            }
            // The first parent's line comes first.
            ahead.extend(graph.parents(at).iter().rev().copied().filter(|&it| met.insert(it)));
        }
        let tried = bases.iter().take(MERGE_BASES);
        if let Some(&base) = tried.clone().find(|base| !self.found.contains_key(base)) {
            return Present::Try(base);
        }
        let nearest = bases.first().copied().unwrap_or(rev);
        let lacks = |base: &Rev| self.found.get(base) == Some(&Found::Lacks);
        match bases.iter().all(lacks) {
            true => Present::No(nearest),
            false => Present::Unknown(bases.iter().copied().find(|it| !lacks(it)).unwrap_or(rev)),
        }
    }

    /// Whether the revision was found not to have the bug, which had not come in yet.
    pub(super) fn lacks(&self, rev: Rev) -> bool {
        self.found.get(&rev) == Some(&Found::Lacks)
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Presence, Present};
    use crate::history::{Find, Graph};

    /// 0 and 1 on top of the bad end, 3; 2 and its child 4 on top of an older one; 5 merges both.
    fn graph() -> Graph {
        let (bad, older) = (6, 7);
        let parents = [vec![bad], vec![0], vec![older], vec![1], vec![2], vec![3, 4]];
        Graph::new(&parents, 8, vec![bad])
    }

    #[test]
    fn a_cause_asks_no_such_question() {
        assert!(Presence::new(Find::Cause, &graph()).is_none());
    }

    #[test]
    fn a_branch_is_judged_by_where_it_left() {
        let graph = graph();
        let of = |presence: &Presence, rev| presence.of(&graph, rev);
        let mut presence = Presence::new(Find::Fix, &graph).unwrap();
        for on_top in [6, 0, 1, 3, 5] {
            assert_eq!(of(&presence, on_top), Present::Yes, "{on_top}");
        }
        for rev in [7, 2, 4] {
            assert_eq!(of(&presence, rev), Present::Try(7));
        }
        for (found, then) in [
            (Found::Lacks, Present::No(7)),
            (Found::Untestable, Present::Unknown(7)),
            (Found::Shows, Present::Yes),
        ] {
            presence.found(7, found);
            assert_eq!(of(&presence, 4), then);
            assert_eq!(presence.lacks(7), found == Found::Lacks);
        }
    }

    #[test]
    fn what_shows_it_on_the_branch_itself_is_enough() {
        let graph = graph();
        let mut presence = Presence::new(Find::Fix, &graph).unwrap();
        presence.found(2, Found::Shows);
        assert_eq!(presence.of(&graph, 4), Present::Yes);
        assert_eq!(presence.of(&graph, 7), Present::Try(7));
    }
}
