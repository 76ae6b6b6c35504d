//! Evidence that does not fit together: it is said, and counts as what it is.

use vmbisect::history::Find;
use vmbisect::journal::{Event, Record};
use vmbisect::report::{Contradiction, Report};
use vmbisect::search::{Limits, Model, Verdict, WhyNot};
use vmbisect::session::Fold;
use vmbisect::trial::{Outcome, Target};

use crate::world::{Repo, TARGET, hit};

/// What is said after trials of the commits of a line: of each its title, its image, and how many
/// trials hit and were clean.
fn report(repo: &Repo, good: &str, bad: &str, tried: &[(&str, &str, u32, u32)]) -> Report {
    let history = repo.history();
    let candidates = history.candidates(&[repo.id(good)], repo.id(bad)).unwrap();
    let model = Model { find: Find::Cause, ..Model::new(0.95) };
    let mut fold = Fold::new(candidates.into(), model, Limits::default(), 1);
    let mut add = |event| fold.apply(&Record { at_ms: 0, event }).unwrap();
    for &(title, image, hits, clean) in tried {
        let commit = repo.id(title);
        add(Event::Built {
            commit,
            signature: image.into(),
            image: image.into(),
            compiler: "gcc 12.2.0".into(),
            seconds: 60.0,
            cached: false,
        });
        let outcomes = (0..hits).map(|_| hit()).chain((0..clean).map(|_| Outcome::Clean));
        for outcome in outcomes {
            let (crashes, boot, seconds) = (Vec::new(), false, 1.0);
            let (console, report) = (None, None);
            add(Event::Trial { commit, outcome, crashes, boot, seconds, console, report });
        }
    }
    let verdict = Verdict::Undecided { why: WhyNot::Budget, remaining: Vec::new() };
    let target = Target::Crash(vec![TARGET.into()]);
    Report::new(&fold, &verdict, &history, &target).unwrap()
}

#[test]
fn a_hit_of_what_is_surely_good() {
    let repo = Repo::straight(8);
    // What is on top of it does not show it, often enough to be sure.
    let tried = [("7", "g", 20, 0), ("0", "a", 0, 20), ("3", "c", 1, 19), ("5", "e", 0, 20)];
    let report = report(&repo, "0", "7", &tried);
    let commit = repo.id("3");
    let expected = Contradiction::HitOfGood { commit, hits: 1, trials: 20 };
    assert_eq!(report.contradictions, [expected]);
    let text = report.to_string();
    assert!(text.contains("showed the target in 1 of 20 trials"), "{text}");
    assert!(text.contains(&commit.short()) && text.contains("narrow it down"), "{text}");
}

#[test]
fn a_bad_one_that_never_shows_it() {
    let repo = Repo::straight(8);
    // A bug that is below it and on top of it.
    let tried = [("7", "g", 20, 0), ("0", "a", 0, 20), ("2", "b", 20, 0), ("5", "e", 0, 20)];
    let report = report(&repo, "0", "7", &tried);
    let commit = repo.id("5");
    // It may be good, and 2 the odd one: what is named is whichever the evidence speaks against.
    let one = report.contradictions.iter().any(|it| match it {
        Contradiction::CleanOfBad { commit: of, trials: 20 } => *of == commit,
        Contradiction::HitOfGood { commit: of, hits: 20, .. } => *of == repo.id("2"),
        _ => false,
    });
    assert!(one, "{:?}", report.contradictions);
    assert!(report.to_string().contains("Does not fit: "), "{report}");
}

#[test]
fn one_image_that_shows_it_and_does_not() {
    let repo = Repo::straight(8);
    let tried = [("7", "g", 5, 15), ("0", "a", 0, 20), ("4", "same", 8, 2), ("5", "same", 0, 40)];
    let report = report(&repo, "0", "7", &tried);
    let (shows, lacks) = (repo.id("4"), repo.id("5"));
    let expected = Contradiction::SameImage { shows, lacks };
    assert!(report.contradictions.contains(&expected), "{:?}", report.contradictions);
    let text = report.to_string();
    assert!(text.contains("are the same image, and only the first showed"), "{text}");
    // They share what was measured, so that the one is hardly better than the other.
    let of = |commit| report.revisions.iter().find(|it| it.commit.commit == commit).unwrap();
    let gap = of(shows).probability_bad - of(lacks).probability_bad;
    assert!(gap.abs() < 0.01, "{gap}");
}
