//! On the facts of syzbot's bisection of `WARNING in kvm_wait`.

use std::fmt::Write;
use std::sync::Arc;

use self::kvm_wait::{IO_SQ_THREAD, KVM_WAIT, STEPS, full};
use crate::history::CommitId;
use crate::import::{BisectLog, ImportError, Weighing, Word, implied_order, parse};
use crate::journal::Record;
use crate::search::{Limits, Model, Verdict, WhyNot};
use crate::session::{Fold, Step};
use crate::trial::Target;

#[path = "../../tests/support/kvm_wait.rs"]
mod kvm_wait;

fn id(short: &str) -> CommitId {
    full(short).parse().unwrap()
}

/// The fold of a log, in the order it implies.
fn fold(log: &BisectLog, title: &str) -> Fold {
    let candidates = Arc::new(implied_order(log));
    let mut fold = Fold::new(candidates, Model::new(0.95), Limits::default(), 1);
    let weighing = Weighing { target: Target::Crash(vec![title.into()]), verdict_trials: 1 };
    for event in log.tested.iter().flat_map(|tested| log.events(tested, &weighing)) {
        fold.apply(&Record { at_ms: 0, event }).unwrap();
    }
    fold
}

#[test]
fn all_of_it_is_read() {
    let log = parse(&kvm_wait::log()).unwrap();
    assert_eq!(log.tested.len(), 16);
    assert_eq!(log.culprit, Some(id("c8cc7e853192")));
    assert_eq!(log.first_crash(), Some(IO_SQ_THREAD));
    let tested = log.of(id("997acaf6b4b5")).unwrap();
    assert_eq!((tested.runs.len(), tested.word, tested.left), (20, Some(Word::Good), Some(9)));
    assert_eq!(log.titles[&id("997acaf6b4b5")], "title of 997acaf6b4b5");
    assert_eq!(log.tested[0].runs.len(), 10);
}

#[test]
fn the_order_has_the_distances_that_git_counted() {
    let candidates = implied_order(&parse(&kvm_wait::log()).unwrap());
    let rev = |short| candidates.rev(id(short)).unwrap();
    assert_eq!(rev("62137364e3e8") - rev("997acaf6b4b5"), 10);
    assert_eq!(rev("c8cc7e853192") + 1, rev("b38085ba6024"));
    assert_eq!(rev("c8cc7e853192") - 1, rev("7f82e631d236"));
    assert_eq!(rev("81b1d39fd39a") as usize + 1, candidates.len());
    assert_eq!(rev("81b1d39fd39a") - rev("d99676af540c"), 5933);
}

#[test]
fn with_boots_as_evidence_the_recorded_answer_is_ruled_out() {
    let log = parse(&kvm_wait::log()).unwrap();
    let fold = fold(&log, KVM_WAIT);
    let rev = |short| fold.candidates().rev(id(short)).unwrap();
    let (introduced, blamed) = (rev("997acaf6b4b5"), rev("c8cc7e853192"));
    assert!(fold.belief().probability_bad(introduced) > 0.98);
    assert!(fold.belief().probability(blamed) < 1e-3);
    // It and the nine commits before it that were not tested.
    let remaining: Vec<_> = fold.belief().credible(0.95).into_iter().map(|it| it.0).collect();
    assert!(remaining.iter().all(|&r| r <= introduced && r + 10 > introduced), "{remaining:?}");
    assert_eq!(remaining.len(), 10);
    let Step::Plan { rev, .. } = fold.next() else { panic!("{:?}", fold.next()) };
    assert!(rev < introduced && rev + 10 > introduced, "{rev}, {introduced}");
}

#[test]
fn for_the_title_it_set_out_from_nobody_can_be_named() {
    let log = parse(&kvm_wait::log()).unwrap();
    let fold = fold(&log, IO_SQ_THREAD);
    assert!(fold.belief().best().unwrap().1 < 0.01);
    // All that was tested after the first step is below a revision without that crash.
    assert!(fold.belief().credible(0.95).len() > 5000);
    let tried = fold.tried_revisions();
    let foreign: u32 = tried.iter().filter_map(|it| it.useless().get(KVM_WAIT).copied()).sum();
    assert_eq!(foreign, STEPS.iter().map(|it| (it.2 + it.3) as u32).sum::<u32>());
}

#[test]
fn git_bisect_log() {
    let names = ["1", "2", "3"].map(|digit| digit.repeat(40));
    let [good, middle, bad] = &names;
    let text = format!(
        "# bad: [{bad}] three\n# good: [{good}] one\ngit bisect start '{bad}' '{good}'\n\
         # bad: [{middle}] two\ngit bisect bad {middle}\n# first bad commit: [{middle}] two\n"
    );
    let log = parse(&text).unwrap();
    assert_eq!(log.culprit, Some(middle.parse().unwrap()));
    assert_eq!((log.bad, log.good.len()), (Some(bad.parse().unwrap()), 1));
    assert_eq!(implied_order(&log).len(), 2);
}

#[test]
fn logs_without_anything_in_them() {
    assert_eq!(parse(""), Err(ImportError::Empty));
    let text = format!("testing commit {} gcc\nall runs: OK\n", "1".repeat(40));
    assert_eq!(parse(&text), Err(ImportError::NoRange));
}

#[test]
fn only_untestable_ends_leave_nothing_to_say() {
    let text = kvm_wait::log().replace(KVM_WAIT, IO_SQ_THREAD).replace("crashed", "infra problem");
    let log = parse(&text).unwrap();
    let fold = fold(&log, "no such title");
    match fold.next() {
        Step::Plan { .. } => {}
        Step::Done(Verdict::Undecided { why: WhyNot::Indistinguishable, .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// A log in the form of 2023 and later, of a fix: configurations are made smaller first, twice as
/// many runs come first, and what is not certain is skipped.
fn newer_log(find: &str, verdicts: &[(&str, &str)]) -> String {
    let names = ["1", "2", "3", "4"].map(|digit| digit.repeat(40));
    let [old, first, second, new] = &names;
    let start = match find {
        "fix" => format!("bisecting fixing commit since {old}\n"),
        _ => format!("bisecting cause commit starting from {new}\n"),
    };
    let (begin, end) = if find == "fix" { (old, new) } else { (new, old) };
    let mut log = format!(
        "host starts bisection 2025-07-09 13:22:22 +0000 UTC m=+1\n{start}\
         ensuring issue is reproducible on original commit {begin}\n\n\
         testing commit {begin} gcc\ncompiler: gcc 10\nkernel signature: aa\n\
         all runs: crashed: INFO: task hung in foo\n\
         representative crash: INFO: task hung in foo, types: [HANG]\n\
         check whether we can drop unnecessary instrumentation\n\
         disabling configs for [UBSAN KASAN], they are not needed\n\
         testing commit {begin} gcc\ncompiler: gcc 10\nkernel signature: ab\n\
         run #0: crashed: INFO: task hung in foo\nrun #1: OK\nrun #2: infra problem: x\n\
         the bug reproduces without the instrumentation\n\
         kconfig minimization: base=5 full=9 leaves diff=4\n\
         testing without sub-chunk 1/2\ntesting commit {begin} gcc\nkernel signature: ac\n\
         all runs: OK\nthe chunk can't be dropped\n\
         testing current HEAD {end}\ntesting commit {end} gcc\nkernel signature: b\n\
         all runs: OK\nfalse negative chance: 0.000\n# git bisect start {new} {old}\n"
    );
    for ((word, run), commit) in verdicts.iter().zip([first, second]) {
        write!(
            log,
            "Bisecting: 1 revisions left to test after this (roughly 1 steps)\n[{commit}] t\n\n\
             testing commit {commit} gcc\nkernel signature: {commit}\n{run}\n\
             # git bisect {word} {commit}\n"
        )
        .unwrap();
    }
    log.push_str(&format!("first good commit: {second} t\n"));
    log
}

#[test]
fn todays_logs_of_a_fix() {
    use crate::history::Find;
    let text = newer_log(
        "fix",
        &[("good", "all runs: crashed: INFO: task hung in foo"), ("bad", "all runs: OK")],
    );
    let log = parse(&text).unwrap();
    assert_eq!(log.find, Find::Fix);
    assert_eq!(log.culprit, Some("3".repeat(40).parse().unwrap()));
    // Of the original commit only the smallest configuration with which it crashed.
    let original = log.tested.first().unwrap();
    assert_eq!((original.signature.as_deref(), original.runs.len()), (Some("ab"), 3));
    assert_eq!(log.tested.len(), 4);
    let candidates = Arc::new(implied_order(&log));
    let model = Model { find: Find::Fix, ..Model::new(0.95) };
    let mut fold = Fold::new(candidates, model, Limits::default(), 1);
    let target = Target::Crash(vec!["INFO: task hung in foo".into()]);
    let weighing = Weighing { target, verdict_trials: 1 };
    for event in log.tested.iter().flat_map(|tested| log.events(tested, &weighing)) {
        fold.apply(&Record { at_ms: 0, event }).unwrap();
    }
    let best = fold.belief().best().unwrap();
    assert_eq!(fold.commit(best.0).unwrap(), "3".repeat(40).parse().unwrap());
    assert!(best.1 > 0.9, "{best:?}");
}

#[test]
fn twice_as_many_runs_come_first_and_where_it_is_flaky() {
    let text =
        newer_log("cause", &[("skip", "run #0: crashed: INFO: task hung in foo\nrun #1: OK")]);
    let runs = |text: &str| -> Vec<usize> {
        parse(text).unwrap().tested.iter().map(|tested| tested.runs.len()).collect()
    };
    assert_eq!(runs(&text), [3, 10, 2]);
    let whole = text.replace("testing commit 4444444444444444444444444444444444444444 gcc\ncompiler: gcc 10\nkernel signature: ab\nrun #0: crashed: INFO: task hung in foo\nrun #1: OK\nrun #2: infra problem: x\n", "");
    assert_eq!(runs(&whole)[0], 20);
    let mut flaky = String::from("run #0: crashed: INFO: task hung in foo");
    for (n, what) in ["crashed: INFO: task hung in foo", "OK", "OK", "OK"].iter().enumerate() {
        write!(flaky, "\nrun #{}: {what}", n + 1).unwrap();
    }
    let text = newer_log("cause", &[("bad", &flaky), ("good", "all runs: OK")]);
    assert_eq!(runs(&text), [3, 10, 5, 20]);
}

/// A skip says where the commit is, and what ran there counts.
#[test]
fn what_was_skipped_keeps_its_place_and_its_runs() {
    let runs = "run #0: crashed: INFO: task hung in foo\nrun #1: OK\nrun #2: OK";
    let text = newer_log("cause", &[("skip", runs), ("good", "all runs: OK")]);
    let log = parse(&text).unwrap();
    let candidates = implied_order(&log);
    let rev = |digit: &str| candidates.rev(digit.repeat(40).parse().unwrap());
    assert!(rev("2").is_some() && rev("3").is_some());
    assert_ne!(rev("2"), rev("3"));
}

#[test]
fn other_words_than_good_and_bad() {
    let names = ["1", "2", "3"].map(|digit| digit.repeat(40));
    let [old, middle, new] = &names;
    let text = format!(
        "git bisect start '--term-old' 'slow' '--term-new=fast'\n# fast: [{new}] three\n\
         git bisect fast {new}\n# slow: [{old}] one\ngit bisect slow {old}\n\
         # slow: [{middle}] two\ngit bisect slow {middle}\n# first fast commit: [{new}] three\n"
    );
    let log = parse(&text).unwrap();
    assert_eq!(log.bad, Some(new.parse().unwrap()));
    assert_eq!(log.good, [old.parse().unwrap()]);
    assert_eq!(log.of(middle.parse().unwrap()).unwrap().word, Some(Word::Good));
    assert_eq!(log.culprit, log.bad);
    assert_eq!(log.titles.len(), 3);
}

#[test]
fn the_bad_end_is_known_where_it_alone_was_named_and_by_a_tag() {
    let names = ["1", "2", "3"].map(|digit| digit.repeat(40));
    let [old, middle, new] = &names;
    let text = format!(
        "# bad: [{new}] three\ngit bisect start 'v3'\n# good: [{old}] one\ngit bisect good {old}\n\
         # bad: [{middle}] two\ngit bisect bad {middle}\n"
    );
    let log = parse(&text).unwrap();
    assert_eq!(log.bad, Some(new.parse().unwrap()));
    assert_eq!(log.good, [old.parse().unwrap()]);
    assert_eq!(log.of(middle.parse().unwrap()).unwrap().word, Some(Word::Bad));
}

/// Our own logs test in any order, and say of each commit where it is.
#[test]
fn our_own_logs_state_the_order() {
    let names: Vec<String> = (1..=5).map(|digit| digit.to_string().repeat(40)).collect();
    let test = |name: &str, place: &str, runs: &str| {
        format!("[{name}] t\ntesting commit {name}\n{place}\n{runs}\n")
    };
    let text = [
        "# target: {\"crash\":[\"X\"]}\n".to_owned(),
        test(&names[4], "# candidate 40 of 40", "# runs: 2\nall runs: crashed: X"),
        test(&names[0], "", "# runs: 3\nall runs: OK"),
        format!("# git bisect start {} {}\n", names[4], names[0]),
        test(&names[3], "# candidate 30 of 40", "# runs: 4\nall runs: crashed: X"),
        format!("# git bisect bad {}\n", names[3]),
        // Above what was bad already.
        test(&names[2], "# candidate 35 of 40", "failed building x: y"),
        format!("# git bisect skip {}\n", names[2]),
        test(&names[1], "# candidate 7 of 40", "# runs: 6\nall runs: OK"),
        format!("# git bisect good {}\n", names[1]),
    ]
    .concat();
    let log = parse(&text).unwrap();
    assert_eq!(log.target, Some(Target::Crash(vec!["X".into()])));
    let runs: Vec<usize> = log.tested.iter().map(|tested| tested.runs.len()).collect();
    assert_eq!(runs, [2, 3, 4, 0, 6]);
    let candidates = implied_order(&log);
    let place = |name: &str| candidates.rev(name.parse().unwrap()).unwrap() + 1;
    assert_eq!(candidates.len(), 40);
    assert_eq!([1, 2, 3, 4].map(|at| place(&names[at])), [7, 35, 30, 40]);
}
