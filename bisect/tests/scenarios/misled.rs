//! Bisections that went wrong elsewhere, by what misled them.

use std::collections::BTreeSet;

use vmbisect::history::Find;
use vmbisect::search::Verdict;
use vmbisect::trial::Outcome;

use crate::world::{Repo, World, foreign, hit, no_boot};

/// A hang in every trial from one commit on, and from another on something else in every third
/// trial of what is without it: not the hang, whichever of the two is older.
#[test]
fn another_crash_that_came_in_earlier_or_later() {
    let repo = Repo::straight(64);
    for other_since in ["5", "30", "60"] {
        let (bad, other) = (repo.since(&["40"]), repo.since(&[other_since]));
        let world = World::new(&repo, move |title, nth| match () {
            () if other.contains(title) && nth % 3 == 1 => {
                foreign("BUG: MAX_LOCKDEP_KEYS too low!")
            }
            () if bad.contains(title) => hit(),
            () => Outcome::Clean,
        });
        let ended = world.bisect(Find::Cause, "0", "63");
        assert_eq!(ended.named().0, "40", "{other_since}: {}", ended.report());
    }
}

/// Four of twenty trials crash, each with a title of its own, on every revision.
#[test]
fn many_titles_that_are_none_of_it() {
    let repo = Repo::straight(64);
    let bad = repo.since(&["20"]);
    let world = World::new(&repo, move |title, nth| match nth % 5 {
        2 => foreign(["WARNING in a", "KASAN: b", "INFO: c", "BUG: d"][nth as usize / 5 % 4]),
        _ if bad.contains(title) => hit(),
        _ => Outcome::Clean,
    });
    assert_eq!(world.bisect(Find::Cause, "0", "63").named().0, "20");
}

/// One or two trials in ten lose their machine, on good revisions too.
#[test]
fn lost_machines_and_lockups_now_and_then() {
    let repo = Repo::straight(64);
    for title in ["lost connection to test machine", "BUG: spinlock lockup suspected"] {
        let bad = repo.since(&["33"]);
        let world = World::new(&repo, move |commit, nth| match nth % 10 {
            7 | 8 => foreign(title),
            _ if bad.contains(commit) => hit(),
            _ => Outcome::Clean,
        });
        assert_eq!(world.bisect(Find::Cause, "0", "63").named().0, "33");
        let bad = &repo.since(&["0"]) - &repo.since(&["33"]);
        let world = World::new(&repo, move |commit, nth| match nth % 3 {
            1 => foreign(title),
            _ if bad.contains(commit) => hit(),
            _ => Outcome::Clean,
        });
        assert_eq!(world.bisect(Find::Fix, "63", "0").named().0, "33");
    }
}

/// What changes only a test program, a comment or another architecture is built to the same image.
#[test]
fn a_commit_that_changes_nothing_that_runs() {
    let repo = Repo::straight(64);
    // A flaky bug, and the commits around its cause that change nothing.
    let bad = repo.since(&["40"]);
    let world = World::new(&repo, move |title, nth| match bad.contains(title) && nth % 4 == 2 {
        true => hit(),
        false => Outcome::Clean,
    })
    .same_image(&["37", "38", "39"])
    .same_image(&["40", "41", "42", "43"]);
    assert_eq!(world.bisect(Find::Cause, "0", "63").named().0, "40");
}

/// The fix of a bug that shows in one trial of nine: ten clean trials say little.
#[test]
fn the_fix_of_a_flaky_bug() {
    let repo = Repo::straight(32);
    let bad = &repo.since(&["0"]) - &repo.since(&["12"]);
    let world = World::new(&repo, move |title, nth| match bad.contains(title) && nth % 9 == 5 {
        true => hit(),
        false => Outcome::Clean,
    });
    let ended = world.bisect(Find::Fix, "31", "0");
    let (named, probability) = ended.named();
    assert_eq!(named, "12");
    assert!(probability >= 0.95);
    assert!(world.tried("12") >= 20, "{} trials of the fix", world.tried("12"));
}

/// For a stretch nothing boots, and after it another crash comes first in every trial but those of
/// the bad end: nobody can be blamed, least of all at random.
#[test]
fn a_broken_stretch_and_another_crash_after_it() {
    let repo = Repo::straight(64);
    let (dead, masked) = (repo.since(&["20"]), repo.since(&["40"]));
    let world = World::new(&repo, move |title, _| match () {
        () if title == "63" => hit(),
        () if masked.contains(title) => foreign("general protection fault in foo"),
        () if dead.contains(title) => Outcome::NoBoot { reason: "triple fault".into() },
        () => Outcome::Clean,
    });
    let ended = world.bisect(Find::Cause, "0", "63");
    let Ok(Verdict::Undecided { remaining, .. }) = &ended.result else {
        panic!("{:?}", ended.result)
    };
    let all: BTreeSet<u32> = (20..64).collect();
    let named: BTreeSet<u32> = remaining.iter().map(|(rev, _)| rev + 1).collect();
    assert!(named.is_subset(&all) && named.len() > 40, "{named:?}");
    assert!(remaining[0].1 < 0.1, "{remaining:?}");
}

/// A crash in one trial of ten on a good revision is not the bug's unless it is its title.
#[test]
fn one_crash_of_ten() {
    let repo = Repo::straight(32);
    let bad = repo.since(&["16"]);
    let world = World::new(&repo, move |title, nth| match () {
        () if bad.contains(title) => hit(),
        // A false hit even, on every fourth revision.
        () if title.parse::<u32>().unwrap() % 4 == 3 && nth == 1 => hit(),
        () => Outcome::Clean,
    });
    let ended = world.bisect(Find::Cause, "0", "31");
    assert_eq!(ended.named().0, "16", "{}", ended.report());
}

/// A flaky bug on kernels of which every third does not come up, and some not at all.
#[test]
fn boots_that_fail_now_and_then_of_a_flaky_bug() {
    let repo = Repo::straight(48);
    let bad = repo.since(&["29"]);
    let world = World::new(&repo, move |title, nth| match () {
        () if ["14", "27", "33"].contains(&title) || nth % 3 == 1 => no_boot(),
        () if bad.contains(title) && nth % 4 == 2 => hit(),
        () => Outcome::Clean,
    });
    let ended = world.bisect(Find::Cause, "0", "47");
    assert_eq!(ended.named().0, "29", "{}", ended.report());
}
