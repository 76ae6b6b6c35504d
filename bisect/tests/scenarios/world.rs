//! A repository, and a world in which its commits have bugs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use git2::{Oid, Repository, Signature, Time};
use vmbisect::cancel::Cancel;
use vmbisect::crash::{Crash, Phase, classify};
use vmbisect::history::{CommitId, Find, History, Release};
use vmbisect::journal::{Event, Header, Journal, Record};
use vmbisect::report::Report;
use vmbisect::search::{Limits, Model, Verdict};
use vmbisect::session::{
    Build, BuildFault, BuildOutcome, Fold, Hints, Progress, Releases, Session, SessionError,
};
use vmbisect::trial::{
    Job, LaunchError, Launcher, Outcome, SeenCrash, Target, TrialEvent, TrialReport,
};

/// What is looked for.
pub(crate) const TARGET: &str = "WARNING in kvm_wait";

/// A repository whose commits are known by their titles.
pub(crate) struct Repo {
    dir: tempfile::TempDir,
    pub(crate) git: Repository,
    by_title: BTreeMap<String, Oid>,
}

impl Repo {
    /// One without a commit.
    pub(crate) fn empty() -> Repo {
        let dir = room();
        let git = Repository::init(dir.path()).unwrap();
        Repo { dir, git, by_title: BTreeMap::new() }
    }

    /// Four to nine hundred something: six commits a release, `x00` tagged `vX.0`. 650 left at
    /// v5.0 and is merged by 700; 790, 791, 792 left at v7.0 and are merged by 804; 850, 851, 852
    /// left at v8.0 and are merged by nobody.
    pub(crate) fn releases() -> Repo {
        let mut repo = Repo::empty();
        let mut tip: Option<String> = None;
        for release in 4..10u32 {
            for title in (0..6).map(|n| (100 * release + n).to_string()) {
                let merged = match title.as_str() {
                    "700" => Some("650"),
                    "804" => Some("792"),
                    _ => None,
                };
                let parents: Vec<&str> = tip.as_deref().into_iter().chain(merged).collect();
                repo.commit(&title, &parents);
                let branch: &[&str] = match title.as_str() {
                    "500" => &["650"],
                    "700" => &["790", "791", "792"],
                    "800" => &["850", "851", "852"],
                    _ => &[],
                };
                repo.line(&title, branch);
                if title.ends_with("00") {
                    repo.tag(&format!("v{release}.0"), &title);
                }
                tip = Some(title);
            }
        }
        repo
    }

    /// A straight line of so many commits, "0" the oldest.
    pub(crate) fn straight(commits: usize) -> Repo {
        let mut repo = Repo::empty();
        repo.commit("0", &[]);
        let titles: Vec<String> = (1..commits).map(|n| n.to_string()).collect();
        repo.line("0", &titles.iter().map(String::as_str).collect::<Vec<_>>());
        repo
    }

    pub(crate) fn commit(&mut self, title: &str, parents: &[&str]) -> CommitId {
        let time = Time::new(1_600_000_000 + 60 * self.by_title.len() as i64, 0);
        let author = Signature::new("A U Thor", "author@example.org", &time).unwrap();
        // A file of its own, so that any commit can be reverted; a merge has those of its parents.
        let parents: Vec<_> =
            parents.iter().map(|of| self.git.find_commit(self.by_title[*of]).unwrap()).collect();
        let mut tree = self
            .git
            .treebuilder(parents.first().map(|parent| parent.tree().unwrap()).as_ref())
            .unwrap();
        for parent in parents.iter().skip(1) {
            for entry in parent.tree().unwrap().iter() {
                tree.insert(entry.name_bytes(), entry.id(), entry.filemode()).unwrap();
            }
        }
        if parents.len() < 2 {
            let blob = self.git.blob(title.as_bytes()).unwrap();
            tree.insert(title, blob, 0o100_644).unwrap();
        }
        let tree = self.git.find_tree(tree.write().unwrap()).unwrap();
        let parents: Vec<_> = parents.iter().collect();
        let oid = self.git.commit(None, &author, &author, title, &tree, &parents).unwrap();
        self.by_title.insert(title.to_owned(), oid);
        oid.into()
    }

    /// A commit that changes the file another one brought.
    pub(crate) fn rewrite(&mut self, title: &str, parent: &str, file: &str, contents: &str) {
        let parent = self.git.find_commit(self.by_title[parent]).unwrap();
        let mut tree = self.git.treebuilder(Some(&parent.tree().unwrap())).unwrap();
        tree.insert(file, self.git.blob(contents.as_bytes()).unwrap(), 0o100_644).unwrap();
        let tree = self.git.find_tree(tree.write().unwrap()).unwrap();
        let author = Signature::new("A U Thor", "author@example.org", &parent.time()).unwrap();
        let oid = self.git.commit(None, &author, &author, title, &tree, &[&parent]).unwrap();
        self.by_title.insert(title.to_owned(), oid);
    }

    /// Commits on top of one another, the first of them on top of `from`.
    pub(crate) fn line(&mut self, from: &str, titles: &[&str]) {
        let mut tip = from.to_owned();
        for title in titles {
            self.commit(title, &[&tip]);
            tip = (*title).to_owned();
        }
    }

    pub(crate) fn tag(&self, name: &str, title: &str) {
        let object = self.git.find_object(self.by_title[title], None).unwrap();
        self.git
            .tag(name, &object, &Signature::now("T", "t@example.org").unwrap(), "", false)
            .unwrap();
    }

    pub(crate) fn id(&self, title: &str) -> CommitId {
        self.by_title[title].into()
    }

    pub(crate) fn title(&self, id: CommitId) -> String {
        let (title, _) = self.by_title.iter().find(|(_, oid)| CommitId::from(**oid) == id).unwrap();
        title.clone()
    }

    /// Whether `title` is `ancestor` or on top of it.
    pub(crate) fn contains(&self, title: &str, ancestor: &str) -> bool {
        let (of, ancestor) = (self.by_title[title], self.by_title[ancestor]);
        of == ancestor || self.git.graph_descendant_of(of, ancestor).unwrap()
    }

    /// Every commit that is one of these or on top of one.
    pub(crate) fn since(&self, titles: &[&str]) -> BTreeSet<String> {
        let on_top = |of: &&String| titles.iter().any(|title| self.contains(of, title));
        self.by_title.keys().filter(on_top).cloned().collect()
    }

    pub(crate) fn history(&self) -> History {
        History::open(self.dir.path()).unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

/// What a trial shows: of a commit, the how manyth it is of it.
type Shows = dyn Fn(&str, u32) -> Outcome + Send + Sync;

/// What is true of the commits of a repository.
pub(crate) struct World<'a> {
    repo: &'a Repo,
    lab: Lab,
    /// Commits that do not build.
    pub(crate) broken: BTreeSet<String>,
    /// Commits at whose build the host fails.
    pub(crate) starved: BTreeSet<String>,
    /// What their images share a signature with.
    same_as: BTreeMap<String, String>,
    /// What the user suspects.
    pub(crate) hints: Hints,
    /// Baseline configurations, which are tried first.
    pub(crate) baselines: Vec<Baseline>,
    /// What is looked for.
    pub(crate) target: Target,
    /// The user interrupts after so many trials.
    pub(crate) interrupted_after: Option<u32>,
    /// The command line in the journal.
    pub(crate) arguments: Vec<String>,
    /// Builds until now.
    pub(crate) builds: Mutex<Vec<String>>,
    images: tempfile::TempDir,
}

/// A directory in memory, where that is to be had: a journal waits for the disk at every line.
fn room() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Where trials run.
struct Lab {
    shows: Box<Shows>,
    /// The report of the crash that is a hit.
    crash: Option<Crash>,
    /// Trials until now, by commit.
    trials: Mutex<BTreeMap<String, u32>>,
}

pub(crate) fn hit() -> Outcome {
    Outcome::Hit { title: TARGET.into() }
}

pub(crate) fn foreign(title: &str) -> Outcome {
    Outcome::Foreign { title: title.into() }
}

pub(crate) fn no_boot() -> Outcome {
    Outcome::NoBoot { reason: "triple fault".into() }
}

impl<'a> World<'a> {
    pub(crate) fn new(
        repo: &'a Repo,
        shows: impl Fn(&str, u32) -> Outcome + Send + Sync + 'static,
    ) -> World<'a> {
        World {
            repo,
            lab: Lab { shows: Box::new(shows), crash: None, trials: Mutex::default() },
            broken: BTreeSet::new(),
            starved: BTreeSet::new(),
            same_as: BTreeMap::new(),
            hints: Hints::default(),
            baselines: Vec::new(),
            target: Target::Crash(vec![TARGET.into()]),
            interrupted_after: None,
            arguments: Vec::new(),
            builds: Mutex::default(),
            images: room(),
        }
    }

    /// One in which these commits always show the target, and these never reach init.
    pub(crate) fn plain(
        repo: &'a Repo,
        bad: BTreeSet<String>,
        dead: BTreeSet<String>,
    ) -> World<'a> {
        World::new(repo, move |title, _| match () {
            () if dead.contains(title) => no_boot(),
            () if bad.contains(title) => hit(),
            () => Outcome::Clean,
        })
    }

    /// The title of a commit, which may be one that was made on the way.
    fn title(&self, commit: CommitId) -> String {
        self.repo.history().title(commit).unwrap()
    }

    /// Gives all of these the image of the first.
    pub(crate) fn same_image(mut self, titles: &[&str]) -> World<'a> {
        self.same_as.extend(titles.iter().map(|title| ((*title).into(), titles[0].into())));
        self
    }

    /// Lets hits come with this report.
    pub(crate) fn reporting(mut self, report: &str) -> World<'a> {
        self.lab.crash = Some(classify(report.as_bytes()).remove(0));
        self
    }

    pub(crate) fn tried(&self, title: &str) -> u32 {
        self.lab.trials.lock().unwrap().get(title).copied().unwrap_or(0)
    }

    /// Bisects from a good to a bad end.
    pub(crate) fn bisect(&self, find: Find, good: &str, bad: &str) -> Ended<'a> {
        self.run(find, &[self.repo.id(good)], bad, |fold| fold)
    }

    /// The same, with several good ends.
    pub(crate) fn bisect_from_several(&self, good: &[&str], bad: &str) -> Ended<'a> {
        let good: Vec<CommitId> = good.iter().map(|title| self.repo.id(title)).collect();
        self.run(Find::Cause, &good, bad, |fold| fold)
    }

    /// Bisects from a good to a bad end, and reverts the answer.
    pub(crate) fn bisect_and_revert(&self, find: Find, good: &str, bad: &str) -> Ended<'a> {
        self.run(find, &[self.repo.id(good)], bad, Fold::with_revert)
    }

    /// Bisects where only a bad revision is known.
    pub(crate) fn bisect_from(&self, bad: &str) -> Ended<'a> {
        self.run(Find::Cause, &[], bad, Fold::with_picked_good)
    }

    /// The same, where the crash points at commits.
    pub(crate) fn bisect_by_crash_from(&self, bad: &str) -> Ended<'a> {
        self.run(Find::Cause, &[], bad, |fold| fold.with_picked_good().with_crash_hint())
    }

    fn run(
        &self,
        find: Find,
        good: &[CommitId],
        bad: &str,
        options: fn(Fold) -> Fold,
    ) -> Ended<'a> {
        let (history, bad) = (self.repo.history(), self.repo.id(bad));
        let mut releases = match good {
            [] => Some(Releases::before(&history, bad, None).unwrap()),
            _ => None,
        };
        let picked = releases.as_mut().and_then(Iterator::next);
        let older = picked.iter().map(|release| release.commit);
        let older: Vec<CommitId> = good.iter().copied().chain(older).collect();
        let (older, newer) = find.range(&older, bad);
        let candidates = Arc::new(history.range(find, &older, newer).unwrap().candidates);
        let limits = Limits { trials: 600, ..Limits::default() };
        let model = Model { find, ..Model::new(0.95) };
        let state = room();
        let header = self.header(find, good, bad);
        let mut journal = Journal::create(state.path(), &header).unwrap();
        let picked = picked.map(|Release { commit, name, .. }| Event::Good { commit, name });
        let records = picked.map(|event| journal.append(event).unwrap()).into_iter().collect();
        let baselines = self.baselines.iter().map(|it| it.name.into()).collect();
        let fold = Fold::new(candidates.clone(), model, limits, 2).with_baselines(baselines);
        let fold = options(fold);
        let fold = match self.hints.prior(&history, &candidates).unwrap() {
            Some(prior) => fold.with_prior(&prior),
            None => fold,
        };
        let of = |&baseline: &Baseline| BaselineBuild { world: self, baseline };
        let baselines: Vec<BaselineBuild<'_>> = self.baselines.iter().map(of).collect();
        let cancel = Cancel::new();
        let mut session = Session {
            fold,
            records,
            history: &history,
            hints: self.hints.clone(),
            releases,
            journal,
            builder: self,
            baselines: baselines.iter().map(|it| it as &dyn Build).collect(),
            launcher: &self.lab,
            job: self.job(),
            cancel: cancel.clone(),
        };
        let mut trials = 0;
        let result = session.run(&mut |_, what| {
            if let Progress::Recorded(Record { event: Event::Trial { .. }, .. }) = what {
                trials += 1;
                if self.interrupted_after == Some(trials) {
                    cancel.cancel();
                }
            }
        });
        let target = self.target.clone();
        let Session { fold, records, .. } = session;
        Ended { repo: self.repo, result, fold, records, target, state }
    }

    fn job(&self) -> Job {
        Job { vcpus: 2, ..Job::new(PathBuf::new(), PathBuf::new(), self.target.clone()) }
    }

    fn header(&self, find: Find, good: &[CommitId], bad: CommitId) -> Header {
        Header {
            format: Header::FORMAT,
            vmbisect: "test".into(),
            at_ms: 0,
            repo: self.repo.path(),
            find,
            good: good.to_vec(),
            bad,
            titles: Default::default(),
            target: self.target.clone(),
            confidence: 0.95,
            arguments: self.arguments.clone(),
            directory: PathBuf::new(),
            config: String::new(),
        }
    }
}

/// A baseline configuration. What its kernels show is asked of the title with its name before it.
#[derive(Clone, Copy)]
pub(crate) struct Baseline {
    pub(crate) name: &'static str,
    /// Whether kernels build with it.
    pub(crate) builds: bool,
}

struct BaselineBuild<'a> {
    world: &'a World<'a>,
    baseline: Baseline,
}

impl Build for BaselineBuild<'_> {
    fn build(
        &self,
        commit: CommitId,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<BuildOutcome, BuildFault> {
        let Baseline { name, builds } = self.baseline;
        if !builds {
            return Ok(does_not_build(format!("no {name}")));
        }
        let mut built = self.world.build(commit, on_line, cancel)?;
        if let BuildOutcome::Image { signature, path, seconds, .. } = &mut built {
            let runs = std::fs::read_to_string(&*path).unwrap();
            *path = path.with_file_name(format!("{name} {}", self.world.title(commit)));
            std::fs::write(&*path, format!("{name} {runs}")).unwrap();
            *signature = format!("{name} {signature}");
            *seconds = 6.0;
        }
        Ok(built)
    }
}

/// What a bisection came to.
pub(crate) struct Ended<'a> {
    repo: &'a Repo,
    pub(crate) result: Result<Verdict, SessionError>,
    pub(crate) fold: Fold,
    pub(crate) records: Vec<Record>,
    target: Target,
    state: tempfile::TempDir,
}

impl Ended<'_> {
    /// The commit that was named, and its probability.
    #[track_caller]
    pub(crate) fn named(&self) -> (String, f64) {
        match &self.result {
            Ok(Verdict::Culprit { rev, probability, .. }) => {
                (self.repo.title(self.fold.commit(*rev).unwrap()), *probability)
            }
            other => panic!("{other:?}\n{}", self.report()),
        }
    }

    /// The commits that remain where none can be named.
    #[track_caller]
    pub(crate) fn remaining(&self) -> BTreeSet<String> {
        match &self.result {
            Ok(Verdict::Undecided { remaining, .. }) => remaining
                .iter()
                .map(|(rev, _)| self.repo.title(self.fold.commit(*rev).unwrap()))
                .collect(),
            other => panic!("{other:?}\n{}", self.report()),
        }
    }

    /// Its state directory.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn report(&self) -> Report {
        let verdict = self.result.as_ref().unwrap();
        Report::new(&self.fold, verdict, &self.repo.history(), &self.target).unwrap()
    }
}

fn does_not_build(reason: String) -> BuildOutcome {
    BuildOutcome::Failed { reason, log: PathBuf::from("build.log"), seconds: 60.0, cached: false }
}

impl Build for World<'_> {
    fn build(
        &self,
        commit: CommitId,
        _: &mut dyn FnMut(&str),
        _: &Cancel,
    ) -> Result<BuildOutcome, BuildFault> {
        let title = self.title(commit);
        self.builds.lock().unwrap().push(title.clone());
        if self.starved.contains(&title) {
            return Err(BuildFault::Host("cc1 was killed".into()));
        }
        if self.broken.contains(&title) {
            return Ok(does_not_build("fork.c:1: error: no".into()));
        }
        let path = self.images.path().join(&title);
        // What runs is the image, whatever the commit.
        let signature = self.same_as.get(&title).unwrap_or(&title);
        std::fs::write(&path, signature).unwrap();
        Ok(BuildOutcome::Image {
            signature: format!("signature of {signature}"),
            path,
            compiler: "gcc 12.2.0".into(),
            seconds: 60.0,
            cached: false,
        })
    }
}

impl Launcher for Lab {
    fn describe(&self) -> String {
        "a fake".into()
    }

    fn capacity(&self, _: u64, _: std::num::NonZeroUsize, _: &Cancel) -> usize {
        2
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        _: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        let title = job.kernel.file_name().unwrap().to_str().unwrap();
        let nth = {
            let mut trials = self.trials.lock().unwrap();
            let count = trials.entry(title.to_owned()).or_insert(0);
            *count += 1;
            *count - 1
        };
        let runs = std::fs::read_to_string(&job.kernel).unwrap();
        let mut report = TrialReport::without_machine((self.shows)(&runs, nth));
        if let (Outcome::Hit { .. }, Some(crash)) = (&report.outcome, &self.crash) {
            report.crashes =
                vec![SeenCrash { phase: Phase::Workload, at_us: 1, crash: crash.clone() }];
        }
        on_event(TrialEvent::Done(Box::new(report.clone())));
        Ok(report)
    }
}
