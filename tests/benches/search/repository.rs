//! Reading the candidates from a repository, beside `git rev-list`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use divan::Bencher;
use vmbisect::history::History;
use vmbisect::simulate::Shape;

/// A repository, and a range of its history.
struct Range {
    repo: PathBuf,
    good: String,
    bad: String,
    _made: Option<tempfile::TempDir>,
}

static RANGE: LazyLock<Range> = LazyLock::new(|| match std::env::var_os("VMBISECT_BENCH_REPO") {
    Some(repo) => {
        let range = std::env::var("VMBISECT_BENCH_RANGE").expect("VMBISECT_BENCH_RANGE=GOOD..BAD");
        let (good, bad) = range.split_once("..").expect("VMBISECT_BENCH_RANGE=GOOD..BAD");
        Range { repo: repo.into(), good: good.into(), bad: bad.into(), _made: None }
    }
    None => generated(),
});

/// A repository with a history in the shape of Linux, of empty commits.
fn generated() -> Range {
    let commits = std::env::var("VMBISECT_BENCH_COMMITS").ok();
    let candidates = commits.and_then(|it| it.parse().ok()).unwrap_or(100_000);
    let graph = Shape::Merges { candidates, share: 0.07, below: 0.0 }.sample(1);
    let dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(dir.path()).args(arguments);
        command
    };
    assert!(git(&["init", "--quiet", "--bare"]).status().unwrap().success());
    let mut import =
        git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git fast-import");
    {
        let mut input = std::io::BufWriter::new(import.stdin.take().unwrap());
        let who = "A U Thor <author@example.org>";
        let mut commit = |number: u32, branch: &str, parents: &[u32]| {
            let message = format!("subsystem: change number {number}\n");
            writeln!(input, "commit {branch}\nmark :{}", number + 1).unwrap();
            writeln!(input, "committer {who} {} +0000", 1_600_000_000 + u64::from(number)).unwrap();
            write!(input, "data {}\n{message}", message.len()).unwrap();
            for (at, parent) in parents.iter().enumerate() {
                writeln!(input, "{} :{}", ["from", "merge"][at.min(1)], parent + 1).unwrap();
            }
            writeln!(input).unwrap();
        };
        let good = candidates as u32;
        commit(good, "refs/heads/good", &[]);
        for rev in 0..good {
            commit(rev, "refs/heads/bad", graph.parents(rev));
        }
    }
    assert!(import.wait().unwrap().success());
    let repo = dir.path().to_owned();
    Range { repo, good: "good".into(), bad: "bad".into(), _made: Some(dir) }
}

/// What git itself takes: as it writes into a pipe, line by line, and in large pieces.
#[divan::bench(sample_count = 5, sample_size = 1, args = ["lines", "pieces"])]
fn git_rev_list(bencher: Bencher<'_, '_>, written: &str) {
    let range = &*RANGE;
    let flush = if written == "lines" { "1" } else { "0" };
    bencher.bench_local(|| {
        let output = Command::new("git")
            .arg("-C")
            .arg(&range.repo)
            .args(["rev-list", "--topo-order", "--parents", &range.bad])
            .arg(format!("^{}", range.good))
            .env("GIT_FLUSH", flush)
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout.len()
    });
}

/// The graph with all names, ready to be searched.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn candidates(bencher: Bencher<'_, '_>) {
    let range = &*RANGE;
    bencher.bench_local(|| {
        let history = History::open(&range.repo).unwrap();
        let ends = [&range.good, &range.bad].map(|name| history.resolve(name).unwrap());
        history.candidates(&ends[..1], ends[1]).unwrap()
    });
}
