//! Sessions that were interrupted, and hosts that fail.

use std::sync::atomic::AtomicU32;

use super::world::{Tree, World, begin, culprit, events, run};
use crate::cancel::Cancel;
use crate::journal::Event;
use crate::session::SessionError;
use crate::trial::Outcome;

#[test]
fn killed_anywhere_it_goes_on_the_same_way_and_tries_nothing_twice() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "side2");
    world.broken.insert(tree.id("b1"));
    world.shows.insert(tree.id("c2"), Outcome::Foreign { title: "WARNING in foo".into() });
    kill_anywhere(&tree, &world, "side2");
}

#[test]
fn killed_anywhere_it_knows_what_is_not_built() {
    let unbuilt = ["a1", "a2", "side1", "b1", "b2", "c1", "c2", "c3"];
    let tree =
        Tree::touching(|title| if unbuilt.contains(&title) { "unbuilt.c" } else { "file.c" });
    let mut world = World { reads: Some("file.c"), ..World::new(&tree, "b1") };
    world.reads_too.extend(["b0", "b3", "merge side"].map(|title| (tree.id(title), "unbuilt.c")));
    let expected = kill_anywhere(&tree, &world, "b1");
    assert!(expected.iter().any(|event| matches!(event, Event::Inert { .. })), "{expected:?}");
    assert!(expected.iter().any(|event| matches!(event, Event::NotInert { .. })), "{expected:?}");
}

#[test]
fn killed_anywhere_it_knows_the_configuration_in_use() {
    let tree = Tree::new();
    let without = World { bad: Default::default(), ..World::new(&tree, "b2") };
    let mut broken = World::new(&tree, "b2");
    broken.broken.insert(tree.bad);
    let with = World::new(&tree, "b2");
    let world = World { baselines: vec![without, broken, with], ..World::new(&tree, "b2") };
    let expected = kill_anywhere(&tree, &world, "b2");
    let dropped = |event: &&Event| matches!(event, Event::BaselineDropped(_));
    assert_eq!(expected.iter().filter(dropped).count(), 2, "{expected:?}");
    assert!(world.builds.lock().unwrap().is_empty());
}

/// Kills a session at every end of a record, and in the midst of every one, and goes on. Gives what
/// is recorded in the end.
fn kill_anywhere(tree: &Tree, world: &World, title: &str) -> Vec<Event> {
    let whole = tempfile::tempdir().unwrap();
    let ended = run(tree, world, whole.path());
    assert_eq!(culprit(tree, &ended), title);
    let expected = events(whole.path());
    let journal = std::fs::read(whole.path().join("journal.jsonl")).unwrap();
    let ends: Vec<usize> =
        journal.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    // At every end of a record, and in the midst of every one.
    let middles = ends.windows(2).map(|pair| (pair[0] + pair[1]) / 2);
    for cut in ends.iter().copied().chain(middles) {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("journal.jsonl"), &journal[..cut]).unwrap();
        world.trials.lock().unwrap().clear();
        let ended = run(tree, world, state.path());
        assert_eq!(culprit(tree, &ended), title);
        assert_eq!(events(state.path()), expected);
        let before = ends.iter().filter(|end| **end <= cut).count() - 1;
        let trials_before =
            expected[..before].iter().filter(|e| matches!(e, Event::Trial { .. })).count();
        let trials = expected.iter().filter(|e| matches!(e, Event::Trial { .. })).count();
        assert_eq!(world.trials.lock().unwrap().len(), trials - trials_before);
    }
    expected
}

#[test]
fn a_host_that_fails_now_and_then_is_borne() {
    let tree = Tree::new();
    let world = World { host_fails: AtomicU32::new(2), ..World::new(&tree, "a2") };
    assert_eq!(culprit(&tree, &begin(&tree, &world)), "a2");
}

#[test]
fn a_host_that_keeps_failing_stops_the_session_until_it_is_resumed() {
    let tree = Tree::new();
    let world = World { host_fails: AtomicU32::new(3), ..World::new(&tree, "a2") };
    let state = tempfile::tempdir().unwrap();
    let ended = run(&tree, &world, state.path());
    match ended.result {
        Err(SessionError::Host { reason, .. }) => assert!(reason.contains("out of memory")),
        other => panic!("{other:?}"),
    }
    assert_eq!(culprit(&tree, &run(&tree, &world, state.path())), "a2");
}

#[test]
fn interrupted_it_can_be_resumed() {
    let tree = Tree::new();
    let mut world = World { cancel_at: Some(5), ..World::new(&tree, "other1") };
    let state = tempfile::tempdir().unwrap();
    let ended = run(&tree, &world, state.path());
    assert!(matches!(ended.result, Err(SessionError::Cancelled)), "{:?}", ended.result);
    assert_eq!(ended.fold.spent(), 5);
    world.cancel = Cancel::new();
    world.cancel_at = None;
    assert_eq!(culprit(&tree, &run(&tree, &world, state.path())), "other1");
}

#[test]
fn an_emptied_store_is_filled_again() {
    let tree = Tree::new();
    let mut world = World { cancel_at: Some(5), ..World::new(&tree, "b2") };
    let state = tempfile::tempdir().unwrap();
    run(&tree, &world, state.path());
    world.images = Some(tempfile::tempdir().unwrap());
    world.cancel = Cancel::new();
    world.cancel_at = None;
    assert_eq!(culprit(&tree, &run(&tree, &world, state.path())), "b2");
}
