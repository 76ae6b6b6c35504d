//! The trials, by revision and by image.

use std::collections::{HashMap, HashSet};

use super::rates::{AtRates, FALSE_POINTS, HIT_POINTS, Rates, Tally};
use super::yields::Useless;
use crate::history::{Graph, Rev};

/// All that is known of revisions that were tried, or at least built.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub(super) known: Vec<Known>,
    pub(super) groups: Vec<Group>,
    index: HashMap<Rev, usize>,
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
    pub(super) useless: Useless,
    pub(super) built: bool,
    /// Whether it counts where it is asked how likely its neighbours are to be testable.
    pub(super) doubted: bool,
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
        let fresh = self.groups.len();
        let group = *self.origins.entry(self.origin(graph, rev)).or_insert(fresh);
        match self.groups.get_mut(group) {
            Some(shared) => shared.members.push(at),
            None => self.groups.push(empty),
        }
        self.known.push(Known {
            rev,
            group,
            tally: Tally::default(),
            useless: Useless::default(),
            built: false,
            doubted: false,
            untestable: false,
            likelihood,
            signature: None,
        });
        self.index.insert(rev, at);
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
    pub(super) fn sign(&mut self, graph: &Graph, rates: &Rates, at: usize, signature: &str) {
        if let Some(known) = self.known.get_mut(at) {
            known.signature = Some(signature.to_owned());
            self.rearrange(graph, rates);
        }
    }

    /// Takes in that these candidates, each with a single parent, and no others have the image of
    /// that parent.
    pub(super) fn set_inert(&mut self, graph: &Graph, rates: &Rates, inert: HashSet<Rev>) {
        self.inert = inert;
        self.rearrange(graph, rates);
    }

    /// Puts those of one image in one group: by their signatures and, as far as these don't
    /// contradict it, as `inert` tells.
    fn rearrange(&mut self, graph: &Graph, rates: &Rates) {
        self.origins.clear();
        self.groups.clear();
        let mut signatures: HashMap<&str, usize> = HashMap::new();
        let (mut groups, mut own) = (Vec::new(), Vec::with_capacity(self.known.len()));
        let signed_first = |at: &usize| self.known.get(*at).is_none_or(|it| it.signature.is_none());
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        order.sort_by_key(signed_first);
        for at in order {
            let Some(known) = self.known.get(at) else { continue };
            let origin = self.origin(graph, known.rev);
            let shared = match &known.signature {
                Some(signature) => signatures.get(signature.as_str()).copied(),
                None => self.origins.get(&origin).copied(),
            };
            let group = shared.unwrap_or_else(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(signature) = &known.signature {
                signatures.insert(signature, group);
            }
            self.origins.entry(origin).or_insert(group);
            if let Some(members) = groups.get_mut(group) {
                members.push(at);
            }
            own.push((at, group));
        }
        for (at, group) in own {
            if let Some(known) = self.known.get_mut(at) {
                known.group = group;
            }
        }
        let nothing = Likelihood::new(rates, Tally::default());
        for mut members in groups {
            members.sort_unstable();
            let likelihood = nothing.clone();
            self.groups.push(Group { members, tally: Tally::default(), likelihood });
            self.regroup(rates, self.groups.len() - 1);
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
