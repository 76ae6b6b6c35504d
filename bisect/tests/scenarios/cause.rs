//! Causes, in a repository of six releases of which only a bad revision is known.

use std::collections::BTreeSet;

use vmbisect::history::Find;
use vmbisect::journal::Stage;
use vmbisect::report::Answer;
use vmbisect::search::Verdict;
use vmbisect::session::{Hints, SessionError};
use vmbisect::trial::Outcome;

use crate::world::{Repo, World, hit};

fn set(titles: &[&str]) -> BTreeSet<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

/// Every commit of the main line and of the branch 650 between two, ends included.
fn range(repo: &Repo, from: &str, to: &str) -> BTreeSet<String> {
    repo.since(&[from]).into_iter().filter(|title| repo.contains(to, title)).collect()
}

#[test]
fn from_any_start_the_cause_is_found() {
    let repo = Repo::releases();
    for (start, cause) in [
        ("905", "602"),
        ("852", "602"),
        ("905", "650"),
        ("804", "791"),
        ("401", "401"),
        ("905", "905"),
    ] {
        let world = World::plain(&repo, repo.since(&[cause]), set(&[]));
        let ended = world.bisect_from(start);
        let (named, probability) = ended.named();
        assert_eq!(named, cause, "from {start}");
        assert!(probability >= 0.95);
    }
}

#[test]
fn a_bug_that_shows_in_three_of_twenty_trials() {
    let repo = Repo::releases();
    let bad = repo.since(&["605"]);
    let world =
        World::new(&repo, move |title, nth| match bad.contains(title) && nth % 20 % 7 == 3 {
            true => hit(),
            false => Outcome::Clean,
        });
    let ended = world.bisect_from("905");
    assert_eq!(ended.named().0, "605");
    assert!(world.tried("604") >= 10, "too few trials of its parent: {}", world.tried("604"));
}

#[test]
fn what_every_release_shows() {
    let repo = Repo::releases();
    let ended = World::plain(&repo, repo.since(&["400"]), set(&[])).bisect_from("905");
    let report = ended.report();
    assert!(matches!(report.answer, Answer::GoodTipBad { oldest_release: true, .. }), "{report}");
    let text = report.to_string();
    assert!(text.contains("down to the oldest one") && text.contains("400"), "{text}");
}

#[test]
fn releases_that_do_not_boot_are_gone_around_and_what_is_left_is_said() {
    let repo = Repo::releases();
    let dead = range(&repo, "500", "700");
    let world = World::plain(&repo, repo.since(&["605"]), dead.clone());
    let ended = world.bisect_from("802");
    assert_eq!(ended.remaining(), &dead | &set(&["701"]), "{}", ended.report());
    assert_eq!(ended.remaining().len(), 15);
    assert!(ended.report().to_string().contains("hint: "), "{}", ended.report());
}

#[test]
fn no_release_that_boots() {
    let repo = Repo::releases();
    let world = World::plain(&repo, repo.since(&["400"]), range(&repo, "400", "805"));
    let ended = world.bisect_from("905");
    assert!(matches!(ended.result, Ok(Verdict::GoodTipUntestable)), "{:?}", ended.result);
    assert!(ended.report().to_string().contains("--good REV"), "{}", ended.report());
}

#[test]
fn no_release_at_all() {
    let repo = Repo::releases();
    assert_eq!(repo.history().releases(repo.id("400")).unwrap(), []);
}

/// Two commits of one image are one kernel: the first of them is what brought the bug in, and none
/// whose image is its parent's is ever named.
#[test]
fn commits_with_the_image_of_another() {
    let repo = Repo::releases();
    let line = |from: &str, to: &str| range(&repo, from, to).into_iter().collect::<Vec<_>>();
    for (same, bug, named) in [
        (line("502", "503"), "503", "502"),
        (line("400", "502"), "503", "503"),
        (line("503", "505"), "503", "503"),
        // The bad end is the culprit's own image, and so is every release until the last that is good.
        (line("503", "905"), "503", "503"),
        (line("405", "500"), "500", "405"),
        (line("500", "501"), "501", "500"),
        (line("404", "405"), "405", "404"),
        (line("904", "905"), "905", "904"),
    ] {
        let same: Vec<&str> = same.iter().map(String::as_str).collect();
        // What is on top of a kernel that has the bug has it as well, on every branch.
        let bad = repo.since(if same.contains(&bug) { &same } else { std::slice::from_ref(&bug) });
        let world = World::plain(&repo, bad, set(&[])).same_image(&same);
        let ended = world.bisect_from("905");
        assert_eq!(ended.named().0, named, "{same:?}, {bug}: {}", ended.report());
    }
}

/// The branch's only commit changes nothing that is built, so that it is no cause, whatever shows.
#[test]
fn a_branch_with_the_image_it_left_with() {
    let repo = Repo::releases();
    let world = World::plain(&repo, repo.since(&["700"]), set(&[])).same_image(&["500", "650"]);
    assert_eq!(world.bisect_from("905").named().0, "700");
}

#[test]
fn a_host_that_fails_is_no_verdict() {
    let repo = Repo::releases();
    let bad = repo.since(&["650"]);
    let sick = range(&repo, "600", "800");
    let world = World::new(&repo, move |title, _| match () {
        () if sick.contains(title) => Outcome::Infra { reason: "no machine".into() },
        () if bad.contains(title) => hit(),
        () => Outcome::Clean,
    });
    let ended = world.bisect_from("905");
    assert!(matches!(ended.result, Err(SessionError::Host { .. })), "{:?}", ended.result);
}

/// Nor is a build that it killed.
#[test]
fn a_host_that_can_not_build_is_no_verdict() {
    let repo = Repo::releases();
    let mut world = World::plain(&repo, repo.since(&["650"]), set(&[]));
    world.starved = range(&repo, "600", "800");
    let ended = world.bisect_from("905");
    let Err(SessionError::Host { stage: Stage::Build, reason }) = &ended.result else {
        panic!("{:?}", ended.result)
    };
    assert_eq!(reason, "cc1 was killed");
}

/// A right suspicion saves builds and a wrong one costs some; of a bug that always shows, neither
/// changes the answer.
#[test]
fn suspicions() {
    let repo = Repo::straight(64);
    let builds = |paths: &[&str], suspects: &[&str]| {
        let mut world = World::plain(&repo, repo.since(&["23"]), set(&[]));
        world.hints = Hints {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            suspects: suspects.iter().map(|title| (repo.id(title), 50.0)).collect(),
        };
        assert_eq!(world.bisect(Find::Cause, "0", "63").named().0, "23");
        let builds = world.builds.lock().unwrap();
        builds.len()
    };
    let without = builds(&[], &[]);
    // Every commit changes a file of its own name.
    assert!(builds(&["22", "23", "40"], &[]) < without);
    assert!(builds(&[], &["23"]) < without);
    assert!(builds(&["50"], &["51"]) <= without + 3);
}
