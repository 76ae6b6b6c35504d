//! Fixes, and the branches that look fixed because they never had the bug.

use std::collections::BTreeSet;

use vmbisect::history::Find;
use vmbisect::search::Verdict;
use vmbisect::trial::{Outcome, Target};

use crate::world::{Repo, World, foreign, hit};

fn set(titles: &[&str]) -> BTreeSet<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

/// What has a bug that came in with one commit and that others fix.
fn between(repo: &Repo, cause: &str, fixes: &[&str]) -> BTreeSet<String> {
    &repo.since(&[cause]) - &repo.since(fixes)
}

#[test]
fn a_fix_is_found() {
    let repo = Repo::releases();
    for fix in ["401", "500", "650", "705", "790", "804", "905"] {
        let world = World::plain(&repo, between(&repo, "400", &[fix]), set(&[]));
        let ended = world.bisect(Find::Fix, "905", "400");
        assert_eq!(ended.named().0, fix);
        let text = ended.report().to_string();
        assert!(text.starts_with("first fixed commit: "), "{text}");
    }
}

#[test]
fn a_branch_that_never_had_the_bug_did_not_fix_it() {
    let repo = Repo::releases();
    let world = World::plain(&repo, between(&repo, "704", &["803"]), set(&[]));
    assert_eq!(world.bisect(Find::Fix, "905", "802").named().0, "803");
}

#[test]
fn a_fix_on_a_branch_that_had_the_bug() {
    let repo = Repo::releases();
    let world = World::plain(&repo, between(&repo, "602", &["791"]), set(&[]));
    assert_eq!(world.bisect(Find::Fix, "905", "802").named().0, "791");
    assert!(world.tried("700") > 0, "it rests on where the branch left");
}

/// One hit of a merge base may be false, where the bug itself shows in a third of the trials.
#[test]
fn a_branch_whose_base_shows_it_once() {
    let repo = Repo::releases();
    let bad = between(&repo, "704", &["804"]);
    let world = World::new(&repo, move |title, nth| match () {
        () if title == "700" && nth == 3 => hit(),
        () if bad.contains(title) && nth % 3 == 1 => hit(),
        () => Outcome::Clean,
    });
    let ended = world.bisect(Find::Fix, "905", "802");
    assert_eq!(ended.named().0, "804", "{}", ended.report());
    assert!(world.tried("700") > 20, "{}", world.tried("700"));
}

#[test]
fn a_fix_that_a_merge_made() {
    let repo = Repo::releases();
    let world = World::plain(&repo, between(&repo, "704", &["804"]), set(&[]));
    let ended = world.bisect(Find::Fix, "905", "802");
    let text = ended.report().to_string();
    assert_eq!(ended.named().0, "804", "{text}");
    assert!(text.contains("792 never had the bug: the branch left at"), "{text}");
}

/// Whether the branch had the bug can't be known, so that nobody can say which of it is the fix.
#[test]
fn a_fix_on_a_branch_whose_base_does_not_boot() {
    let repo = Repo::releases();
    let world = World::plain(&repo, between(&repo, "602", &["791"]), set(&["700"]));
    let ended = world.bisect(Find::Fix, "905", "802");
    assert_eq!(ended.remaining(), set(&["790", "791", "792", "804"]));
}

#[test]
fn a_fix_beside_a_long_branch_whose_base_does_not_boot() {
    let mut repo = Repo::straight(10);
    let branch: Vec<String> = (0..16).map(|n| format!("side{n}")).collect();
    repo.line("2", &branch.iter().map(String::as_str).collect::<Vec<_>>());
    repo.commit("merge", &["9", "side15"]);
    repo.line("merge", &["after0", "after1", "after2"]);
    let world = World::plain(&repo, between(&repo, "4", &["8"]), set(&["2"]));
    assert_eq!(world.bisect(Find::Fix, "after2", "6").named().0, "8");
}

#[test]
fn an_older_end_on_another_branch() {
    let repo = Repo::releases();
    let world = World::plain(&repo, between(&repo, "602", &["903"]), set(&[]));
    assert_eq!(world.bisect(Find::Fix, "905", "851").named().0, "903");
    // Where the two parted there is no bug, so nothing on the way to the newer end has fixed it.
    let world = World::plain(&repo, repo.since(&["851"]), set(&[]));
    let ended = world.bisect(Find::Fix, "905", "851");
    assert!(matches!(ended.result, Ok(Verdict::NotReproduced)), "{:?}", ended.result);
    let world = World::plain(&repo, between(&repo, "602", &["903"]), set(&["800"]));
    let ended = world.bisect(Find::Fix, "905", "851");
    assert!(matches!(ended.result, Ok(Verdict::BadTipUntestable)), "{:?}", ended.result);
}

#[test]
fn what_is_not_fixed() {
    let repo = Repo::releases();
    let world = World::plain(&repo, repo.since(&["400"]), set(&[]));
    let ended = world.bisect(Find::Fix, "905", "400");
    assert!(matches!(ended.result, Ok(Verdict::GoodTipBad { .. })), "{:?}", ended.result);
    assert!(ended.report().to_string().contains("still shows"), "{}", ended.report());
}

#[test]
fn what_was_fixed_before() {
    let repo = Repo::releases();
    let ended = World::plain(&repo, set(&[]), set(&[])).bisect(Find::Fix, "905", "400");
    assert!(matches!(ended.result, Ok(Verdict::NotReproduced)), "{:?}", ended.result);
    assert!(ended.report().to_string().contains("clean trials"), "{}", ended.report());
}

/// Whether it is fixed can't be seen, and so not by which commit either.
#[test]
fn a_newer_end_that_does_not_boot() {
    let repo = Repo::releases();
    let world = World::plain(&repo, between(&repo, "400", &["500"]), repo.since(&["500"]));
    let ended = world.bisect(Find::Fix, "905", "400");
    let remaining = ended.remaining();
    assert!(
        remaining.is_subset(&repo.since(&["500"])) && remaining.contains("500"),
        "{remaining:?}"
    );
    assert!(remaining.len() > 20, "{remaining:?}");
}

#[test]
fn a_fix_among_what_does_not_boot() {
    let repo = Repo::releases();
    let dead: BTreeSet<String> =
        repo.since(&["600"]).into_iter().filter(|title| repo.contains("700", title)).collect();
    let dead = &dead | &set(&["650"]);
    let world = World::plain(&repo, between(&repo, "400", &["601"]), dead.clone());
    let ended = world.bisect(Find::Fix, "905", "400");
    let remaining = ended.remaining();
    // The branch that left at 700 is fixed, so that 701 need not be among them.
    assert!(remaining == dead || remaining == &dead | &set(&["701"]), "{}", ended.report());
}

/// Of several commits with one image the first is what fixed it.
#[test]
fn fixes_with_the_image_of_another() {
    let repo = Repo::releases();
    for (same, fix, named) in
        [(&["502", "503", "504"][..], "503", "502"), (&["904", "905"], "905", "904")]
    {
        assert!(same.contains(&fix));
        let world = World::plain(&repo, between(&repo, "400", same), set(&[])).same_image(same);
        let ended = world.bisect(Find::Fix, "905", "400");
        assert_eq!(ended.named().0, named, "{}", ended.report());
    }
}

/// A title that says nothing of the kernel, and so tells nothing elsewhere, can be what is looked
/// for: then it counts, and what else shows does not.
#[test]
fn a_bug_that_shows_as_a_lost_machine() {
    let repo = Repo::releases();
    let lost = "lost connection to test machine";
    let fatal = "SYZFATAL: executor NUM failed NUM times: executor exited";
    for (wanted, shows, other) in
        [(fatal, fatal, lost), (lost, lost, fatal), ("SYZFATAL*", fatal, lost)]
    {
        let bad = between(&repo, "400", &["500"]);
        let target = Target::Crash(vec![wanted.into()]);
        let judge = target.clone();
        let mut world = World::new(&repo, move |title, nth| {
            let seen = match nth % 3 {
                // With the bug and without.
                1 => other,
                _ if bad.contains(title) => shows,
                _ => return Outcome::Clean,
            };
            match judge.matches_title(seen) {
                true => Outcome::Hit { title: seen.into() },
                false => foreign(seen),
            }
        });
        world.target = target;
        let ended = world.bisect(Find::Fix, "905", "400");
        assert_eq!(ended.named().0, "500", "{wanted}: {}", ended.report());
    }
}
