//! What some trials of one revision say, where the bug is known to show always or now and then.

use vmbisect::history::{CommitId, Find, History};
use vmbisect::journal::{Event, Record, Stage};
use vmbisect::search::{Limits, Model};
use vmbisect::session::Fold;
use vmbisect::trial::Outcome;

use crate::world::{Repo, foreign, hit, no_boot};

/// Probability that the middle of three commits has a bug that showed at the last one in `shown` of
/// 20 trials and at the first in none, after such trials of its own.
fn probability_bad(shown: u32, trials: &[(u32, Option<Outcome>)]) -> f64 {
    let repo = Repo::straight(3);
    let history: History = repo.history();
    let candidates = history.candidates(&[repo.id("0")], repo.id("2")).unwrap();
    let model = Model { find: Find::Cause, ..Model::new(0.95) };
    let mut fold = Fold::new(candidates.into(), model, Limits::default(), 1);
    let mut add = |commit: CommitId, outcome: Option<Outcome>| {
        let event = match outcome {
            Some(outcome) => Event::Trial {
                commit,
                outcome,
                crashes: Vec::new(),
                boot: false,
                seconds: 1.0,
                console: None,
                report: None,
            },
            None => Event::Infra { commit, stage: Stage::Trial, reason: "no machine".into() },
        };
        fold.apply(&Record { at_ms: 0, event }).unwrap();
    };
    for n in 0..20 {
        add(repo.id("2"), Some(if n < shown { hit() } else { Outcome::Clean }));
        add(repo.id("0"), Some(Outcome::Clean));
    }
    for (count, outcome) in trials {
        (0..*count).for_each(|_| add(repo.id("1"), outcome.clone()));
    }
    fold.belief().probability_bad(fold.candidates().rev(repo.id("1")).unwrap())
}

#[test]
fn verdicts() {
    const ALWAYS: u32 = 20;
    const FLAKY: u32 = 6;
    let (clean, crash) = (|n| (n, Some(Outcome::Clean)), |n| (n, Some(hit())));
    let (infra, dead) = (|n| (n, None), |n| (n, Some(no_boot())));
    let other = |n| (n, Some(foreign("WARNING in foo")));
    let good = 0.0..0.05;
    let bad = 0.95..1.01;
    let open = 0.05..0.95;
    for (name, shown, trials, expected) in [
        // The host's failures take nothing from what the other trials say.
        ("hits beside failures of the host", ALWAYS, vec![crash(3), infra(7)], bad.clone()),
        ("clean beside failures of the host", ALWAYS, vec![clean(3), infra(7)], good.clone()),
        ("hits, clean and failures", FLAKY, vec![crash(3), clean(3), infra(4)], bad.clone()),
        // What does not boot says nothing, however often.
        ("nothing but dead", ALWAYS, vec![dead(10)], open.clone()),
        ("one hit beside many dead", FLAKY, vec![crash(2), dead(8)], bad.clone()),
        // As many clean trials as a flaky bug asks for, and fewer.
        ("too few clean of a flaky one", FLAKY, vec![clean(4)], open.clone()),
        ("clean enough of a flaky one", FLAKY, vec![clean(15)], good.clone()),
        ("clean of a flaky one beside dead", FLAKY, vec![clean(4), dead(6)], open.clone()),
        ("hits of a flaky one beside dead", FLAKY, vec![crash(2), clean(4), dead(4)], bad.clone()),
        // One hit among nine clean trials of a bug that always shows is something else.
        ("an outlier", ALWAYS, vec![crash(1), clean(9)], good.clone()),
        // Other crashes are no hits, and no clean trials.
        ("nothing but other crashes", ALWAYS, vec![other(10)], open.clone()),
        ("clean beside other crashes", ALWAYS, vec![clean(3), other(7)], good.clone()),
    ] {
        let probability = probability_bad(shown, &trials);
        assert!(expected.contains(&probability), "{name}: {probability}");
    }
}
