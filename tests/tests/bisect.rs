//! The whole bisection, on a series of real kernels that are built and booted, and `kill -9` in the
//! middle of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use vmbisect::demo::history::{Planted, Shape, write};
use vmbisect::demo::{CRASH, KERNEL_CONFIG};
use vmbisect::tools::Purpose;
use vmbisect_tests::fixture::{self, Kernels};
use vmbisect_tests::program::{run, vmbisect};

/// A series of eight commits on the fixture kernel, one of which brings the bug in.
struct Series {
    room: tempfile::TempDir,
    repo: PathBuf,
    planted: Planted,
}

impl Series {
    fn new() -> Option<Series> {
        if let Err(error) = fixture::ensure(&[Purpose::OuterMachine, Purpose::Workload]) {
            eprintln!("skipped: nowhere to run trials: {error}");
            return None;
        }
        let Kernels { repo, good, .. } = fixture::kernels()?;
        let planted = write(repo, &good.commit, 4, Shape::straight(8)).unwrap();
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("tmp")).unwrap();
        fs::write(room.path().join("spinlock.c"), guest_init::SPINLOCK_C).unwrap();
        fs::write(room.path().join("kernel.config"), KERNEL_CONFIG).unwrap();
        Some(Series { room, repo: repo.clone(), planted })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    fn bisect(&self, state: &str) -> Command {
        let mut command = vmbisect();
        command.args(["bisect", "--json", "--tinyconfig", "--vcpus", "4", "--memory", "256"]);
        command.args(["--good", &self.planted.good, "--bad", &self.planted.bad]);
        command.args(["--crash", CRASH, "--require-pv-spinlocks"]);
        command.arg("--repo").arg(&self.repo);
        command.arg("--fragment").arg(self.path("kernel.config"));
        command.arg("--workload-c").arg(self.path("spinlock.c")).args(["--arg", "3"]);
        command.arg("--state").arg(self.path(state));
        self.with_own_tmp(command)
    }

    fn resume(&self, state: &str) -> Command {
        let mut command = vmbisect();
        command.args(["bisect", "--json", "--resume", "--state"]).arg(self.path(state));
        self.with_own_tmp(command)
    }

    /// Outer machines name files below it, so that those of this test can be told from others.
    fn with_own_tmp(&self, mut command: Command) -> Command {
        command.env("TMPDIR", self.path("tmp"));
        command
    }

    fn journal(&self, state: &str) -> Vec<u8> {
        let journal = fs::read_dir(self.path(state)).unwrap().flatten();
        let journal = journal.map(|entry| entry.path());
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|end| end == "jsonl");
        fs::read(journal.into_iter().find(is_journal).expect("a journal")).unwrap()
    }
}

/// Kills `child` when it has said that so many trials have ended; `false` if it ended before.
fn kill_after(mut child: Child, trials: usize) -> bool {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ended = |line: &String| line.contains(" hit)");
    let enough = lines.map_while(Result::ok).filter(ended).take(trials).count() == trials;
    child.kill().unwrap();
    child.wait().unwrap();
    enough
}

/// Processes that have `text` on their command line.
fn processes_with(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

#[test]
fn the_planted_commit_is_named_also_after_kill_9() {
    let Some(series) = Series::new() else { return };

    // Killed twice, once early and once later, and resumed each time.
    let started = series.bisect("killed").stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    assert!(kill_after(started.unwrap(), 1), "it ended before the first trial did");
    let first = series.journal("killed");
    let resumed = series.resume("killed").stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    assert!(kill_after(resumed.unwrap(), 2), "it ended before the third trial did");
    let second = series.journal("killed");
    let ran = run(&mut series.resume("killed"));
    let whole = series.journal("killed");
    check(&ran.stdout, &ran.stderr, ran.status, &series.planted);

    // What was recorded stands as it was recorded, and the torn end of a line at most is gone.
    let lines =
        |journal: &[u8]| journal.iter().rposition(|&byte| byte == b'\n').map_or(0, |n| n + 1);
    assert!(lines(&first) > 0 && whole.starts_with(&first[..lines(&first)]));
    assert!(whole.starts_with(&second[..lines(&second)]));

    // And the same without an interruption.
    let ran = run(&mut series.bisect("whole"));
    check(&ran.stdout, &ran.stderr, ran.status, &series.planted);
    check_log(&series.path("whole"), &series.planted);

    // A second bisection in the same place is refused.
    let ran = run(&mut series.bisect("whole"));
    assert_eq!(ran.status, Some(2), "{}{}", ran.stdout, ran.stderr);

    let ours = series.path("tmp").display().to_string();
    assert_eq!(processes_with(&ours), 0, "an outer machine was left behind");
}

fn check(stdout: &str, stderr: &str, status: Option<i32>, planted: &Planted) {
    let answer: Value = serde_json::from_str(stdout)
        .unwrap_or_else(|error| panic!("{error} in {stdout}\n{stderr}"));
    assert_eq!(answer["answer"], "culprit", "{answer:#}\n{stderr}");
    assert_eq!(answer["culprit"]["commit"], planted.culprit, "{answer:#}\n{stderr}");
    assert!(answer["culprit"]["probability"].as_f64().unwrap() >= 0.95, "{answer:#}");
    assert_eq!(status, Some(0), "{stderr}");
}

/// The log is in the form that syzbot publishes.
fn check_log(state: &Path, planted: &Planted) {
    let log = fs::read_to_string(state.join("bisect.log")).unwrap();
    let has = |line: &str| log.lines().any(|it| it == line);
    assert!(has(&format!("testing commit {}", planted.culprit)) || log.contains("testing commit"));
    assert!(has(&format!("# git bisect start {} {}", planted.bad, planted.good)), "{log}");
    assert!(has(&format!("first bad commit: {} {}", planted.culprit, planted.subject)), "{log}");
    assert!(has(&format!("crash: {CRASH}")), "{log}");
    for begins in ["kernel signature: ", "culprit signature: ", "parent  signature: "] {
        assert!(log.lines().any(|line| line.starts_with(begins)), "{log}");
    }
    assert!(log.contains("revisions tested: "), "{log}");
}
