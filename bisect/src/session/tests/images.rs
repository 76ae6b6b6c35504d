//! Revisions that have one image.

use std::collections::BTreeSet;

use super::world::{Tree, World, begin, culprit, events, run};
use crate::history::CommitId;
use crate::journal::Event;
use crate::search::Verdict;

#[test]
fn equal_signatures_are_tried_once_and_not_blamed() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b2");
    for (title, same_as) in [("b1", "b0"), ("b3", "b2"), ("merge side", "b2"), ("c0", "c1")] {
        world.signatures.insert(tree.id(title), same_as.into());
        world.signatures.insert(tree.id(same_as), same_as.into());
    }
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "b2");
    for tried in ended.fold.tried_revisions() {
        let same = ended.fold.same_image(tried.rev);
        let others = same.iter().filter(|other| !other.trials.is_empty()).count();
        assert!(tried.trials.is_empty() || others == 0, "{same:?}");
    }
}

#[test]
fn the_same_image_for_good_and_bad_is_no_culprit() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b2");
    for &commit in tree.by_title.values() {
        world.signatures.insert(commit, "all the same".into());
    }
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::GoodTipBad { .. })), "{:?}", ended.result);
    assert!(!ended.fold.same_image(ended.fold.candidates().rev(tree.good).unwrap()).is_empty());
}

/// Commits that touch a file which is not built, among others.
const UNBUILT: [&str; 9] = ["a1", "a2", "side1", "side2", "b1", "b2", "c1", "c2", "c3"];

/// A tree in which these commits can't change the image, and a world with what builds read.
fn partly_unbuilt(culprit: &str) -> (Tree, World) {
    let tree =
        Tree::touching(|title| if UNBUILT.contains(&title) { "unbuilt.c" } else { "file.c" });
    let mut world = World { reads: Some("file.c"), ..World::new(&tree, culprit) };
    for (title, same_as) in [
        ("a1", "a0"),
        ("a2", "a0"),
        ("side1", "side0"),
        ("side2", "side0"),
        ("b1", "b0"),
        ("b2", "b0"),
        ("c1", "c0"),
        ("c2", "c0"),
        ("c3", "c0"),
    ] {
        for title in [title, same_as] {
            world.signatures.insert(tree.id(title), format!("image of {same_as}"));
        }
    }
    (tree, world)
}

#[test]
fn what_is_not_built_is_not_tried_twice_and_not_blamed() {
    for title in ["a0", "a3", "side0", "b0", "b3", "merge side", "c0", "c4"] {
        let (tree, world) = partly_unbuilt(title);
        let ended = begin(&tree, &world);
        assert_eq!(culprit(&tree, &ended), title);
        let id = |rev| ended.fold.candidates().id(rev).unwrap();
        let inert: BTreeSet<CommitId> =
            ended.fold.inert().unwrap().iter().copied().map(id).collect();
        assert_eq!(inert, UNBUILT.iter().map(|title| tree.id(title)).collect());
        // No image is tried under two names.
        let mut images = BTreeSet::new();
        for tried in ended.fold.tried_revisions().iter().filter(|it| !it.trials.is_empty()) {
            assert!(images.insert(tried.image.as_ref().unwrap().signature.clone()), "{tried:?}");
        }
    }
}

#[test]
fn a_build_that_reads_more_takes_it_back() {
    let (tree, mut world) = partly_unbuilt("b1");
    world.signatures.clear();
    world.reads_too.extend(["b0", "b3", "merge side"].map(|title| (tree.id(title), "unbuilt.c")));
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "b1");
    assert!(ended.fold.inert().unwrap().is_empty());
}

/// Nothing tells that a commit changes the image but the image.
#[test]
fn an_image_that_differs_takes_it_back() {
    let (tree, mut world) = partly_unbuilt("b2");
    world.signatures.insert(tree.id("b2"), "its own".into());
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "b2");
}

/// That a commit does not build, while the one whose image it would have does, tells as much.
#[test]
fn a_build_that_fails_takes_it_back() {
    let (tree, mut world) = partly_unbuilt("b3");
    world.broken.insert(tree.id("b2"));
    let state = tempfile::tempdir().unwrap();
    let ended = run(&tree, &world, state.path());
    assert!(matches!(ended.result, Ok(Verdict::Undecided { .. } | Verdict::Culprit { .. })));
    let taken_back = |event: &Event| matches!(event, Event::NotInert { commits } if commits.contains(&tree.id("b2")));
    assert!(events(state.path()).iter().any(taken_back));
}
