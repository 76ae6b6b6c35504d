//! `vmbisect replay`: other tools' logs and our own evidence, weighed again.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;

use git2::{Oid, Repository, Signature, Time};
use serde_json::Value;
use vmbisect::history::{CommitId, Find};
use vmbisect::journal::{Event, Header, Journal, Resumption};
use vmbisect::search::Purpose;
use vmbisect::trial::{Outcome, Target};

use self::kvm_wait::{KVM_WAIT, STEPS, full};

#[path = "support/kvm_wait.rs"]
#[allow(dead_code, reason = "it needs a part only")]
mod kvm_wait;

/// Runs it, and gives its exit status and what it said.
fn replay(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
    let output = command.arg("replay").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn answer(arguments: &[&str]) -> (i32, Value) {
    let (status, said, error) = replay(&[&["--json"], arguments].concat());
    (status, serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}")))
}

#[test]
fn the_log_that_vmbisect_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bisect.txt");
    std::fs::write(&path, kvm_wait::log()).unwrap();
    let log = path.to_str().unwrap();

    let (status, answer) = answer(&[log, "--crash", KVM_WAIT]);
    assert_eq!(status, 1, "{answer:#}");
    let of = |commit: &str| {
        let tested = answer["tested"].as_array().unwrap();
        tested.iter().find(|it| it["commit"] == full(commit)).unwrap().clone()
    };
    let introduced = of("997acaf6b4b5");
    assert!(introduced["probability_bad"].as_f64().unwrap() > 0.95, "{introduced:#}");
    assert_eq!(
        (&introduced["recorded"], &introduced["contradicts"]),
        (&"good".into(), &true.into())
    );
    assert_eq!(of("7f82e631d236")["contradicts"], true);
    assert_eq!(answer["blamed"]["commit"], full("c8cc7e853192"));
    assert!(answer["blamed"]["probability"].as_f64().unwrap() < 1e-3, "{answer:#}");
    // It, and the nine commits before it that were not tested.
    assert_eq!(answer["remaining"].as_array().unwrap().len(), 1);
    assert_eq!(answer["remaining"][0]["commit"], full("997acaf6b4b5"));
    assert_eq!(answer["unnamed_remaining"]["commits"], 9);
    // Of ten that are equally likely the log names one.
    assert!(answer["best"].is_null() || answer["best"] == answer["remaining"][0], "{answer:#}");

    let (status, said, _) = replay(&[log]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("no culprit can be named: 10 trials of 1 revision showed it"), "{said}");
    let foreign: usize = STEPS.iter().map(|it| it.2 + it.3).sum();
    assert!(said.contains(&format!("{foreign} x {KVM_WAIT}")), "{said}");
    assert!(said.contains("997acaf6b4b5: 4 of 20 trials"), "{said}");
    assert!(said.contains("d99676af540c: 4 of 10 trials"), "{said}");
}

/// A line of ten commits, "0" the oldest, on a branch; `salt` makes other commits of the same
/// titles.
fn repository(dir: &Path, salt: &str) -> Vec<CommitId> {
    let repo = Repository::init(dir).unwrap();
    let mut line: Vec<Oid> = Vec::new();
    for title in 0..10 {
        let time = Time::new(1_600_000_000 + 60 * title, 0);
        let author = Signature::new("A U Thor", "author@example.org", &time).unwrap();
        let mut tree = repo.treebuilder(None).unwrap();
        let blob = repo.blob(format!("{salt}{title}").as_bytes()).unwrap();
        tree.insert("file", blob, 0o100_644).unwrap();
        let tree = repo.find_tree(tree.write().unwrap()).unwrap();
        let parent = line.last().map(|&oid| repo.find_commit(oid).unwrap());
        let parents: Vec<_> = parent.iter().collect();
        let title = format!("commit {title}");
        line.push(repo.commit(Some("HEAD"), &author, &author, &title, &tree, &parents).unwrap());
    }
    line.into_iter().map(CommitId::from).collect()
}

/// The state directory of a bisection of WARNING in a, which came in with 6; 3 to 5 say WARNING in
/// b, which came in with 3.
fn state(dir: &Path, repo: &Path, line: &[CommitId]) {
    let mut journal = Journal::create(dir, &header(repo, line)).unwrap();
    for at in [9, 0, 5, 2, 3, 6] {
        let commit = line[at];
        let (purpose, title) = (Purpose::Search, format!("commit {at}"));
        journal.append(Event::Planned { commit, trials: 8, purpose, title }).unwrap();
        let shows = match at {
            6.. => Some("WARNING in a"),
            3.. => Some("WARNING in b"),
            _ => None,
        };
        trials(&mut journal, commit, shows, 8);
    }
}

/// The first line of its journal.
fn header(repo: &Path, line: &[CommitId]) -> Header {
    Header {
        format: Header::FORMAT,
        vmbisect: "0".into(),
        at_ms: 0,
        repo: repo.into(),
        find: Find::Cause,
        good: vec![line[0]],
        bad: line[9],
        titles: [0, 9].map(|at| (line[at], format!("commit {at}"))).into(),
        target: Target::Crash(vec!["WARNING in a".into()]),
        confidence: 0.95,
        arguments: Vec::new(),
        directory: repo.into(),
        config: String::new(),
    }
}

/// Trials for WARNING in a.
fn trials(journal: &mut Journal, commit: CommitId, shows: Option<&str>, count: usize) {
    for _ in 0..count {
        let outcome = match shows {
            Some("WARNING in a") => Outcome::Hit { title: "WARNING in a".into() },
            Some(title) => Outcome::Foreign { title: title.into() },
            None => Outcome::Clean,
        };
        let crashes = shows.map(str::to_owned).into_iter().collect();
        let (boot, seconds, console, report) = (false, 1.0, None, None);
        let event = Event::Trial { commit, outcome, crashes, boot, seconds, console, report };
        journal.append(event).unwrap();
    }
}

#[test]
fn each_title_of_our_own_bisection_has_its_own_belief() {
    let (repo, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let line = repository(repo.path(), "");
    state(dir.path(), repo.path(), &line);
    let before = std::fs::read(dir.path().join("journal.jsonl")).unwrap();
    let state = dir.path().to_str().unwrap();

    let (status, answer_a) = answer(&[state]);
    assert_eq!(status, 1, "{answer_a:#}");
    let journal = dir.path().join(Journal::NAME);
    assert_eq!(
        answer(&[journal.to_str().unwrap()]),
        (1, answer_a.clone()),
        "the file stands for it"
    );
    let among = |answer: &Value| -> BTreeSet<String> {
        let remaining = answer["remaining"].as_array().unwrap();
        remaining.iter().map(|it| it["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(among(&answer_a), ["3", "4", "5", "6"].map(|n| format!("commit {n}")).into());
    let (status, answer_b) = answer(&[state, "--crash", "WARNING in b"]);
    assert_eq!(status, 0, "{answer_b:#}");
    assert_eq!(answer_b["named"]["title"], "commit 3");
    // In a repository that was rewritten since, too.
    let other = tempfile::tempdir().unwrap();
    let rewritten = repository(other.path(), "rewritten");
    let (there, b) = (other.path().to_str().unwrap(), "WARNING in b");
    let (_, answer_there) = answer(&[state, "--crash", b, "--repo", there]);
    assert_eq!(answer_there["named"]["commit"], rewritten[3].to_string(), "{answer_there:#}");
    let (_, _, notes) = replay(&[state, "--repo", there]);
    assert!(notes.contains("has its title and stands for it"), "{notes}");
    // Also while it is at work, and nothing is changed.
    let _held = Journal::open(dir.path()).unwrap();
    assert_eq!(answer(&[state]).0, 1);
    assert_eq!(std::fs::read(dir.path().join("journal.jsonl")).unwrap(), before);
}

/// One line of a crash points at a commit that was never tried.
#[test]
fn the_suspects_of_one_title_are_not_those_of_another() {
    let (repo, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let line = repository(repo.path(), "");
    let mut journal = Journal::create(dir.path(), &header(repo.path(), &line)).unwrap();
    trials(&mut journal, line[9], Some("WARNING in a"), 3);
    journal.append(Event::Favoured { commits: vec![line[4]], share: 0.999 }).unwrap();
    for title in ["WARNING in a", "WARNING in b"] {
        trials(&mut journal, line[9], Some(title), 5);
        trials(&mut journal, line[6], Some(title), 6);
    }
    trials(&mut journal, line[0], None, 12);
    trials(&mut journal, line[2], None, 12);
    let state = dir.path().to_str().unwrap();
    // For the title whose crash it is, that commit is likeliest; but it is not named untried.
    let (status, answer_a) = answer(&[state, "--confidence", "0.6"]);
    assert_eq!(answer_a["best"]["title"], "commit 4", "{answer_a:#}");
    assert!(answer_a["best"]["probability"].as_f64().unwrap() > 0.9, "{answer_a:#}");
    assert_eq!((status, &answer_a["named"]), (1, &Value::Null));
    let why = answer_a["why_not"].as_str().unwrap();
    assert!(why.contains("commit 4 is likeliest, at 9") && why.contains("too few trials"), "{why}");
    let next = answer_a["next"].as_str().unwrap();
    assert!(next.ends_with("commit 4, the likely answer itself"), "{next}");
    // For the other title, all that lie between are alike.
    let (status, answer_b) = answer(&[state, "--crash", "WARNING in b"]);
    assert_eq!((status, &answer_b["named"]), (1, &Value::Null), "{answer_b:#}");
    let remaining = answer_b["remaining"].as_array().unwrap();
    let probability = |at: usize| remaining[at]["probability"].as_f64().unwrap();
    assert!((0..3).all(|at| (probability(at) - probability(3)).abs() < 1e-6), "{answer_b:#}");
}

#[test]
fn what_a_resumption_says_anew_holds_from_then_on() {
    let room = tempfile::tempdir().unwrap();
    let (repo, moved) = (room.path().join("repo"), room.path().join("moved"));
    let line = repository(&repo, "");
    let dir = room.path().join("state");
    let state = dir.to_str().unwrap();
    let bisect = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
        command.args(["bisect", "--state", state]).args(arguments).current_dir(room.path());
        let output = command.env("VMBISECT_CACHE", room.path().join("cache")).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let next = || {
        let (status, answer) = answer(&[state]);
        (status, answer["next"].as_str().unwrap().to_owned())
    };
    let try_each = |tries: &[(usize, Option<&str>)]| {
        let (mut journal, ..) = Journal::open(&dir).unwrap();
        for &(at, shows) in tries {
            trials(&mut journal, line[at], shows, 8);
        }
    };
    let ends = ["--good", &line[0].to_string(), "--bad", &line[9].to_string()];
    let sought = ["--repo", "repo", "--crash", "WARNING in a", "--tinyconfig"];
    let limited = ["--launcher", "command:false", "--max-trials", "200"];
    // It gets as far as the first build, of something that is no kernel.
    let (status, said) = bisect(&[&ends[..], &sought, &limited].concat());
    assert!(status == 2 && said.contains("not a Linux source tree"), "{said}");
    let shown = Some("WARNING in a");
    try_each(&[(9, shown), (0, None), (5, None)]);
    let (_, more) = next();
    assert!(more.contains("commit 7"), "{more}");

    let limit = (1, "as far as allowed".to_owned());
    for anew in [&["--resume", "--max-trials", "24"][..], &["--resume"]] {
        let (status, said) = bisect(anew);
        assert_eq!((status, next()), (1, limit.clone()), "{said}");
    }
    try_each(&[(6, shown), (5, None), (6, shown), (0, None)]);
    let known = (0, "nothing, the culprit is known".to_owned());
    std::fs::rename(&repo, &moved).unwrap();
    for anew in [&["--resume", "--repo", "moved"][..], &["--resume"]] {
        let (status, said) = bisect(anew);
        assert_eq!((status, next()), (0, known.clone()), "{said}");
    }
    let anew = Resumption { max_trials: NonZeroU64::new(200), revert: true, repo: None };
    let (mut journal, ..) = Journal::open(&dir).unwrap();
    journal.append(Event::Resumed(anew.clone())).unwrap();
    assert_eq!(next(), (0, "the revert of the culprit at the newer end".into()));
    journal.append(Event::Resumed(Resumption::default())).unwrap();
    let (_, records) = Journal::read(&dir).unwrap();
    assert_eq!(Resumption::held(&records), Resumption { repo: Some(moved), ..anew });
}

#[test]
fn a_repository_that_was_rewritten_since() {
    let (repo, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (line, rewritten) = (repository(repo.path(), "old"), repository(other.path(), "new"));
    let named = |word: &str, at: usize| format!("# {word}: [{}] commit {at}\n", line[at]);
    let log = format!(
        "{}{}git bisect start '{}' '{}'\n{}git bisect bad {}\n{}git bisect good {}\n",
        named("bad", 9),
        named("good", 0),
        line[9],
        line[0],
        named("bad", 5),
        line[5],
        named("good", 4),
        line[4]
    );
    let path = repo.path().join("log");
    std::fs::write(&path, log).unwrap();
    let path = path.to_str().unwrap();
    for (dir, line) in [(&repo, &line), (&other, &rewritten)] {
        let (_, answer) = answer(&[path, "--repo", dir.path().to_str().unwrap()]);
        assert_eq!(answer["best"]["commit"], line[5].to_string(), "{answer:#}");
        assert_eq!(answer["order"], "repository");
    }
    let (_, _, notes) = replay(&[path, "--repo", other.path().to_str().unwrap()]);
    assert!(notes.contains("has the same title and stands for it"), "{notes}");
    // Titles that nobody has: a word, and what to do.
    let alien = tempfile::tempdir().unwrap();
    Repository::init(alien.path()).unwrap();
    let (status, _, error) = replay(&[path, "--repo", alien.path().to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(error.contains("no commit named") && error.contains("\nhint: "), "{error}");
}

#[test]
fn what_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let (status, _, error) = replay(&[dir.path().to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(error.contains("no bisection in") && !error.contains("--resume"), "{error}");
    let path = dir.path().join("text");
    std::fs::write(&path, "hello\n").unwrap();
    let (status, _, error) = replay(&[path.to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(error.contains("is not a bisection log") && error.contains("\nhint: "), "{error}");
}

/// Our own log states an order that is a line; where branches were merged, no line is true.
#[test]
fn a_line_that_contradicts_the_record_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (1..=4).map(|digit| digit.to_string().repeat(40)).collect();
    let log = |good_at: u32| {
        let test = |name: &str, place: &str, runs: &str| {
            format!("[{name}] t\ntesting commit {name}\n{place}\n# runs: 8\nall runs: {runs}\n")
        };
        [
            "# target: {\"crash\":[\"X\"]}\n".to_owned(),
            test(&names[3], "# candidate 40 of 40", "crashed: X"),
            test(&names[0], "", "OK"),
            format!("# git bisect start {} {}\n", names[3], names[0]),
            test(&names[2], "# candidate 30 of 40", "crashed: X"),
            format!("# git bisect bad {}\n", names[2]),
            test(&names[1], &format!("# candidate {good_at} of 40"), "OK"),
            format!("# git bisect good {}\n", names[1]),
        ]
        .concat()
    };
    let path = dir.path().join("bisect.log");
    let said = |good_at| {
        std::fs::write(&path, log(good_at)).unwrap();
        replay(&[path.to_str().unwrap()]).1
    };
    let advice = "replay it with --repo DIR";
    let (fits, does_not) = (said(7), said(35));
    assert!(!fits.contains("CONTRADICTS") && !fits.contains(advice), "{fits}");
    assert!(does_not.contains("CONTRADICTS") && does_not.contains(advice), "{does_not}");
}
