//! `vmbisect replay` of a state directory believes what the bisection believed, and would do next what
//! that would have done.

use std::process::Command;

use serde_json::Value;
use vmbisect::history::Find;
use vmbisect::search::Verdict;
use vmbisect::session::{Hints, SessionError, Step};

use crate::world::{Ended, Repo, TARGET, World};

/// The command line of a bisection, but for what it suspects.
fn arguments(more: &[&str]) -> Vec<String> {
    let fixed = ["vmbisect", "bisect", "--tinyconfig", "--max-trials", "600", "--crash", TARGET];
    fixed.iter().chain(more).map(|&argument| argument.to_owned()).collect()
}

#[track_caller]
fn replays(repo: &Repo, ended: &Ended<'_>) {
    assert!(matches!(ended.result, Err(SessionError::Cancelled)), "{:?}", ended.result);
    let output = Command::new(env!("CARGO_BIN_EXE_vmbisect"))
        .args(["replay", "--json"])
        .arg(ended.state())
        .output()
        .unwrap();
    let (said, notes) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let answer: Value = serde_json::from_str(&said.unwrap()).unwrap();
    assert_eq!(notes.unwrap(), "");
    let (fold, belief) = (&ended.fold, ended.fold.belief());
    let same = |json: &Value, probability: f64| {
        assert!((json.as_f64().unwrap() - probability).abs() < 1e-12, "{probability}: {answer:#}");
    };
    same(&answer["outside"], belief.outside());
    let (best, probability) = belief.best().unwrap();
    assert_eq!(answer["best"]["title"], repo.title(fold.commit(best).unwrap()));
    same(&answer["best"]["probability"], probability);
    let credible = belief.credible(0.95);
    assert_eq!(
        answer["remaining"].as_array().unwrap().len()
            + answer["unnamed_remaining"]["commits"].as_u64().unwrap() as usize,
        credible.len()
    );
    for (json, (rev, probability)) in answer["remaining"].as_array().unwrap().iter().zip(credible) {
        assert_eq!(json["commit"], fold.commit(rev).unwrap().to_string());
        same(&json["probability"], probability);
    }
    let next = answer["next"].as_str().unwrap();
    match fold.next() {
        Step::Plan { rev, .. } | Step::Trials { rev, .. } | Step::Build { rev } => {
            let commit = fold.commit(rev).unwrap();
            let name = format!("{} {}", commit.short(), repo.title(commit));
            assert!(next.contains(&name), "{next:?} is not about {name}");
        }
        Step::Done(Verdict::GoodTipBad { .. }) => assert!(next.starts_with("another good end")),
        step => panic!("{step:?}"),
    }
}

#[test]
fn what_was_suspected_counts() {
    let repo = Repo::straight(64);
    let hints = |paths: &[&str], suspect: &str| Hints {
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
        suspects: vec![(repo.id(suspect), 50.0)],
    };
    for trials in [2, 3, 5, 7] {
        let mut world = World::plain(&repo, repo.since(&["23"]), Default::default());
        world.interrupted_after = Some(trials);
        world.hints = hints(&["22", "23", "40"], "51");
        let (good, bad) = (repo.id("0").to_string(), repo.id("63").to_string());
        let suspect = format!("{}=50", repo.id("51"));
        let ends = ["--good", &good, "--bad", &bad, "--suspect", &suspect];
        world.arguments = arguments(&[&ends[..], &["--", "22", "23", "40"]].concat());
        replays(&repo, &world.bisect(Find::Cause, "0", "63"));
    }
}

#[test]
fn a_good_end_that_was_picked_is_not_trusted() {
    let repo = Repo::releases();
    for trials in [2, 3, 5, 9] {
        let mut world = World::plain(&repo, repo.since(&["702"]), Default::default());
        world.interrupted_after = Some(trials);
        world.arguments = arguments(&["--bad", &repo.id("905").to_string()]);
        replays(&repo, &world.bisect_from("905"));
    }
}
