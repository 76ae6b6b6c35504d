//! Baseline configurations: used as long as the bug shows with them.

use std::collections::BTreeSet;

use vmbisect::history::Find;
use vmbisect::report::Answer;
use vmbisect::session::WhyDropped;
use vmbisect::trial::{Outcome, Target};

use crate::world::{Baseline, Ended, Repo, World, foreign, hit, no_boot};

const SMALL: Baseline = Baseline { name: "small", builds: true };

/// One in which these have the bug; what a kernel shows that was built with a baseline and has it, is
/// said by its title and the how manyth trial it is.
fn world<'a>(
    repo: &'a Repo,
    bad: BTreeSet<String>,
    baselines: &[Baseline],
    shows: impl Fn(&str, u32) -> Outcome + Send + Sync + 'static,
) -> World<'a> {
    let has_bug = bad.clone();
    let mut world = odd_world(repo, bad, move |title, nth| match title.rsplit_once(' ') {
        Some((_, of)) if has_bug.contains(of) => shows(title, nth),
        _ => Outcome::Clean,
    });
    world.baselines = baselines.to_vec();
    world
}

/// One in which these have the bug, but with a baseline any kernel shows what is said of it.
fn odd_world<'a>(
    repo: &'a Repo,
    bad: BTreeSet<String>,
    shows: impl Fn(&str, u32) -> Outcome + Send + Sync + 'static,
) -> World<'a> {
    let mut world = World::new(repo, move |title, nth| match () {
        () if title.contains(' ') => shows(title, nth),
        () if bad.contains(title) => hit(),
        () => Outcome::Clean,
    });
    world.baselines = vec![SMALL];
    world
}

/// From a good end that is given, and from releases that are picked, none is named but 602, and the
/// baseline is not used.
#[track_caller]
fn goes_on_without<'a>(world: &World<'a>, why: WhyDropped) -> [Ended<'a>; 2] {
    let all = [world.bisect(Find::Cause, "500", "905"), world.bisect_from("905")];
    for ended in &all {
        assert_eq!(ended.named().0, "602");
        assert_eq!(dropped(ended), [("small".to_owned(), why)]);
    }
    all
}

/// Each baseline that was not used, and why.
fn dropped(ended: &Ended<'_>) -> Vec<(String, WhyDropped)> {
    let report = ended.report();
    report.dropped_baselines.into_iter().map(|it| (it.name, it.dropped.why)).collect()
}

#[test]
fn one_that_shows_the_bug_is_used() {
    let repo = Repo::releases();
    let world = world(&repo, repo.since(&["602"]), &[SMALL], |_, _| hit());
    let ended = world.bisect_from("905");
    assert_eq!(ended.named().0, "602");
    let report = ended.report();
    assert_eq!(report.baseline.as_deref(), Some("small"));
    let text = report.to_string();
    assert!(text.contains("The baseline small was used."), "{text}");
}

#[test]
fn one_that_shows_it_now_and_then_is_used() {
    let repo = Repo::releases();
    let shows = |_: &str, nth| if nth % 4 == 3 { hit() } else { Outcome::Clean };
    let ended = world(&repo, repo.since(&["602"]), &[SMALL], shows).bisect_from("905");
    assert_eq!(ended.named().0, "602");
    assert_eq!(ended.report().baseline.as_deref(), Some("small"));
}

#[test]
fn one_that_does_not_show_it_is_not_used() {
    let repo = Repo::releases();
    let world = world(&repo, repo.since(&["602"]), &[SMALL], |_, _| Outcome::Clean);
    let ended = world.bisect_from("905");
    assert_eq!(ended.named().0, "602");
    assert_eq!(dropped(&ended), [("small".to_owned(), WhyDropped::NotShown)]);
    let text = ended.report().to_string();
    assert!(text.contains("does not show the bug in 30 clean trials"), "{text}");
    // What was clean with it says nothing of the kernels that were used.
    assert!(ended.report().revisions.iter().all(|it| it.hits == 0 || it.clean == 0), "{text}");
}

#[test]
fn one_that_shows_another_crash_is_not_used() {
    let repo = Repo::releases();
    let shows = |_: &str, _| foreign("WARNING in foo");
    let ended = world(&repo, repo.since(&["602"]), &[SMALL], shows).bisect_from("905");
    assert_eq!(ended.named().0, "602");
    assert_eq!(dropped(&ended), [("small".to_owned(), WhyDropped::Untestable)]);
    assert!(ended.report().to_string().contains("x WARNING in foo"), "{}", ended.report());
}

#[test]
fn one_with_which_nothing_builds_or_boots_is_not_used() {
    let repo = Repo::releases();
    let broken = Baseline { name: "broken", builds: false };
    let world = world(&repo, repo.since(&["602"]), &[broken, SMALL], |_, _| no_boot());
    let ended = world.bisect_from("905");
    assert_eq!(ended.named().0, "602");
    let untestable = |name: &str| (name.to_owned(), WhyDropped::Untestable);
    assert_eq!(dropped(&ended), [untestable("broken"), untestable("small")]);
    let text = ended.report().to_string();
    assert!(text.contains("The baseline broken was not used: the bad revision does not build"));
    assert!(text.contains("x no boot: triple fault"), "{text}");
}

#[test]
fn the_first_that_shows_it_is_used() {
    let repo = Repo::releases();
    let tiny = Baseline { name: "tiny", builds: true };
    let shows = |title: &str, _| if title.starts_with("tiny") { Outcome::Clean } else { hit() };
    let world = world(&repo, repo.since(&["602"]), &[tiny, SMALL], shows);
    let ended = world.bisect_from("905");
    assert_eq!(ended.named().0, "602");
    assert_eq!(ended.report().baseline.as_deref(), Some("small"));
    assert_eq!(dropped(&ended), [("tiny".to_owned(), WhyDropped::NotShown)]);
    assert_eq!(world.tried("905"), 0);
}

/// A kernel that does not boot for want of an option does not boot at the good revision either.
#[test]
fn one_that_is_to_blame_itself_is_not_used() {
    let repo = Repo::releases();
    let mut world = odd_world(&repo, repo.since(&["602"]), |_, _| hit());
    world.target = Target::NoBoot;
    for ended in goes_on_without(&world, WhyDropped::ShownAtGood) {
        assert!(ended.report().dropped_trials > 0);
    }
}

#[test]
fn one_with_which_only_the_bad_revision_boots_is_not_used() {
    let repo = Repo::releases();
    let shows = |title: &str, _| if title.ends_with(" 905") { hit() } else { no_boot() };
    let world = odd_world(&repo, repo.since(&["602"]), shows);
    for ended in goes_on_without(&world, WhyDropped::Untestable) {
        assert!(ended.report().to_string().contains("told anything; "), "{}", ended.report());
    }
}

#[test]
fn a_fix_and_its_revert_with_one() {
    let repo = Repo::releases();
    let bad = &repo.since(&["400"]) - &repo.since(&["602"]);
    let world = world(&repo, bad, &[SMALL], |_, _| hit());
    let ended = world.bisect_and_revert(Find::Fix, "905", "500");
    assert_eq!(ended.named().0, "602");
    assert_eq!(ended.report().baseline.as_deref(), Some("small"));
}

#[test]
fn a_bug_that_shows_with_none_is_not_reproduced() {
    let repo = Repo::releases();
    let ended = world(&repo, BTreeSet::new(), &[SMALL], |_, _| hit()).bisect_from("905");
    let report = ended.report();
    assert!(matches!(report.answer, Answer::NotReproduced { clean: 100, .. }), "{report}");
}

#[test]
fn two_last_commits_of_one_image() {
    let repo = Repo::releases();
    let world = world(&repo, repo.since(&["905"]), &[SMALL], |_, _| hit());
    let world = world.same_image(&["905", "904"]);
    let ended = world.bisect_from("905");
    assert_eq!(ended.named().0, "904", "{}", ended.report());
    assert_eq!(ended.report().baseline.as_deref(), Some("small"));
}
