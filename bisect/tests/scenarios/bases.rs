//! Side branches that left below the good end, where the bug was which the good end has a fix of.

use std::collections::BTreeSet;

use vmbisect::history::Find;
use vmbisect::report::Answer;
use vmbisect::search::{Verdict, WhyNot};
use vmbisect::trial::Outcome;

use crate::world::{Ended, Repo, World, hit, no_boot};

/// "old" and on top of it 0 to 39, of which 2 is the good end; side0 to side5 left at "old" and are
/// merged on top of 29, before 30.
fn repo() -> Repo {
    repo_with(40)
}

/// The same with more on top of it.
fn repo_with(commits: u32) -> Repo {
    let mut repo = Repo::empty();
    repo.commit("old", &[]);
    let titles = |name: &str, numbers: std::ops::Range<u32>| -> Vec<String> {
        numbers.map(|n| format!("{name}{n}")).collect()
    };
    let line = |repo: &mut Repo, from: &str, titles: &[String]| {
        repo.line(from, &titles.iter().map(String::as_str).collect::<Vec<_>>());
    };
    line(&mut repo, "old", &titles("", 0..30));
    line(&mut repo, "old", &titles("side", 0..6));
    repo.commit("merge", &["29", "side5"]);
    line(&mut repo, "merge", &titles("", 30..commits));
    repo
}

/// What shows in these commits: in every trial, or in one of so many.
fn world<'a>(repo: &'a Repo, bad: BTreeSet<String>, one_in: u32) -> World<'a> {
    World::new(repo, move |title, nth| match bad.contains(title) && nth % one_in == one_in / 2 {
        true => hit(),
        false => Outcome::Clean,
    })
}

/// The side branch, and what has it.
fn side(repo: &Repo) -> BTreeSet<String> {
    let branch = repo.since(&["side0"]);
    &branch - &repo.since(&["merge"])
}

fn is_the_base(ended: &Ended<'_>) {
    let report = ended.report();
    assert!(
        matches!(ended.result, Ok(Verdict::Undecided { why: WhyNot::BaseIsBad, .. })),
        "{report}"
    );
    let Answer::Undecided { base: Some(base), .. } = &report.answer else { panic!("{report}") };
    assert_eq!(base.title, "old", "{report}");
    let text = report.to_string();
    assert!(text.contains("shows it already: it is no good revision"), "{text}");
    assert!(text.contains("The branch was merged by ") && text.contains(" merge.\n"), "{text}");
    assert!(text.contains(&format!("--find fix --bad {}", base.commit.short())), "{text}");
}

#[test]
fn a_branch_that_has_the_bug_from_where_it_left_brought_nothing_in() {
    let repo = repo();
    for one_in in [1, 3] {
        let mut bad = repo.since(&["side0"]);
        bad.insert("old".into());
        let world = world(&repo, bad, one_in);
        let ended = world.bisect(Find::Cause, "2", "39");
        is_the_base(&ended);
        assert!(ended.fold.spent() <= 60 * u64::from(one_in), "{}", ended.fold.spent());
    }
}

#[test]
fn what_came_in_on_such_a_branch_is_found() {
    let repo = repo();
    for (cause, one_in) in [("side0", 1), ("side0", 3), ("side3", 1), ("side3", 3), ("merge", 1)] {
        let world = world(&repo, repo.since(&[cause]), one_in);
        let ended = world.bisect(Find::Cause, "2", "39");
        assert_eq!(ended.named().0, cause, "{one_in}");
    }
}

/// The merge has the good end's fix, so that what the branch shows is another story.
#[test]
fn a_merge_that_cures_the_branch() {
    let repo = repo();
    for (cause, one_in) in [("35", 1), ("35", 3), ("12", 1), ("12", 3)] {
        let mut bad = &repo.since(&[cause]) | &side(&repo);
        bad.insert("old".into());
        let world = world(&repo, bad, one_in);
        assert_eq!(world.bisect(Find::Cause, "2", "39").named().0, cause, "{one_in}");
    }
}

/// Of two good ends the one that is no good end is said, whichever comes first, and the search goes
/// by the other where the first has nothing to do with it.
#[test]
fn one_of_two_good_ends_has_it() {
    let repo = repo();
    let bad = repo.since(&["side1"]);
    for good in [["2", "side1"], ["side1", "2"]] {
        let world = world(&repo, bad.clone(), 1);
        let ended = world.bisect_from_several(&good, "39");
        let text = ended.report().to_string();
        assert!(matches!(ended.result, Ok(Verdict::GoodTipBad { .. })), "{good:?}: {text}");
        let title = format!("{} side1", repo.id("side1").short());
        assert!(text.contains(&format!("shows at a good revision too, {title}")), "{text}");
    }
    let world = world(&repo, repo.since(&["25"]), 3);
    assert_eq!(world.bisect_from_several(&["side1", "2"], "39").named().0, "25");
    assert!(world.tried("2") > 0 && world.tried("side1") > 0, "both are looked at");
}

/// What the first commit above a good end shows may be the end's own, where nobody can try that. The end is
/// no branch's base for it.
#[test]
fn a_good_end_that_does_not_boot_is_no_base() {
    let repo = repo_with(200);
    let bad = repo.since(&["3"]);
    let world = World::new(&repo, move |title, _| match title {
        "2" => no_boot(),
        title if bad.contains(title) => hit(),
        _ => Outcome::Clean,
    });
    let ended = world.bisect(Find::Cause, "2", "199");
    let text = ended.report().to_string();
    assert!(
        matches!(ended.result, Ok(Verdict::Undecided { why: WhyNot::Indistinguishable, .. })),
        "{text}"
    );
    assert!(ended.remaining().contains("3") && text.contains("none of the candidates"), "{text}");
}
