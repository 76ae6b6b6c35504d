//! What is found, and what can be said where nothing is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU32;

use super::world::{Tree, World, begin, culprit};
use crate::history::CommitId;
use crate::journal::{Event, Record};
use crate::search::{Limits, Verdict};
use crate::session::Fold;
use crate::trial::Outcome;

#[test]
fn the_crash_makes_commits_likelier_and_rules_nobody_out() {
    let tree = Tree::new();
    let mut fold = tree.fold(1);
    let all: Vec<CommitId> =
        (0..fold.candidates().len() as u32).map(|rev| fold.commit(rev).unwrap()).collect();
    let probability = |fold: &Fold, commit: CommitId| {
        fold.belief().probability(fold.candidates().rev(commit).unwrap())
    };
    let even = probability(&fold, all[3]);
    // The good end is no candidate, and is passed over.
    let commits = vec![all[3], all[4], tree.good];
    let event = Event::Favoured { commits, share: 0.5 };
    fold.apply(&Record { at_ms: 0, event }).unwrap();
    assert!(probability(&fold, all[3]) > 2.0 * even);
    assert!(all.iter().all(|&commit| probability(&fold, commit) > 0.01 * even));
}

#[test]
fn every_culprit_is_found_merges_included() {
    let tree = Tree::new();
    for title in tree.by_title.keys().filter(|title| *title != "good") {
        for machines in [1, 3] {
            let world = World { machines, ..World::new(&tree, title) };
            assert_eq!(culprit(&tree, &begin(&tree, &world)), *title);
            assert!(world.builds.lock().unwrap().len() <= 12, "too many builds for {title}");
        }
    }
}

#[test]
fn a_bad_tip_that_mostly_dies_of_something_else_is_tried_on() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a2");
    world.foreign_first = AtomicU32::new(11);
    assert_eq!(culprit(&tree, &begin(&tree, &world)), "a2");
}

#[test]
fn only_foreign_crashes_at_the_bad_tip() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a2");
    world.shows.insert(tree.bad, Outcome::Foreign { title: "WARNING in foo".into() });
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::BadTipUntestable)), "{:?}", ended.result);
    let seen = ended.fold.tried_revisions()[0].useless();
    assert_eq!(seen, BTreeMap::from([("WARNING in foo".to_owned(), 24)]));
}

#[test]
fn a_bug_that_does_not_show() {
    let tree = Tree::new();
    let world = World { bad: BTreeSet::new(), ..World::new(&tree, "a2") };
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::NotReproduced)), "{:?}", ended.result);
    assert_eq!(world.tried(tree.bad), Limits::default().bad_tip as usize);
}

#[test]
fn a_good_tip_that_is_bad() {
    let tree = Tree::new();
    let world = World::new(&tree, "good");
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::GoodTipBad { .. })), "{:?}", ended.result);
}

#[test]
fn one_odd_trial_is_outvoted() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b2");
    // A revision below a sure good one shows the target, whenever it is tried.
    world.bad.insert(tree.id("a1"));
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "b2");
}
