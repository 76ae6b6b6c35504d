//! `vmbisect replay` of what `git bisect log` prints: verdicts, and no runs beside them.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Commits after the good end, "1" the oldest of them.
const COMMITS: usize = 199;

/// A repository with a line of commits, each with a tag `c` and its number.
struct Line {
    dir: tempfile::TempDir,
    log: PathBuf,
}

impl Line {
    fn new() -> Line {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("bisect.txt");
        let line = Line { dir, log };
        line.git(&["init", "--quiet", "--initial-branch=main"]);
        let mut history = String::new();
        for commit in 0..=COMMITS {
            let title = commit.to_string();
            write!(
                history,
                "commit refs/heads/main\nmark :{}\ncommitter A <a@example.org> {} +0000\ndata \
                 {}\n{title}\n{}\n",
                commit + 1,
                1_600_000_000 + commit,
                title.len(),
                if commit > 0 { format!("from :{commit}\n") } else { String::new() },
            )
            .unwrap();
            write!(history, "reset refs/tags/c{commit}\nfrom :{}\n\n", commit + 1).unwrap();
        }
        let import = &["fast-import", "--quiet"];
        let mut import = line.command(import).stdin(Stdio::piped()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(history.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
        line.git(&["checkout", "--quiet", "main"]);
        line
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.dir.path()).args(arguments);
        command.env("LC_ALL", "C").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(output.stderr));
        text(output.stdout)
    }

    /// The log of a `git bisect run` with a script that says whether commit `$n` is good.
    fn bisect(&self, good: &str, bad: &str, is_good: &str) {
        self.git(&["bisect", "start", bad, good]);
        let script = format!("n=$(git log -1 --format=%s); {is_good}");
        self.git(&["bisect", "run", "sh", "-c", &script]);
        self.keep_log();
    }

    fn keep_log(&self) {
        std::fs::write(&self.log, self.git(&["bisect", "log"])).unwrap();
    }

    fn replay(&self, arguments: &[&str]) -> (i32, String) {
        replay(&self.log, arguments)
    }

    fn answer(&self, arguments: &[&str]) -> Value {
        answer(&self.log, &[&["--repo", self.path()], arguments].concat())
    }
}

fn replay(log: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
    let output = command.arg("replay").arg(log).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), said + &String::from_utf8(output.stderr).unwrap())
}

fn answer(log: &Path, arguments: &[&str]) -> Value {
    let (_, said) = replay(log, &[&["--json", "--quiet"], arguments].concat());
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"))
}

fn tested(answer: &Value, title: &str) -> Value {
    let tested = answer["tested"].as_array().unwrap();
    tested.iter().find(|it| it["title"] == title).unwrap_or_else(|| panic!("{answer:#}")).clone()
}

fn contradicted(answer: &Value) -> usize {
    answer["tested"].as_array().unwrap().iter().filter(|it| it["contradicts"] == true).count()
}

#[test]
fn verdicts_that_agree_name_the_commit() {
    let line = Line::new();
    // By hash, and by names that only the comments in the log translate.
    let hash = |name: &str| line.git(&["rev-parse", name]).trim().to_owned();
    for (good, bad) in [(hash("c0"), hash("main")), ("c0".into(), "main".into())] {
        line.bisect(&good, &bad, "[ $n -lt 137 ]");
        let answer = line.answer(&[]);
        assert_eq!(answer["named"]["title"], "137", "{answer:#}");
        assert_eq!(answer["blamed"]["title"], "137");
        assert_eq!(answer["candidates"], COMMITS);
        assert_eq!(contradicted(&answer), 0, "{answer:#}");
        assert_eq!(answer["conflicts"], Value::Array(Vec::new()));
        // Both ends, and what git asked for; none of it ran as far as the log tells.
        assert!(answer["tested"].as_array().unwrap().len() >= 9, "{answer:#}");
        for end in ["0", "199", "137", "136"] {
            let end = tested(&answer, end);
            assert_eq!((&end["judged"], &end["trials"]), (&true.into(), &0.into()), "{end:#}");
        }
        assert_eq!(answer["titles"], Value::Array(Vec::new()));
    }
    let (status, said) = line.replay(&["--repo", line.path()]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("each counts as 3 trials (--verdict-trials)"), "{said}");
    assert!(said.contains("culprit: ") && said.contains(" 137 at 9"), "{said}");
    assert!(!said.contains("CONTRADICTS") && !said.contains("Does not fit"), "{said}");
    // The verdicts are about whatever title is named.
    let asked = line.answer(&["--crash", "WARNING in foo"]);
    assert_eq!(asked["named"]["title"], "137", "{asked:#}");
    assert_eq!(asked["target"]["crash"][0], "WARNING in foo");
    // Without the repository: the order is that of the halvings.
    let (status, said) = line.replay(&[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains(" candidates, by number and order as the log implies"), "{said}");
    // One boot each is too little to go by.
    let (status, said) = line.replay(&["--repo", line.path(), "--verdict-trials", "1"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("any of which may be wrong"), "{said}");
}

/// All verdicts after the wrong one agree with it, so that everything rests on it.
#[test]
fn one_wrong_verdict_is_not_followed_blindly() {
    let line = Line::new();
    // git tests 99, 149, 174, ...: 149 has the bug, and is called good.
    line.bisect("c0", "main", "[ $n -lt 137 ] || [ $n -eq 149 ]");
    let answer = line.answer(&[]);
    assert_eq!(answer["blamed"]["title"], "150", "{answer:#}");
    assert_eq!(answer["named"], Value::Null, "{answer:#}");
    // Nothing contradicts anything yet, and what is next is a test of what lies behind the verdict.
    assert_eq!((contradicted(&answer), &answer["conflicts"]), (0, &Value::Array(Vec::new())));
    let next = answer["next"].as_str().unwrap().to_owned();
    let title = next.split(' ').nth(1).unwrap();
    let number: usize = title.parse().unwrap_or_else(|_| panic!("{next}"));
    assert!((137..=149).contains(&number), "{next}");
    let (status, said) = line.replay(&["--repo", line.path()]);
    assert_eq!(status, 1, "{said}");
    // How often a verdict is wrong, as --help says: what lies behind this one is as likely as that.
    for (trials, wrong_in) in [("2", 100.0..200.0), ("3", 400.0..650.0), ("10", 800.0..1250.0)] {
        let answer = line.answer(&["--verdict-trials", trials]);
        let blamed = answer["blamed"]["probability"].as_f64().unwrap();
        let (behind, odds) = (f64::from(149 - 99), (1.0 - blamed) / blamed);
        assert!(wrong_in.contains(&(behind / odds)), "{trials}: {}", behind / odds);
    }

    // That test is enough to see that one of two verdicts is wrong. git itself refuses to hear it.
    let tested_next = line.git(&["rev-parse", &format!("c{number}")]);
    let log = std::fs::read_to_string(&line.log).unwrap();
    std::fs::write(&line.log, format!("{log}git bisect bad {tested_next}")).unwrap();
    let answer = line.answer(&[]);
    let conflicts = answer["conflicts"].as_array().unwrap();
    assert_eq!(conflicts.len(), 1, "{answer:#}");
    assert_eq!(conflicts[0]["good"], tested(&answer, "149")["commit"]);
    assert_eq!(conflicts[0]["bad"], tested(&answer, title)["commit"]);
    assert_eq!(answer["named"], Value::Null, "{answer:#}");
    let (_, said) = line.replay(&["--repo", line.path()]);
    assert!(said.contains("Does not fit: ") && said.contains("One of the two is wrong"), "{said}");
}

/// How many commits are left between the last verdicts is not in the log.
#[test]
fn an_unfinished_log_names_nobody_without_the_repository() {
    let line = Line::new();
    line.git(&["bisect", "start", "main", "c0"]);
    for (word, commit) in [("good", "c99"), ("bad", "c149"), ("skip", "c124"), ("good", "c123")] {
        line.git(&["bisect", word, commit]);
    }
    line.keep_log();
    let (status, said) = line.replay(&[]);
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("no culprit can be named") && said.contains("--repo DIR knows"),
        "{said}"
    );
    let answer = line.answer(&[]);
    assert_eq!(answer["named"], Value::Null);
    let number: usize =
        answer["next"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert!((124..149).contains(&number), "{answer:#}");
    assert_eq!(tested(&answer, "124")["recorded"], "skip");
}

/// With words of one's own, and the ends given one by one.
#[test]
fn other_words() {
    let line = Line::new();
    line.git(&["bisect", "start", "--term-old=broken", "--term-new=fixed"]);
    line.git(&["bisect", "fixed", "main"]);
    line.git(&["bisect", "broken", "c0"]);
    line.git(&["bisect", "run", "sh", "-c", "[ $(git log -1 --format=%s) -lt 60 ]"]);
    line.keep_log();
    let answer = line.answer(&[]);
    assert_eq!(answer["named"]["title"], "60", "{answer:#}");
    assert_eq!(answer["candidates"], COMMITS);
}

#[test]
fn a_verdict_on_what_the_repository_lacks_does_not_count() {
    let line = Line::new();
    line.git(&["bisect", "start", "main", "c0"]);
    line.keep_log();
    let log = std::fs::read_to_string(&line.log).unwrap();
    let unknown = "deadbeef".repeat(5);
    std::fs::write(&line.log, format!("{log}git bisect bad {unknown}\n")).unwrap();
    let (_, said) = line.replay(&["--repo", line.path()]);
    assert!(said.contains("deadbeefdead, which the repository does not have"), "{said}");
    assert!(said.contains("verdicts: 1 bad, 1 good"), "{said}");
}
