//! A repository, and a world in which its commits have a bug.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use git2::{Oid, Repository, Signature, Time};

use crate::cancel::Cancel;
use crate::history::{CommitId, Find, History};
use crate::journal::{Event, Header, Journal, JournalError, Resumption};
use crate::kernel::{BuildError, Dependencies};
use crate::search::{Limits, Model, Verdict};
use crate::session::{Build, BuildFault, BuildOutcome, Fold, Hints, Session, SessionError};
use crate::trial::{Job, LaunchError, Launcher, Outcome, Target, TrialEvent, TrialReport};

pub(super) const TARGET: &str = "WARNING in kvm_wait";

pub(super) struct Tree {
    pub(super) dir: tempfile::TempDir,
    pub(super) good: CommitId,
    pub(super) bad: CommitId,
    pub(super) by_title: BTreeMap<String, CommitId>,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree::touching(|_| "file")
    }

    /// The same commits, each of which changes the file that is said for it.
    pub(super) fn touching(file: impl Fn(&str) -> &'static str) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init(dir.path()).unwrap();
        let mut by_title = BTreeMap::new();
        let mut commit = |title: &str, parents: &[Oid]| -> Oid {
            let time = Time::new(1_600_000_000 + 60 * by_title.len() as i64, 0);
            let author = Signature::new("A U Thor", "author@example.org", &time).unwrap();
            let blob = repo.blob(title.as_bytes()).unwrap();
            let parents: Vec<_> =
                parents.iter().map(|&oid| repo.find_commit(oid).unwrap()).collect();
            let before = parents.first().map(|parent| parent.tree().unwrap());
            let mut tree = repo.treebuilder(before.as_ref()).unwrap();
            tree.insert(file(title), blob, 0o100_644).unwrap();
            let tree = repo.find_tree(tree.write().unwrap()).unwrap();
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

    pub(super) fn id(&self, title: &str) -> CommitId {
        self.by_title[title]
    }

    pub(super) fn history(&self) -> History {
        History::open(self.dir.path()).unwrap()
    }

    pub(super) fn fold(&self, machines: u32) -> Fold {
        let candidates = self.history().candidates(&[self.good], self.bad).unwrap();
        let limits = Limits { trials: 300, ..Limits::default() };
        Fold::new(Arc::new(candidates), Model::new(0.95), limits, machines)
    }
}

/// What is true in the fakes' world, by commit.
#[derive(Default)]
pub(super) struct World {
    /// Commits that have the bug.
    pub(super) bad: BTreeSet<CommitId>,
    pub(super) broken: BTreeSet<CommitId>,
    /// Commits that hold something else than a kernel.
    pub(super) alien: BTreeSet<CommitId>,
    pub(super) signatures: BTreeMap<CommitId, String>,
    /// The files that builds read, if that is kept, and what those of some commits read besides.
    pub(super) reads: Option<&'static str>,
    pub(super) reads_too: BTreeMap<CommitId, &'static str>,
    /// What a trial shows instead of the truth.
    pub(super) shows: BTreeMap<CommitId, Outcome>,
    /// The host fails this many trials.
    pub(super) host_fails: AtomicU32,
    /// So many trials show another crash before any shows the truth.
    pub(super) foreign_first: AtomicU32,
    /// Cancels at the trial of this number.
    pub(super) cancel_at: Option<u64>,
    pub(super) machines: usize,
    pub(super) trials: Mutex<Vec<CommitId>>,
    pub(super) builds: Mutex<Vec<CommitId>>,
    pub(super) cancel: Cancel,
    pub(super) images: Option<tempfile::TempDir>,
    /// What is so with baseline configurations.
    pub(super) baselines: Vec<World>,
}

impl World {
    /// A world in which a culprit's descendants are bad, and it too.
    pub(super) fn new(tree: &Tree, culprit: &str) -> World {
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

    pub(super) fn tried(&self, commit: CommitId) -> usize {
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
        let path = path.join(commit.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "kernel").unwrap();
        if let Some(reads) = self.reads {
            let more = self.reads_too.get(&commit).copied().unwrap_or_default();
            let file = path.with_file_name(Dependencies::FILE);
            std::fs::write(file, format!("{reads}\n{more}\n")).unwrap();
        }
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
        let is_of =
            |it: &&World| it.images.as_ref().is_some_and(|at| job.kernel.starts_with(at.path()));
        if let Some(baseline) = self.baselines.iter().find(is_of) {
            return baseline.run(job, on_event, cancel);
        }
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
            machine: Some(vmm::Summary {
                wall_us: 2_000_000,
                console_bytes: 17,
                pv_features: vmm::PvFeatures::default(),
                ..vmm::Summary::new(vmm::Ending::Exit { status: 0 })
            }),
            milestones: vec![(vmm::Milestone::WorkloadStarted, 5)],
            cpus_online: Some(2),
            pv_spinlocks: Some(true),
            ..TrialReport::without_machine(self.shows.get(&commit).cloned().unwrap_or(truth))
        };
        on_event(TrialEvent::Done(Box::new(report.clone())));
        Ok(report)
    }
}

pub(super) fn header(tree: &Tree) -> Header {
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

pub(super) fn job() -> Job {
    Job { vcpus: 2, ..Job::new(PathBuf::new(), PathBuf::new(), Target::Crash(vec![TARGET.into()])) }
}

pub(super) struct Ended {
    pub(super) result: Result<Verdict, SessionError>,
    pub(super) fold: Fold,
}

/// Begins a session in `state`, or goes on with the one that is there.
pub(super) fn run(tree: &Tree, world: &World, state: &Path) -> Ended {
    let names = (0..world.baselines.len()).map(|n| format!("baseline {n}")).collect();
    let mut fold = tree.fold(world.machines as u32).with_baselines(names);
    let journal = match Journal::open(state) {
        Ok((mut journal, _, records)) => {
            for record in &records {
                fold.apply(record).unwrap();
            }
            fold.apply(&journal.append(Event::Resumed(Resumption::default())).unwrap()).unwrap();
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
        baselines: world.baselines.iter().map(|it| it as &dyn Build).collect(),
        launcher: world,
        job: job(),
        cancel,
    };
    let result = session.run(&mut |_, _| {});
    Ended { result, fold: session.fold }
}

pub(super) fn begin(tree: &Tree, world: &World) -> Ended {
    run(tree, world, tempfile::tempdir().unwrap().path())
}

pub(super) fn culprit(tree: &Tree, ended: &Ended) -> String {
    match &ended.result {
        Ok(Verdict::Culprit { rev, probability, .. }) => {
            assert!(*probability >= 0.95);
            let id = ended.fold.candidates().id(*rev).unwrap();
            tree.by_title.iter().find(|(_, of)| **of == id).unwrap().0.clone()
        }
        other => panic!("{other:?}"),
    }
}

/// The events of a journal, but for what differs from run to run.
pub(super) fn events(state: &Path) -> Vec<Event> {
    let (_, _, records) = Journal::open(state).unwrap();
    let keep = |event: &Event| !matches!(event, Event::Resumed(_));
    let still = |mut event: Event| {
        if let Event::Built { image, .. } = &mut event {
            image.clear();
        }
        event
    };
    records.into_iter().map(|record| record.event).filter(keep).map(still).collect()
}
