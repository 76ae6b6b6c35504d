//! Which commits can't change the image, as far as the builds tell.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Fold;
use crate::history::{CommitId, History, HistoryError, Rev};
use crate::journal::Event;
use crate::kernel::Dependencies;

/// Keeps up with what builds read, and says which commits therefore can't change an image: they
/// touch documentation, other architectures, files that are not built.
///
/// It speaks once both ends of the range were built, and takes back what a later build disproves.
#[derive(Debug, Default)]
pub(super) struct Inert {
    /// What the builds read, all together.
    read: Dependencies,
    /// Revisions whose builds were looked at, and whether what they read is known.
    built: HashMap<Rev, bool>,
    /// What the commits change that no build so far could have noticed; nothing until both ends
    /// were built.
    changes: Option<BTreeMap<CommitId, Vec<String>>>,
}

impl Inert {
    /// What there is to be recorded, if there is anything; to be asked again until there is not.
    /// `begin` is told before all changes of the range are read, which may take minutes where it
    /// is long.
    pub(super) fn event(
        &mut self,
        fold: &Fold,
        history: &History,
        begin: &mut dyn FnMut(),
    ) -> Result<Option<Event>, HistoryError> {
        let is_news = self.look_at_builds(fold);
        if let Some(changes) = &mut self.changes {
            if is_news {
                changes.retain(|_, paths| is_inert(&self.read, paths, |_| true));
            }
        } else {
            if !self.knows_both_ends(fold) {
                return Ok(None);
            }
            begin();
            self.changes = Some(self.read_changes(fold, history)?);
        }
        let Some(changes) = &self.changes else { return Ok(None) };
        let Some(inert) = fold.inert() else {
            return Ok(Some(Event::Inert { commits: changes.keys().copied().collect() }));
        };
        let mut gone = disproved(fold, inert);
        for &rev in inert {
            let still = fold.candidates().id(rev).is_none_or(|id| changes.contains_key(&id));
            gone.extend((!still).then_some(rev));
        }
        let commits: Vec<CommitId> =
            gone.into_iter().filter_map(|rev| fold.candidates().id(rev)).collect();
        Ok((!commits.is_empty()).then_some(Event::NotInert { commits }))
    }

    /// Takes in what was built since, and says whether files were read that no build read before.
    fn look_at_builds(&mut self, fold: &Fold) -> bool {
        let mut is_news = false;
        for tried in fold.tried_revisions() {
            let Some(image) = tried.image.as_ref().filter(|_| !self.built.contains_key(&tried.rev))
            else {
                continue;
            };
            // An older program did not keep them, and the store may have been emptied.
            let read = Dependencies::load(&image.path.with_file_name(Dependencies::FILE));
            self.built.insert(tried.rev, read.is_ok());
            is_news |= read.is_ok_and(|read| self.read.add(read));
        }
        is_news
    }

    fn knows(&self, rev: Rev) -> bool {
        self.built.get(&rev) == Some(&true)
    }

    fn knows_both_ends(&self, fold: &Fold) -> bool {
        fold.bad_end().is_some_and(|end| self.knows(end))
            && fold.good_ends().iter().any(|&end| self.knows(end))
    }

    /// What the commits change, those that may change the image left out, and merges.
    fn read_changes(
        &self,
        fold: &Fold,
        history: &History,
    ) -> Result<BTreeMap<CommitId, Vec<String>>, HistoryError> {
        let (candidates, graph) = (fold.candidates(), fold.candidates().graph());
        let name = |rev| candidates.id(rev);
        let older: Vec<CommitId> = graph.good_tips().iter().copied().filter_map(name).collect();
        let Some(newer) = graph.bad_tip().and_then(name) else { return Ok(BTreeMap::new()) };
        let mut there: HashSet<String> = HashSet::new();
        let ends = fold.good_ends().into_iter().chain(fold.bad_end());
        for end in ends.filter(|&end| self.knows(end)).filter_map(name) {
            there.extend(history.paths(end)?);
        }
        let mut changes = history.changes(&older, newer, &[])?;
        let single = (0..graph.candidates() as Rev).filter(|&rev| graph.parents(rev).len() == 1);
        // Of a commit that changes nothing git says nothing.
        let of =
            |rev| name(rev).map(|commit| (commit, changes.remove(&commit).unwrap_or_default()));
        Ok(single
            .filter_map(of)
            .filter(|(_, paths)| is_inert(&self.read, paths, |path| there.contains(path)))
            .collect())
    }
}

fn is_inert(read: &Dependencies, paths: &[String], was_there: impl Fn(&str) -> bool) -> bool {
    read.cannot_change(paths.iter().map(String::as_str), was_there)
}

/// What came of building a revision (a signature, if it builds), and the commits that are thought not
/// to have changed it.
type Outcome<'a> = (Option<&'a str>, Vec<Rev>);

/// Commits of which the builds disprove it: revisions would have one image if none of these changed
/// it, and have not.
fn disproved(fold: &Fold, inert: &BTreeSet<Rev>) -> BTreeSet<Rev> {
    let graph = fold.candidates().graph();
    // By the commit whose image they are thought to have.
    let mut thought: BTreeMap<Rev, Vec<Outcome<'_>>> = BTreeMap::new();
    for tried in fold.tried_revisions() {
        let signature = tried.image.as_ref().map(|image| image.signature.as_str());
        if signature.is_none() && tried.build_failure.is_none() {
            continue;
        }
        let (mut rev, mut between) = (tried.rev, Vec::new());
        while let (true, &[parent]) = (inert.contains(&rev), graph.parents(rev)) {
            between.push(rev);
            rev = parent;
        }
        thought.entry(rev).or_default().push((signature, between));
    }
    let differ = |built: &&Vec<Outcome<'_>>| {
        built.first().is_some_and(|(first, _)| built.iter().any(|(other, _)| other != first))
    };
    thought.values().filter(differ).flatten().flat_map(|(_, between)| between.clone()).collect()
}
