//! `vmbisect bisect` from its command line to its answer, on kernels that take no time: every target,
//! a fix, a revert, and what a bisection meets that is gone on with.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use vmbisect_tests::program::{Running, run, vmbisect};
use vmbisect_tests::toy::{TITLES, Toy};

/// A command's exit status, its answer, and what it said on the way.
#[track_caller]
fn answer(mut command: Command) -> (Option<i32>, Value, String) {
    let ran = run(&mut command);
    let answer = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
    (ran.status, answer, ran.stderr)
}

/// The answer where it is a commit.
#[track_caller]
fn named(command: Command) -> (String, Value) {
    let (status, answer, said) = answer(command);
    assert_eq!(status, Some(0), "{answer:#}\n{said}");
    assert!(answer["culprit"]["probability"].as_f64() >= Some(0.95), "{answer:#}");
    (answer["culprit"]["title"].as_str().unwrap_or_default().to_owned(), answer)
}

/// The error of a command that could not do what it was asked for, and what to do about it.
#[track_caller]
fn refused(command: Command) -> (String, String) {
    let (status, answer, said) = answer(command);
    assert_eq!(status, Some(2), "{answer:#}\n{said}");
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (text("error"), text("hint"))
}

const RANGE: [&str; 4] = ["--good", "v0", "--bad", "v7"];

/// Bisects the whole history in a place of its own.
fn bisect(toy: &Toy, bug: &str, arguments: &[&str]) -> Command {
    let _ = fs::remove_dir_all(toy.state());
    toy.bisect(bug, &[&RANGE[..], arguments].concat())
}

#[test]
fn crashes_by_title_by_pattern_and_whatever_they_are() {
    let Some(toy) = Toy::new() else { return };
    for (bug, target, culprit) in [
        ("warning", &["--crash", "WARNING in toy_old"][..], 3),
        ("two-warnings", &["--crash", "WARNING in toy_*"], 3),
        ("two-warnings", &["--crash", "WARNING in toy_old", "--crash", "WARNING in toy_new"], 3),
        ("two-warnings", &["--any-crash"], 3),
    ] {
        let (title, answer) = named(bisect(&toy, bug, target));
        assert_eq!(title, TITLES[culprit], "{target:?}: {answer:#}");
    }
    // Where another crash comes first, nobody knows whether this one would have come.
    let (status, answer, _) =
        answer(bisect(&toy, "two-warnings", &["--crash", "WARNING in toy_new"]));
    assert_eq!((status, &answer["answer"]), (Some(1), &"undecided".into()), "{answer:#}");
    let remaining = answer["remaining"].as_array().unwrap();
    let remaining: BTreeSet<&str> =
        remaining.iter().filter_map(|it| it["title"].as_str()).collect();
    assert_eq!(remaining, TITLES[3..=5].iter().copied().collect(), "{answer:#}");
    assert!(answer["useless"]["WARNING in toy_old"].as_u64() > Some(0), "{answer:#}");
}

#[test]
fn a_kernel_that_does_not_boot_and_a_workload_that_fails() {
    let Some(toy) = Toy::new() else { return };
    for (bug, target, culprit) in [
        ("no-boot", &["--no-boot"][..], 2),
        ("exit", &["--exit-status"], 6),
        ("exit", &["--exit-status", "7"], 6),
    ] {
        let (title, answer) = named(bisect(&toy, bug, target));
        assert_eq!(title, TITLES[culprit], "{target:?}: {answer:#}");
    }
    // A status that it never has, and a target that does not show: no commit is to blame.
    for (target, instead) in [
        (&["--exit-status", "9", "--bad-trials", "3"][..], "workload exited with status 7"),
        (&["--any-crash", "--bad-trials", "3"], ""),
    ] {
        let (status, answer, _) = answer(bisect(&toy, "exit", target));
        assert_eq!(status, Some(1), "{answer:#}");
        let answers = ["not_reproduced", "bad_tip_untestable"];
        assert!(answers.iter().any(|it| answer["answer"] == *it), "{answer:#}");
        assert!(instead.is_empty() || answer["useless"][instead].as_u64() > Some(0), "{answer:#}");
    }
}

#[test]
fn a_kernel_that_hangs() {
    let Some(toy) = Toy::new() else { return };
    let range = ["--good", "v2", "--bad", "v4", "--hang"];
    let (title, answer) = named(toy.bisect("hang", &range));
    assert_eq!(title, TITLES[4], "{answer:#}");
}

/// With a checkout that has changes of its own, which all of it leaves alone.
#[test]
fn a_revert_and_a_fix_beside_a_dirty_checkout() {
    let Some(toy) = Toy::new() else { return };
    fs::write(toy.repo().join("kernel.c"), "changed\n").unwrap();
    fs::write(toy.repo().join("3.h"), "staged\n").unwrap();
    fs::write(toy.repo().join("new"), "unknown to git\n").unwrap();
    toy.git(&["add", "3.h"]);
    let state = || {
        let status = toy.git(&["status", "--porcelain=v2", "--branch"]);
        (status, toy.git(&["for-each-ref"]), toy.git(&["diff", "HEAD"]))
    };
    let before = state();

    let crash = ["--crash", "WARNING in toy_old", "--revert"];
    let (status, reverted, said) = answer(bisect(&toy, "warning", &crash));
    assert_eq!((status, &reverted["culprit"]["title"]), (Some(0), &TITLES[3].into()), "{said}");
    assert_eq!(reverted["revert"]["result"], "gone", "{reverted:#}");
    // Its trials are counted on the way as any others are.
    assert!(said.contains("is reverted by") && !said.contains("of 0 hit"), "{said}");

    let _ = fs::remove_dir_all(toy.state());
    let fix = ["--find", "fix", "--bad", "v0", "--good", "v7"];
    let (title, answer) = named(toy.bisect("fixed", &[&fix[..], &crash].concat()));
    assert_eq!((title.as_str(), &answer["find"]), (TITLES[5], &"fix".into()));
    assert_eq!(answer["revert"]["result"], "shows", "{answer:#}");

    assert_eq!(state(), before);
}

/// The first baseline has no bug; of the others the second would do, too.
#[test]
fn baselines() {
    let Some(toy) = Toy::new() else { return };
    let config = |name: &str, text: &str| {
        fs::write(toy.path(name), text).unwrap();
        toy.path(name).to_str().unwrap().to_owned()
    };
    let (calm, other) = (config("calm", "CONFIG_CALM=y\n"), config("other", "CONFIG_OTHER=y\n"));
    let of = ["--crash", "WARNING in toy_old", "--baseline", &calm];
    let (title, answer) = named(bisect(&toy, "warning", &of));
    assert_eq!(title, TITLES[3], "{answer:#}");
    let dropped = &answer["dropped_baselines"][0];
    assert_eq!((&dropped["name"], &dropped["why"]), (&calm.as_str().into(), &"not_shown".into()));
    assert!(answer["baseline"].is_null(), "{answer:#}");

    let more = ["--baseline", &other, "--baseline", "defconfig"];
    let (title, answer) = named(bisect(&toy, "warning", &[&of[..], &more].concat()));
    assert_eq!((title.as_str(), &answer["baseline"]), (TITLES[3], &other.as_str().into()));
    // What was seen with another configuration is no evidence, of any title.
    for (title, named) in [("WARNING in toy_old", Some(TITLES[3])), ("WARNING in toy_new", None)] {
        let mut replay = vmbisect();
        replay.args(["replay", "--json", "--crash", title]).arg(toy.state());
        let (_, answer, said) = self::answer(replay);
        assert_eq!(answer["named"]["title"].as_str(), named, "{answer:#}\n{said}");
        let tested = answer["tested"].as_array().unwrap();
        assert!(tested.iter().all(|it| it["trials"].as_u64() < Some(30)), "{answer:#}");
    }

    // Where no good revision is given, as well.
    toy.git(&["tag", "v1.0", "v1"]);
    let _ = fs::remove_dir_all(toy.state());
    let (title, answer) =
        named(toy.bisect("warning", &[&["--bad", "v7"], &of[..], &more].concat()));
    assert_eq!((title.as_str(), &answer["baseline"]), (TITLES[3], &other.as_str().into()));

    fs::write(&other, "CONFIG_OTHER=m\n").unwrap();
    let (error, _) = refused(toy.resume());
    assert!(error.contains("configuration is not what it was"), "{error}");
    let (error, _) = refused(bisect(&toy, "warning", &[&of[..], &["--baseline", &calm]].concat()));
    assert!(error.contains("named twice"), "{error}");
    let (_, hint) = refused(bisect(&toy, "warning", &["--any-crash", "--baseline", "defconfg"]));
    assert!(hint.contains("tinyconfig and defconfig"), "{hint}");
}

/// A bisection that was killed when the first trial of a revision between the ends was on record: which
/// revision that is, and the journal.
fn killed(toy: &Toy) -> (usize, String) {
    assert_eq!(named(bisect(toy, "warning", &["--crash", "WARNING in toy_old"])).0, TITLES[3]);
    let ids: Vec<String> = (0..8).map(|n| toy.git(&["rev-parse", &format!("v{n}")])).collect();
    let mut journal = String::new();
    for line in toy.journal().split_inclusive('\n') {
        journal.push_str(line);
        let is_of = |&number: &usize| line.contains(ids[number].trim());
        if line.contains(TRIAL)
            && let Some(number) = (1..7).find(is_of)
        {
            set_journal(toy, &journal);
            return (number, journal);
        }
    }
    panic!("nothing between the ends was tried: {journal}");
}

fn set_journal(toy: &Toy, journal: &str) {
    fs::write(toy.state().join("journal.jsonl"), journal).unwrap();
}

/// What marks the record of a trial.
const TRIAL: &str = r#""event":"trial""#;

/// Trials that a journal has on record.
fn trials(journal: &str) -> usize {
    journal.lines().filter(|line| line.contains(TRIAL)).count()
}

/// Trials that an answer rests on.
fn counted(answer: &Value) -> u64 {
    let revisions = answer["revisions"].as_array().unwrap();
    let count = |revision: &Value, key: &str| revision[key].as_u64().unwrap();
    revisions.iter().map(|it| count(it, "hits") + count(it, "clean")).sum()
}

#[test]
fn a_branch_that_was_rebased_loses_nothing() {
    let Some(toy) = Toy::new() else { return };
    let (_, before) = killed(&toy);
    let was = toy.git(&["rev-parse", "v3"]);
    toy.write("another", &TITLES);
    let is = toy.git(&["rev-parse", "v3"]);
    assert_ne!(was, is);

    let (status, answer, said) = answer(toy.resume());
    assert_eq!(status, Some(0), "{answer:#}\n{said}");
    assert_eq!(answer["culprit"]["commit"], is.trim(), "{answer:#}");
    assert!(said.contains("has its title and stands for it"), "{said}");
    let journal = toy.journal();
    assert!(journal.starts_with(&before), "what was recorded stands");
    assert!(trials(&journal) > trials(&before));
    assert_eq!(counted(&answer), trials(&journal) as u64, "{answer:#}");
}

#[test]
fn titles_that_are_gone_or_there_twice() {
    let Some(toy) = Toy::new() else { return };
    let (number, state) = killed(&toy);
    let mut gone = TITLES;
    gone[number] = "toy: something else";
    let mut twice = TITLES;
    twice[if number == 6 { 1 } else { number + 1 }] = TITLES[number];
    for titles in [gone, twice] {
        set_journal(&toy, &state);
        toy.write("another", &titles);
        let (status, answer, said) = answer(toy.resume());
        assert_eq!(status, Some(0), "{answer:#}\n{said}");
        assert_eq!(answer["culprit"]["commit"], toy.git(&["rev-parse", "v3"]).trim());
        assert!(said.contains("what was measured of it is left out"), "{said}");
        assert!(toy.journal().starts_with(&state), "what was recorded stands");
    }

    // An end that is not found again: nothing can be measured, and nothing is lost.
    let mut ends = [TITLES; 2];
    ends[0][7] = "toy: something else";
    ends[1][6] = TITLES[7];
    set_journal(&toy, &state);
    for titles in ends {
        toy.write("another", &titles);
        let (error, hint) = refused(toy.resume());
        assert!(error.contains("is not in the repository any more"), "{error}");
        assert!(error.contains(TITLES[7]) && hint.contains("fetch the branch"), "{error}; {hint}");
        assert_eq!(toy.journal(), state);
    }
}

#[test]
fn journals_that_are_damaged_or_elsewhere() {
    let Some(toy) = Toy::new() else { return };
    let (_, whole) = killed(&toy);
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();

    // In the midst: the line is named, and nothing is written.
    let mut damaged: Vec<&str> = lines.clone();
    damaged[3] = "{\"at_ms\":1,\"event\":\"tri\n";
    set_journal(&toy, &damaged.concat());
    let (error, hint) = refused(toy.resume());
    assert!(error.contains("journal.jsonl, line 4: not a record"), "{error}");
    assert!(hint.contains("first 3 lines"), "{hint}");
    assert_eq!(toy.journal(), damaged.concat());
    // What the hint says leaves a journal that can be gone on with.
    set_journal(&toy, &lines[..3].concat());
    assert_eq!(named(toy.resume()).0, TITLES[3]);

    // Torn at its end, and in a repository that was moved since.
    let cut = whole.len() - lines.last().unwrap().len() / 2;
    set_journal(&toy, &whole[..cut]);
    let moved = toy.path("moved");
    fs::rename(toy.repo(), &moved).unwrap();
    let (error, hint) = refused(toy.resume());
    assert!(error.contains("is not in a git repository"), "{error}");
    assert!(hint.contains("--repo DIR"), "{hint}");
    let mut command = toy.resume();
    command.arg("--repo").arg(&moved);
    assert_eq!(named(command).0, TITLES[3]);
    assert!(toy.journal().starts_with(&lines[..lines.len() - 1].concat()));

    // In a repository of something else.
    set_journal(&toy, &whole);
    toy.write("another", &["one", "two", "three", "four", "five", "six", "seven", "eight"]);
    let (error, _) = refused(toy.resume());
    assert!(error.contains("is not in the repository any more"), "{error}");
    assert_eq!(toy.journal(), whole);
}

/// In the midst of a trial that would not end by itself.
#[test]
fn ctrl_c_ends_it_and_says_how_to_go_on() {
    let Some(toy) = Toy::new() else { return };
    let mut command = bisect(&toy, "waiting", &["--crash", "WARNING in toy_old"]);
    let mut running = Running::start(&mut command);
    assert!(running.says(|line| line.contains("a good revision")));
    let (status, last) = running.interrupt();
    let last = last.unwrap_or_default();
    assert!(last.contains("go on with: vmbisect bisect --resume"), "{last}");
    assert_eq!(status, Some(130));
    assert!(trials(&toy.journal()) > 0);
}
