//! The ends of a bisection: the bad end that does not show it, a merge that is the answer, the
//! revert of the answer, titles that drift, evidence that does not fit.

use std::collections::BTreeSet;

use vmbisect::history::Find;
use vmbisect::report::{Answer, Contradiction, RevertResult};
use vmbisect::trial::Outcome;

use crate::world::{Repo, World, foreign, hit};

#[test]
fn a_bad_end_without_the_bug_says_what_it_would_take() {
    let repo = Repo::straight(8);
    let world = World::new(&repo, |_, nth| match nth % 10 {
        3 => foreign("WARNING in foo"),
        _ => Outcome::Clean,
    });
    let report = world.bisect(Find::Cause, "0", "7").report();
    let text = report.to_string();
    let Answer::NotReproduced { clean, instead, trials_to_exclude, .. } = &report.answer else {
        panic!("{text}")
    };
    assert!(*clean >= 30);
    assert!(instead["WARNING in foo"] >= 3);
    assert_eq!(trials_to_exclude[1], (0.03, 99));
    assert!(text.contains("99 clean trials for 3.0 %"), "{text}");
    assert!(text.contains("x WARNING in foo"), "{text}");
}

/// Both sides are without the bug, and the merge has it.
#[test]
fn a_merge_that_brings_it_is_explained() {
    let repo = Repo::releases();
    let world = World::plain(&repo, repo.since(&["804"]), BTreeSet::new());
    let ended = world.bisect_and_revert(Find::Cause, "700", "905");
    assert_eq!(ended.named().0, "804");
    let report = ended.report();
    let Answer::Culprit { merge: Some(merge), .. } = &report.answer else { panic!("{report}") };
    assert_eq!(merge.sides.len(), 2);
    assert!(merge.sides.iter().all(|side| side.confirmed && side.clean > 0 && side.hits == 0));
    assert_eq!(merge.by_hand.as_ref().unwrap(), &Default::default());
    let text = report.to_string();
    assert!(text.contains("only together do they show it"), "{text}");
    assert!(text.contains("git merges the two without a conflict"), "{text}");
}

#[test]
fn a_merge_one_side_of_which_can_not_be_tested() {
    let repo = Repo::releases();
    let world = World::plain(&repo, repo.since(&["804"]), ["792".to_owned()].into());
    let ended = world.bisect(Find::Cause, "700", "905");
    // The untested side may have brought it.
    assert_eq!(ended.remaining(), BTreeSet::from(["792", "804"].map(str::to_owned)));
}

#[test]
fn the_revert_cures_it() {
    let repo = Repo::releases();
    // The revert's title is no commit's of the repository, and not among the bad ones.
    let world = World::plain(&repo, repo.since(&["602"]), BTreeSet::new());
    let ended = world.bisect_and_revert(Find::Cause, "400", "905");
    let report = ended.report();
    let Answer::Culprit { revert: Some(revert), .. } = &report.answer else { panic!("{report}") };
    assert_eq!((revert.result, revert.hits), (RevertResult::Gone, 0), "{report}");
    assert!(revert.clean >= 2, "{report}");
    assert!(report.to_string().contains("it is cured"), "{report}");
    // No branch leads to what was made for it.
    assert_eq!(repo.git.branches(None).unwrap().count(), 0);
    let made = repo.git.find_commit(revert.commit.unwrap().to_string().parse().unwrap()).unwrap();
    assert_eq!(made.summary().ok().flatten(), Some("Revert \"602\""));
    assert!(made.tree().unwrap().get_name("602").is_none());
}

#[test]
fn the_revert_does_not_cure_it() {
    let repo = Repo::releases();
    let mut bad = repo.since(&["602"]);
    bad.insert("Revert \"602\"".into());
    let report = World::plain(&repo, bad, BTreeSet::new())
        .bisect_and_revert(Find::Cause, "400", "905")
        .report();
    let Answer::Culprit { revert: Some(revert), .. } = &report.answer else { panic!("{report}") };
    assert_eq!(revert.result, RevertResult::Shows);
    assert!(report.to_string().contains("NOT cured"), "{report}");
}

/// A bug that does not show in every trial, and one hit of something else with the revert.
#[test]
fn a_single_hit_with_the_revert_is_not_the_bug() {
    let repo = Repo::straight(8);
    for (one_in, false_hit) in [(3, 0), (3, 4), (10, 5)] {
        let bad = repo.since(&["5"]);
        let world = World::new(&repo, move |title, nth| match () {
            () if title.starts_with("Revert") && nth == false_hit => hit(),
            () if bad.contains(title) && nth % one_in == one_in / 2 => hit(),
            () => Outcome::Clean,
        });
        let report = world.bisect_and_revert(Find::Cause, "0", "7").report();
        let Answer::Culprit { revert: Some(revert), .. } = &report.answer else {
            panic!("{report}")
        };
        assert_eq!((revert.result, revert.hits), (RevertResult::Gone, 1), "{report}");
        let trials = format!("1 of {} trials shows the target", revert.clean + 1);
        assert!(report.to_string().contains(&trials), "{report}");
    }
}

#[test]
fn the_revert_of_a_fix_brings_the_bug_back() {
    let repo = Repo::releases();
    let mut bad = &repo.since(&["400"]) - &repo.since(&["602"]);
    bad.insert("Revert \"602\"".into());
    let report = World::plain(&repo, bad, BTreeSet::new())
        .bisect_and_revert(Find::Fix, "905", "400")
        .report();
    assert!(report.to_string().contains("the bug comes back"), "{report}");
}

#[test]
fn a_revert_that_does_not_build_or_does_not_apply() {
    let mut repo = Repo::straight(8);
    let mut world = World::plain(&repo, repo.since(&["4"]), BTreeSet::new());
    world.broken.insert("Revert \"4\"".into());
    let report = world.bisect_and_revert(Find::Cause, "0", "7").report();
    assert!(report.to_string().contains("could not be tested: fork.c:1: error"), "{report}");
    drop(world);
    // A later commit changes the file that the culprit brought.
    repo.rewrite("8", "7", "4", "other contents");
    let world = World::plain(&repo, repo.since(&["4"]), BTreeSet::new());
    let report = world.bisect_and_revert(Find::Cause, "0", "8").report();
    let text = report.to_string();
    let Answer::Culprit { revert: Some(revert), .. } = &report.answer else { panic!("{report}") };
    assert_eq!(revert.result, RevertResult::DoesNotApply);
    assert!(text.contains("does not apply: it conflicts with later changes of 4"), "{text}");
}

#[test]
fn titles_are_counted_by_revision() {
    let repo = Repo::straight(20);
    let bad = repo.since(&["9"]);
    let world = World::new(&repo, move |title, nth| match bad.contains(title) {
        true if nth % 3 == 0 => hit(),
        false if nth % 3 == 0 => foreign("WARNING in foo"),
        _ => Outcome::Clean,
    });
    let ended = world.bisect(Find::Cause, "0", "19");
    assert_eq!(ended.named().0, "9");
    let report = ended.report();
    let other = report.titles.iter().find(|title| title.title == "WARNING in foo").unwrap();
    let target = report.titles.iter().find(|title| title.target).unwrap();
    for (title, is_bad) in [(other, false), (target, true)] {
        for seen in &title.seen {
            assert_eq!(repo.contains(&repo.title(seen.commit), "9"), is_bad);
            assert!(seen.trials > 0 && seen.trials <= seen.of);
        }
    }
    assert!(report.to_string().contains("Titles by revision"), "{report}");
}

#[test]
fn a_hit_below_what_is_surely_good() {
    let repo = Repo::straight(40);
    let mut bad = repo.since(&["30"]);
    bad.insert("10".into());
    let world = World::new(&repo, move |title, nth| match bad.contains(title) {
        // Once only, further down.
        true if title != "10" || nth == 0 => hit(),
        _ => Outcome::Clean,
    });
    let ended = world.bisect(Find::Cause, "0", "39");
    assert_eq!(ended.named().0, "30");
    let report = ended.report();
    if world.tried("10") > 0 {
        let fits = |it: &Contradiction| matches!(it, Contradiction::HitOfGood { hits: 1, .. });
        assert!(report.contradictions.iter().any(fits), "{report}");
        assert!(report.to_string().contains("Does not fit"), "{report}");
    } else {
        assert_eq!(report.contradictions, []);
    }
}

/// Builds happen elsewhere, and a revert is made without a checkout: what the user has at hand stays
/// as it is, changed, staged or unknown to git.
#[test]
fn a_dirty_worktree_is_left_alone() {
    let repo = Repo::straight(8);
    let git = |arguments: &[&str]| {
        let ran =
            std::process::Command::new("git").current_dir(repo.path()).args(arguments).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    let tip = repo.id("7").to_string();
    git(&["checkout", "--quiet", "-b", "work", &tip]);
    for (file, contents) in [("1", "changed"), ("2", "staged"), ("new", "unknown")] {
        std::fs::write(repo.path().join(file), contents).unwrap();
    }
    git(&["add", "2"]);
    let state = || {
        let files = ["1", "2", "4", "new"].map(|it| std::fs::read(repo.path().join(it)).unwrap());
        let status = git(&["status", "--porcelain=v2", "--branch"]);
        (status, git(&["for-each-ref"]), git(&["stash", "list"]), files)
    };
    let before = state();
    let world = World::plain(&repo, repo.since(&["4"]), BTreeSet::new());
    let report = world.bisect_and_revert(Find::Cause, "0", "7").report();
    assert!(report.to_string().contains("it is cured"), "{report}");
    assert_eq!(state(), before);
}
