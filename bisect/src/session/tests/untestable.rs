//! Revisions that can not be tested.

use std::collections::BTreeSet;

use super::world::{Tree, World, begin, culprit};
use crate::history::CommitId;
use crate::search::{Verdict, WhyNot};
use crate::session::SessionError;
use crate::trial::Outcome;

#[test]
fn what_cannot_be_tested_is_gone_around() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a2");
    world.broken.extend(["b0", "b1", "side0", "side1"].map(|title| tree.id(title)));
    let no_boot = Outcome::NoBoot { reason: "triple fault".into() };
    world.shows.extend(["c0", "c1"].map(|title| (tree.id(title), no_boot.clone())));
    let invalid = Outcome::Invalid { reason: "1 of 2 CPUs".into() };
    world.shows.insert(tree.id("merge side"), invalid);
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "a2");
    assert!(world.tried(tree.id("c0")) <= 4);
}

#[test]
fn a_culprit_among_untestable_ones_is_narrowed_down() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b1");
    world.broken.extend(["b1", "b2"].map(|title| tree.id(title)));
    let ended = begin(&tree, &world);
    let Ok(Verdict::Undecided { remaining, .. }) = &ended.result else {
        panic!("{:?}", ended.result)
    };
    let remaining: BTreeSet<CommitId> =
        remaining.iter().map(|(rev, _)| ended.fold.candidates().id(*rev).unwrap()).collect();
    assert_eq!(remaining, BTreeSet::from(["b1", "b2", "b3"].map(|title| tree.id(title))));
}

/// Both commits on top of the culprit are bad, which leaves nobody else; but nobody has seen it.
#[test]
fn a_culprit_that_can_not_be_tested_is_not_named() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a4");
    world.broken.insert(tree.id("a4"));
    let ended = begin(&tree, &world);
    let Ok(Verdict::Undecided { why: WhyNot::Unconfirmed, remaining }) = &ended.result else {
        panic!("{:?}", ended.result)
    };
    assert_eq!(ended.fold.candidates().id(remaining[0].0), Some(tree.id("a4")));
    assert!(remaining[0].1 >= 0.95, "{remaining:?}");
}

#[test]
fn a_commit_without_a_kernel_is_gone_around_unless_it_is_the_bad_tip() {
    let tree = Tree::new();
    let alien = ["b0", "b1", "b2", "b3", "c0", "c1", "c2"];
    let mut met = 0;
    for culprit_title in ["a1", "a2", "b1"] {
        let mut world = World::new(&tree, culprit_title);
        world.alien =
            alien.iter().filter(|it| **it != culprit_title).map(|it| tree.id(it)).collect();
        let ended = begin(&tree, &world);
        assert!(ended.result.is_ok(), "{culprit_title}: {:?}", ended.result);
        for reason in ended.fold.tried_revisions().iter().filter_map(|it| it.build_failure.as_ref())
        {
            assert!(reason.contains("not a Linux source tree"), "{reason}");
            met += 1;
        }
    }
    assert!(met > 0);
    let mut world = World::new(&tree, "a2");
    world.alien.insert(tree.bad);
    let error = begin(&tree, &world).result.unwrap_err();
    assert!(matches!(error, SessionError::Build { .. }), "{error:?}");
    assert!(error.hint().contains("revision of Linux"), "{}", error.hint());
}
