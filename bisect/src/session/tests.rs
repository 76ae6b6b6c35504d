//! Whole sessions on real repositories and real journals. Builds and trials are fakes here, which
//! do at once what they are told; the real ones are tested where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use git2::{Oid, Repository, Signature, Time};

use super::{Build, BuildFault, BuildOutcome, Fold, Hints, Session, SessionError};
use crate::cancel::Cancel;
use crate::history::{CommitId, Find, History};
use crate::journal::{Event, Header, Journal, JournalError, Record};
use crate::kernel::BuildError;
use crate::search::{Limits, Model, Verdict, WhyNot};
use crate::trial::{Job, LaunchError, Launcher, Outcome, Target, TrialEvent, TrialReport};

const TARGET: &str = "WARNING in kvm_wait";

/// A repository with 24 candidates: a main line with two merged branches.
struct Tree {
    dir: tempfile::TempDir,
    good: CommitId,
    bad: CommitId,
    by_title: BTreeMap<String, CommitId>,
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init(dir.path()).unwrap();
        let mut by_title = BTreeMap::new();
        let mut commit = |title: &str, parents: &[Oid]| -> Oid {
            let time = Time::new(1_600_000_000 + 60 * by_title.len() as i64, 0);
            let author = Signature::new("A U Thor", "author@example.org", &time).unwrap();
            let blob = repo.blob(title.as_bytes()).unwrap();
            let mut tree = repo.treebuilder(None).unwrap();
            tree.insert("file", blob, 0o100_644).unwrap();
            let tree = repo.find_tree(tree.write().unwrap()).unwrap();
            let parents: Vec<_> =
                parents.iter().map(|&oid| repo.find_commit(oid).unwrap()).collect();
            let parents: Vec<_> = parents.iter().collect();
            let oid = repo.commit(None, &author, &author, title, &tree, &parents).unwrap();
            by_title.insert(title.to_owned(), oid.into());
            oid
        };
        let good = commit("good", &[]);
        let mut tip = good;
        let line =
            |from: Oid, name: &str, n: usize, commit: &mut dyn FnMut(&str, &[Oid]) -> Oid| {
                (0..n).fold(from, |tip, i| commit(&format!("{name}{i}"), &[tip]))
            };
        tip = line(tip, "a", 5, &mut commit);
        let side = line(tip, "side", 4, &mut commit);
        tip = line(tip, "b", 4, &mut commit);
        tip = commit("merge side", &[tip, side]);
        let other = line(good, "other", 3, &mut commit);
        tip = commit("merge other", &[tip, other]);
        let bad = line(tip, "c", 6, &mut commit);
        Tree { dir, good: good.into(), bad: bad.into(), by_title }
    }

    fn id(&self, title: &str) -> CommitId {
        self.by_title[title]
    }

    fn history(&self) -> History {
        History::open(self.dir.path()).unwrap()
    }

    fn fold(&self, machines: u32) -> Fold {
        let candidates = self.history().candidates(&[self.good], self.bad).unwrap();
        let limits = Limits { trials: 300, ..Limits::default() };
        Fold::new(Arc::new(candidates), Model::new(0.95), limits, machines)
    }
}

/// What is true in the fakes' world, by commit.
#[derive(Default)]
struct World {
    /// Commits that have the bug.
    bad: BTreeSet<CommitId>,
    broken: BTreeSet<CommitId>,
    /// Commits that hold something else than a kernel.
    alien: BTreeSet<CommitId>,
    signatures: BTreeMap<CommitId, String>,
    /// What a trial shows instead of the truth.
    shows: BTreeMap<CommitId, Outcome>,
    /// The host fails this many trials.
    host_fails: AtomicU32,
    /// So many trials show another crash before any shows the truth.
    foreign_first: AtomicU32,
    /// Cancels at the trial of this number.
    cancel_at: Option<u64>,
    machines: usize,
    trials: Mutex<Vec<CommitId>>,
    builds: Mutex<Vec<CommitId>>,
    cancel: Cancel,
    images: Option<tempfile::TempDir>,
}

impl World {
    /// A world in which a culprit's descendants are bad, and it too.
    fn new(tree: &Tree, culprit: &str) -> World {
        let repo = Repository::open(tree.dir.path()).unwrap();
        let oid = |id: CommitId| Oid::from_str(&id.to_string()).unwrap();
        let culprit = tree.id(culprit);
        let has = |&id: &CommitId| {
            id == culprit || repo.graph_descendant_of(oid(id), oid(culprit)).unwrap()
        };
        World {
            bad: tree.by_title.values().copied().filter(has).collect(),
            machines: 1,
            images: Some(tempfile::tempdir().unwrap()),
            ..World::default()
        }
    }

    fn tried(&self, commit: CommitId) -> usize {
        self.trials.lock().unwrap().iter().filter(|&&tried| tried == commit).count()
    }
}

impl Build for World {
    fn build(
        &self,
        commit: CommitId,
        on_line: &mut dyn FnMut(&str),
        _: &Cancel,
    ) -> Result<BuildOutcome, BuildFault> {
        on_line("CC kernel/fork.o");
        self.builds.lock().unwrap().push(commit);
        if self.alien.contains(&commit) {
            let commit = commit.to_string();
            let error = BuildError::NotAKernel { commit, missing: "Makefile" };
            return Err(BuildFault::Fatal(error.into()));
        }
        if self.broken.contains(&commit) {
            return Ok(BuildOutcome::Failed {
                reason: "fork.c:1: error: no".into(),
                log: PathBuf::from("build.log"),
                seconds: 60.0,
                cached: false,
            });
        }
        let path = self.images.as_ref().unwrap().path().join(commit.to_string());
        std::fs::write(&path, "kernel").unwrap();
        let signature = self.signatures.get(&commit).cloned();
        Ok(BuildOutcome::Image {
            signature: signature.unwrap_or_else(|| format!("signature of {commit}")),
            path,
            compiler: "gcc (Debian 12.2.0-14) 12.2.0".into(),
            seconds: 60.0,
            cached: false,
        })
    }
}

impl Launcher for World {
    fn describe(&self) -> String {
        "a fake".into()
    }

    fn capacity(&self, _: u64, _: NonZeroUsize, _: &Cancel) -> usize {
        self.machines
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        if self.cancel_at == Some(job.id) {
            self.cancel.cancel();
        }
        if cancel.is_cancelled() {
            return Err(LaunchError::Cancelled);
        }
        let fails = |left: u32| left.checked_sub(1);
        if self.host_fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(LaunchError::Remote {
                launcher: "fake".into(),
                reason: "out of memory".into(),
                hint: "",
            });
        }
        let commit: CommitId = job.kernel.file_name().unwrap().to_str().unwrap().parse().unwrap();
        self.trials.lock().unwrap().push(commit);
        on_event(TrialEvent::Line(vmm::ConsoleLine { at_us: 1, text: "Linux version 6.1".into() }));
        let truth = match self.bad.contains(&commit) {
            true => Outcome::Hit { title: TARGET.into() },
            false => Outcome::Clean,
        };
        let truth = match self.foreign_first.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails)
        {
            Ok(_) => Outcome::Foreign { title: "WARNING in foo".into() },
            Err(_) => truth,
        };
        let report = TrialReport {
            outcome: self.shows.get(&commit).cloned().unwrap_or(truth),
            crashes: Vec::new(),
            machine: Some(vmm::Summary {
                wall_us: 2_000_000,
                console_bytes: 17,
                pv_features: vmm::PvFeatures::default(),
                ..vmm::Summary::new(vmm::Ending::Exit { status: 0 })
            }),
            milestones: vec![(vmm::Milestone::WorkloadStarted, 5)],
            cpus_online: Some(2),
            pv_spinlocks: Some(true),
            unseen_log: None,
            overhead: None,
        };
        on_event(TrialEvent::Done(Box::new(report.clone())));
        Ok(report)
    }
}

fn header(tree: &Tree) -> Header {
    Header {
        format: Header::FORMAT,
        vmbisect: "test".into(),
        at_ms: 0,
        repo: tree.dir.path().to_owned(),
        find: Find::Cause,
        good: vec![tree.good],
        bad: tree.bad,
        titles: Default::default(),
        target: Target::Crash(vec![TARGET.into()]),
        confidence: 0.95,
        arguments: Vec::new(),
        directory: PathBuf::new(),
        config: String::new(),
    }
}

fn job() -> Job {
    Job { vcpus: 2, ..Job::new(PathBuf::new(), PathBuf::new(), Target::Crash(vec![TARGET.into()])) }
}

struct Ended {
    result: Result<Verdict, SessionError>,
    fold: Fold,
}

/// Begins a session in `state`, or goes on with the one that is there.
fn run(tree: &Tree, world: &World, state: &Path) -> Ended {
    let mut fold = tree.fold(world.machines as u32);
    let journal = match Journal::open(state) {
        Ok((mut journal, _, records)) => {
            for record in &records {
                fold.apply(record).unwrap();
            }
            fold.apply(&journal.append(Event::Resumed).unwrap()).unwrap();
            journal
        }
        Err(JournalError::Missing { .. }) => Journal::create(state, &header(tree)).unwrap(),
        Err(error) => panic!("{error}"),
    };
    let cancel = world.cancel.clone();
    let history = tree.history();
    let mut session = Session {
        fold,
        records: Vec::new(),
        history: &history,
        hints: Hints::default(),
        releases: None,
        journal,
        builder: world,
        launcher: world,
        job: job(),
        cancel,
    };
    let result = session.run(&mut |_, _| {});
    Ended { result, fold: session.fold }
}

#[test]
fn the_crash_makes_commits_likelier_and_rules_nobody_out() {
    let tree = Tree::new();
    let mut fold = tree.fold(1);
    let all: Vec<CommitId> =
        (0..fold.candidates().len() as u32).map(|rev| fold.commit(rev).unwrap()).collect();
    let probability = |fold: &Fold, commit: CommitId| {
        fold.belief().probability(fold.candidates().rev(commit).unwrap())
    };
    let even = probability(&fold, all[3]);
    // The good end is no candidate, and is passed over.
    let commits = vec![all[3], all[4], tree.good];
    let event = Event::Favoured { commits, share: 0.5 };
    fold.apply(&Record { at_ms: 0, event }).unwrap();
    assert!(probability(&fold, all[3]) > 2.0 * even);
    assert!(all.iter().all(|&commit| probability(&fold, commit) > 0.01 * even));
}

fn begin(tree: &Tree, world: &World) -> Ended {
    run(tree, world, tempfile::tempdir().unwrap().path())
}

fn culprit(tree: &Tree, ended: &Ended) -> String {
    match &ended.result {
        Ok(Verdict::Culprit { rev, probability, .. }) => {
            assert!(*probability >= 0.95);
            let id = ended.fold.candidates().id(*rev).unwrap();
            tree.by_title.iter().find(|(_, of)| **of == id).unwrap().0.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_culprit_is_found_merges_included() {
    let tree = Tree::new();
    for title in tree.by_title.keys().filter(|title| *title != "good") {
        for machines in [1, 3] {
            let world = World { machines, ..World::new(&tree, title) };
            assert_eq!(culprit(&tree, &begin(&tree, &world)), *title);
            assert!(world.builds.lock().unwrap().len() <= 12, "too many builds for {title}");
        }
    }
}

/// The events of a journal, but for what differs from run to run.
fn events(state: &Path) -> Vec<Event> {
    let (_, _, records) = Journal::open(state).unwrap();
    let keep = |event: &Event| !matches!(event, Event::Resumed);
    let still = |mut event: Event| {
        if let Event::Built { image, .. } = &mut event {
            image.clear();
        }
        event
    };
    records.into_iter().map(|record| record.event).filter(keep).map(still).collect()
}

#[test]
fn killed_anywhere_it_goes_on_the_same_way_and_tries_nothing_twice() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "side2");
    world.broken.insert(tree.id("b1"));
    world.shows.insert(tree.id("c2"), Outcome::Foreign { title: "WARNING in foo".into() });
    let whole = tempfile::tempdir().unwrap();
    let ended = run(&tree, &world, whole.path());
    assert_eq!(culprit(&tree, &ended), "side2");
    let expected = events(whole.path());
    let journal = std::fs::read(whole.path().join("journal.jsonl")).unwrap();
    let ends: Vec<usize> =
        journal.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    // At every end of a record, and in the midst of every one.
    let middles = ends.windows(2).map(|pair| (pair[0] + pair[1]) / 2);
    for cut in ends.iter().copied().chain(middles) {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("journal.jsonl"), &journal[..cut]).unwrap();
        world.trials.lock().unwrap().clear();
        let ended = run(&tree, &world, state.path());
        assert_eq!(culprit(&tree, &ended), "side2");
        assert_eq!(events(state.path()), expected);
        let before = ends.iter().filter(|end| **end <= cut).count() - 1;
        let trials_before =
            expected[..before].iter().filter(|e| matches!(e, Event::Trial { .. })).count();
        let trials = expected.iter().filter(|e| matches!(e, Event::Trial { .. })).count();
        assert_eq!(world.trials.lock().unwrap().len(), trials - trials_before);
    }
}

#[test]
fn what_cannot_be_tested_is_gone_around() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a2");
    world.broken.extend(["b0", "b1", "side0", "side1"].map(|title| tree.id(title)));
    let no_boot = Outcome::NoBoot { reason: "triple fault".into() };
    world.shows.extend(["c0", "c1"].map(|title| (tree.id(title), no_boot.clone())));
    let invalid = Outcome::Invalid { reason: "1 of 2 CPUs".into() };
    world.shows.insert(tree.id("merge side"), invalid);
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "a2");
    assert!(world.tried(tree.id("c0")) <= 4);
}

#[test]
fn a_culprit_among_untestable_ones_is_narrowed_down() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b1");
    world.broken.extend(["b1", "b2"].map(|title| tree.id(title)));
    let ended = begin(&tree, &world);
    let Ok(Verdict::Undecided { remaining, .. }) = &ended.result else {
        panic!("{:?}", ended.result)
    };
    let remaining: BTreeSet<CommitId> =
        remaining.iter().map(|(rev, _)| ended.fold.candidates().id(*rev).unwrap()).collect();
    assert_eq!(remaining, BTreeSet::from(["b1", "b2", "b3"].map(|title| tree.id(title))));
}

/// Both commits on top of the culprit are bad, which leaves nobody else; but nobody has seen it.
#[test]
fn a_culprit_that_can_not_be_tested_is_not_named() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a4");
    world.broken.insert(tree.id("a4"));
    let ended = begin(&tree, &world);
    let Ok(Verdict::Undecided { why: WhyNot::Unconfirmed, remaining }) = &ended.result else {
        panic!("{:?}", ended.result)
    };
    assert_eq!(ended.fold.candidates().id(remaining[0].0), Some(tree.id("a4")));
    assert!(remaining[0].1 >= 0.95, "{remaining:?}");
}

#[test]
fn a_commit_without_a_kernel_is_gone_around_unless_it_is_the_bad_tip() {
    let tree = Tree::new();
    let alien = ["b0", "b1", "b2", "b3", "c0", "c1", "c2"];
    let mut met = 0;
    for culprit_title in ["a1", "a2", "b1"] {
        let mut world = World::new(&tree, culprit_title);
        world.alien =
            alien.iter().filter(|it| **it != culprit_title).map(|it| tree.id(it)).collect();
        let ended = begin(&tree, &world);
        assert!(ended.result.is_ok(), "{culprit_title}: {:?}", ended.result);
        for reason in ended.fold.tried_revisions().iter().filter_map(|it| it.build_failure.as_ref())
        {
            assert!(reason.contains("not a Linux source tree"), "{reason}");
            met += 1;
        }
    }
    assert!(met > 0);
    let mut world = World::new(&tree, "a2");
    world.alien.insert(tree.bad);
    let error = begin(&tree, &world).result.unwrap_err();
    assert!(matches!(error, SessionError::Build { .. }), "{error:?}");
    assert!(error.hint().contains("revision of Linux"), "{}", error.hint());
}

#[test]
fn a_bad_tip_that_mostly_dies_of_something_else_is_tried_on() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a2");
    world.foreign_first = AtomicU32::new(11);
    assert_eq!(culprit(&tree, &begin(&tree, &world)), "a2");
}

#[test]
fn only_foreign_crashes_at_the_bad_tip() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "a2");
    world.shows.insert(tree.bad, Outcome::Foreign { title: "WARNING in foo".into() });
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::BadTipUntestable)), "{:?}", ended.result);
    let seen = ended.fold.tried_revisions()[0].useless();
    assert_eq!(seen, BTreeMap::from([("WARNING in foo".to_owned(), 16)]));
}

#[test]
fn a_bug_that_does_not_show() {
    let tree = Tree::new();
    let world = World { bad: BTreeSet::new(), ..World::new(&tree, "a2") };
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::NotReproduced)), "{:?}", ended.result);
    assert_eq!(world.tried(tree.bad), Limits::default().bad_tip as usize);
}

#[test]
fn a_good_tip_that_is_bad() {
    let tree = Tree::new();
    let world = World::new(&tree, "good");
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::GoodTipBad { .. })), "{:?}", ended.result);
}

#[test]
fn equal_signatures_are_tried_once_and_not_blamed() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b2");
    for (title, same_as) in [("b1", "b0"), ("b3", "b2"), ("merge side", "b2"), ("c0", "c1")] {
        world.signatures.insert(tree.id(title), same_as.into());
        world.signatures.insert(tree.id(same_as), same_as.into());
    }
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "b2");
    for tried in ended.fold.tried_revisions() {
        let same = ended.fold.same_image(tried.rev);
        let others = same.iter().filter(|other| !other.trials.is_empty()).count();
        assert!(tried.trials.is_empty() || others == 0, "{same:?}");
    }
}

#[test]
fn the_same_image_for_good_and_bad_is_no_culprit() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b2");
    for &commit in tree.by_title.values() {
        world.signatures.insert(commit, "all the same".into());
    }
    let ended = begin(&tree, &world);
    assert!(matches!(ended.result, Ok(Verdict::GoodTipBad { .. })), "{:?}", ended.result);
    assert!(!ended.fold.same_image(ended.fold.candidates().rev(tree.good).unwrap()).is_empty());
}

#[test]
fn a_host_that_fails_now_and_then_is_borne() {
    let tree = Tree::new();
    let world = World { host_fails: AtomicU32::new(2), ..World::new(&tree, "a2") };
    assert_eq!(culprit(&tree, &begin(&tree, &world)), "a2");
}

#[test]
fn a_host_that_keeps_failing_stops_the_session_until_it_is_resumed() {
    let tree = Tree::new();
    let world = World { host_fails: AtomicU32::new(3), ..World::new(&tree, "a2") };
    let state = tempfile::tempdir().unwrap();
    let ended = run(&tree, &world, state.path());
    match ended.result {
        Err(SessionError::Host { reason, .. }) => assert!(reason.contains("out of memory")),
        other => panic!("{other:?}"),
    }
    assert_eq!(culprit(&tree, &run(&tree, &world, state.path())), "a2");
}

#[test]
fn interrupted_it_can_be_resumed() {
    let tree = Tree::new();
    let mut world = World { cancel_at: Some(5), ..World::new(&tree, "other1") };
    let state = tempfile::tempdir().unwrap();
    let ended = run(&tree, &world, state.path());
    assert!(matches!(ended.result, Err(SessionError::Cancelled)), "{:?}", ended.result);
    assert_eq!(ended.fold.spent(), 5);
    world.cancel = Cancel::new();
    world.cancel_at = None;
    assert_eq!(culprit(&tree, &run(&tree, &world, state.path())), "other1");
}

#[test]
fn an_emptied_store_is_filled_again() {
    let tree = Tree::new();
    let mut world = World { cancel_at: Some(5), ..World::new(&tree, "b2") };
    let state = tempfile::tempdir().unwrap();
    run(&tree, &world, state.path());
    world.images = Some(tempfile::tempdir().unwrap());
    world.cancel = Cancel::new();
    world.cancel_at = None;
    assert_eq!(culprit(&tree, &run(&tree, &world, state.path())), "b2");
}

#[test]
fn one_odd_trial_is_outvoted() {
    let tree = Tree::new();
    let mut world = World::new(&tree, "b2");
    // A revision below a sure good one shows the target, whenever it is tried.
    world.bad.insert(tree.id("a1"));
    let ended = begin(&tree, &world);
    assert_eq!(culprit(&tree, &ended), "b2");
}
