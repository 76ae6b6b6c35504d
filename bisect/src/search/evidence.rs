//! The trials, by revision and by image.

use std::collections::{HashMap, HashSet};

use super::rates::{AtRates, FALSE_POINTS, HIT_POINTS, Rates, Tally};
use crate::history::{Graph, Rev};

/// All that is known of revisions that were tried, or at least built.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub(super) known: Vec<Known>,
    pub(super) groups: Vec<Group>,
    index: HashMap<Rev, usize>,
    signatures: HashMap<String, usize>,
    /// Candidates that have the image of their parent.
    inert: HashSet<Rev>,
    /// Groups by the first revision that has their image, as far as `inert` tells.
    origins: HashMap<Rev, usize>,
}

/// A revision that something is known of.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) rev: Rev,
    pub(super) group: usize,
    pub(super) tally: Tally,
    pub(super) useless: u32,
    pub(super) built: bool,
    pub(super) untestable: bool,
    pub(super) likelihood: Likelihood,
    signature: Option<String>,
}

/// Revisions of one image; most often only one.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) members: Vec<usize>,
    pub(super) tally: Tally,
    pub(super) likelihood: Likelihood,
}

/// What some trials say at every hit rate, if the image is bad, and at every false rate, if it is
/// good.
#[derive(Clone, Debug)]
pub(super) struct Likelihood {
    pub(super) if_bad: AtRates<HIT_POINTS>,
    pub(super) if_good: AtRates<FALSE_POINTS>,
}

impl Likelihood {
    pub(super) fn new(rates: &Rates, tally: Tally) -> Likelihood {
        Likelihood {
            if_bad: rates.likelihoods(&rates.hit, tally),
            if_good: rates.likelihoods(&rates.false_, tally),
        }
    }
}

impl Evidence {
    /// The number of a known revision.
    pub(super) fn number(&self, rev: Rev) -> Option<usize> {
        self.index.get(&rev).copied()
    }

    /// Takes in a revision that was not known, and gives it a number.
    pub(super) fn add(&mut self, graph: &Graph, rates: &Rates, rev: Rev) -> usize {
        let at = self.known.len();
        let likelihood = Likelihood::new(rates, Tally::default());
        let empty =
            Group { members: vec![at], tally: Tally::default(), likelihood: likelihood.clone() };
        self.groups.push(empty);
        let group = self.groups.len() - 1;
        self.known.push(Known {
            rev,
            group,
            tally: Tally::default(),
            useless: 0,
            built: false,
            untestable: false,
            likelihood,
            signature: None,
        });
        self.index.insert(rev, at);
        let shared = *self.origins.entry(self.origin(graph, rev)).or_insert(group);
        self.join(rates, at, shared);
        at
    }

    /// Takes in trials of a known revision that told something.
    pub(super) fn observe(&mut self, rates: &Rates, at: usize, trials: Tally) {
        let Some(known) = self.known.get_mut(at) else { return };
        known.tally = known.tally.plus(trials);
        known.likelihood = Likelihood::new(rates, known.tally);
        known.built = true;
        let group = known.group;
        self.regroup(rates, group);
    }

    /// Takes in the signature of a known revision's image.
    pub(super) fn sign(&mut self, rates: &Rates, at: usize, signature: &str) {
        let Some(known) = self.known.get_mut(at) else { return };
        let own = known.group;
        known.signature = Some(signature.to_owned());
        match self.signatures.get(signature) {
            Some(&shared) => self.join(rates, at, shared),
            None if self.contradicts(at, own) => {
                // It was thought to have that group's image, and has another.
                self.groups.push(Group {
                    members: Vec::new(),
                    tally: Tally::default(),
                    likelihood: Likelihood::new(rates, Tally::default()),
                });
                let alone = self.groups.len() - 1;
                self.signatures.insert(signature.to_owned(), alone);
                self.join(rates, at, alone);
            }
            None => {
                self.signatures.insert(signature.to_owned(), own);
            }
        }
    }

    /// Takes in that these candidates, each with a single parent, have the image of that parent.
    pub(super) fn set_inert(&mut self, graph: &Graph, rates: &Rates, inert: HashSet<Rev>) {
        self.inert = inert;
        self.origins.clear();
        for at in 0..self.known.len() {
            let Some(known) = self.known.get(at) else { continue };
            let own = known.group;
            let shared = *self.origins.entry(self.origin(graph, known.rev)).or_insert(own);
            if !self.contradicts(at, shared) {
                self.join(rates, at, shared);
            }
        }
    }

    /// Whether the candidate has the image of its parent.
    pub(super) fn is_inert(&self, rev: Rev) -> bool {
        self.inert.contains(&rev)
    }

    /// The first revision that has the image of this one, as far as is known without building.
    fn origin(&self, graph: &Graph, mut rev: Rev) -> Rev {
        while let (true, &[parent]) = (self.inert.contains(&rev), graph.parents(rev)) {
            rev = parent;
        }
        rev
    }

    /// Whether a known revision has another signature than a member of the group.
    fn contradicts(&self, at: usize, group: usize) -> bool {
        let Some(own) = self.known.get(at).and_then(|known| known.signature.as_ref()) else {
            return false;
        };
        let members = self.groups.get(group).map(|group| group.members.as_slice());
        let mut members = members.unwrap_or_default().iter().filter_map(|&it| self.known.get(it));
        members.any(|other| other.signature.as_ref().is_some_and(|other| other != own))
    }

    /// Moves a known revision to the group that has its image.
    fn join(&mut self, rates: &Rates, at: usize, group: usize) {
        let Some(known) = self.known.get_mut(at) else { return };
        let before = std::mem::replace(&mut known.group, group);
        if before == group {
            return;
        }
        if let Some(before) = self.groups.get_mut(before) {
            before.members.retain(|&member| member != at);
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.members.push(at);
        }
        self.regroup(rates, before);
        self.regroup(rates, group);
    }

    /// Adds up the trials of a group's members.
    fn regroup(&mut self, rates: &Rates, group: usize) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let members = group.members.iter().filter_map(|&member| self.known.get(member));
        group.tally = members.fold(Tally::default(), |sum, known| sum.plus(known.tally));
        group.likelihood = Likelihood::new(rates, group.tally);
    }

    /// What the trials of a revision, and of all others of its image, told.
    pub(super) fn tally(&self, graph: &Graph, rev: Rev) -> Tally {
        self.group(graph, rev).map(|group| group.tally).unwrap_or_default()
    }

    /// The known revisions that have the image of this one, which need not be known itself.
    pub(super) fn same_image(&self, graph: &Graph, rev: Rev) -> impl Iterator<Item = &Known> {
        let members = self.group(graph, rev).map(|group| group.members.as_slice());
        members.unwrap_or_default().iter().filter_map(|&member| self.known.get(member))
    }

    fn group(&self, graph: &Graph, rev: Rev) -> Option<&Group> {
        let known = self.number(rev).and_then(|at| self.known.get(at));
        let group = match known {
            Some(known) => known.group,
            None => *self.origins.get(&self.origin(graph, rev))?,
        };
        self.groups.get(group)
    }
}
