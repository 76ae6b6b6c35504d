//! `vmbisect simulate`, the command.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the command says: its exit status, standard output and standard error.
struct Said {
    status: i32,
    text: String,
    error: String,
}

fn simulate(arguments: &[&str], environment: &[(&str, &Path)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
    command.arg("simulate").args(arguments).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (status, text, error) =
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr));
    Said { status, text, error }
}

/// The settings, as objects.
fn settings(arguments: &[&str]) -> Vec<Value> {
    let said = simulate(&[&["--json"], arguments].concat(), &[]);
    assert_eq!(said.status, 0, "{}", said.error);
    serde_json::from_str(&said.text).unwrap()
}

fn rule<'a>(setting: &'a Value, name: &str) -> &'a Value {
    let rules = setting["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["rule"] == name).unwrap_or_else(|| panic!("{setting:#}"))
}

/// A repository of 30 commits since the tag `good`, of which every tenth merges a branch of three.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(dir.path()).args(arguments);
        command
    };
    let run = |arguments: &[&str]| assert!(git(arguments).status().unwrap().success());
    run(&["init", "--quiet", "--bare", "--initial-branch=main"]);
    let mut history = String::new();
    let mut commit = |mark: usize, branch: &str, parents: &[usize]| {
        let who = format!("A <a@example.org> {} +0000", 1_600_000_000 + mark);
        write!(history, "commit refs/heads/{branch}\nmark :{mark}\ncommitter {who}\n").unwrap();
        history.push_str("data 1\nx\n");
        for (parent, word) in parents.iter().zip(["from", "merge"]) {
            writeln!(history, "{word} :{parent}").unwrap();
        }
        history.push('\n');
    };
    commit(1, "main", &[]);
    let mut tip = 1;
    for mark in 2..=31 {
        match mark % 10 {
            5 => commit(mark, "side", &[tip]),
            6 | 7 => commit(mark, "side", &[mark - 1]),
            8 => {
                commit(mark, "main", &[tip, 7 + mark / 10 * 10]);
                tip = mark;
            }
            _ => {
                commit(mark, "main", &[tip]);
                tip = mark;
            }
        }
    }
    history.push_str("reset refs/tags/good\nfrom :1\n\n");
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(history.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    dir
}

#[test]
fn the_history_of_a_repository() {
    let repo = repository();
    let path = repo.path().to_str().unwrap();
    let range = ["--repo", path, "--good", "good", "--bad", "main", "--seed", "3", "--runs", "8"];
    let rates = ["--hit-rate", "1", "--false-rate", "0"];
    let all = settings(&[&range[..], &rates].concat());
    let [setting] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((&setting["candidates"], &setting["histories"]), (&30.into(), &8.into()));
    // Without noise halving is never wrong, and takes no more than the few steps it has.
    let halving = rule(setting, "git-bisect");
    assert_eq!(halving["right"], 8, "{setting:#}");
    assert!(halving["trials"].as_f64().unwrap() < 8.0, "{setting:#}");
    assert_eq!(rule(setting, "ours")["right"], 8, "{setting:#}");
    assert_eq!(setting["suspicion"], Value::Null);

    let said = simulate(&["--repo", path, "--good", "main", "--bad", "good"], &[]);
    assert_eq!(said.status, 2, "{}", said.text);
    assert!(said.error.contains("\nhint: "), "{}", said.error);
}

#[test]
fn the_grid() {
    let all = settings(&["--grid", "--candidates", "12", "--runs", "1"]);
    // Six hit rates, three false rates, three shares of other crashes.
    assert_eq!(all.len(), 54);
    let rates = |setting: &Value| {
        ["hit_rate", "false_rate", "foreign"].map(|rate| setting[rate].to_string())
    };
    let different: std::collections::BTreeSet<_> = all.iter().map(rates).collect();
    assert_eq!(different.len(), 54);
    for setting in &all {
        let names: Vec<&Value> =
            setting["rules"].as_array().unwrap().iter().map(|rule| &rule["rule"]).collect();
        assert_eq!(names, ["ours", "syzkaller-2024"]);
        assert!(setting["least_trials"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_table_for_each_setting_and_one_of_all_claims() {
    let said = simulate(&["--candidates", "50", "--runs", "3", "--hit-rate", "0.5,0.9"], &[]);
    assert_eq!(said.status, 0, "{}", said.error);
    assert_eq!(said.text.matches("\nours ").count(), 2, "{}", said.text);
    assert_eq!(said.text.matches("ours: claimed and actual probability").count(), 1);
}

#[test]
fn the_seed_decides_and_the_number_of_jobs_does_not() {
    let with = |seed: &str, jobs: &str| {
        settings(&["--candidates", "50", "--runs", "6", "--seed", seed, "--jobs", jobs])
    };
    assert_eq!(with("4", "1"), with("4", "3"));
    assert_ne!(with("4", "1"), with("5", "1"));
}

#[test]
fn what_a_suspicion_is_worth() {
    let few = ["--candidates", "500", "--runs", "12", "--hit-rate", "0.9", "--rule", "ours"];
    let suspects = [&few[..], &["--suspects", "0.02"]].concat();
    let all = settings(&suspects);
    let worth = &all[0]["suspicion"];
    let builds = |which: &str| worth[which]["builds"].as_f64().unwrap();
    assert!(builds("right") < builds("without"), "{worth:#}");
    assert!(builds("wrong") > builds("right"), "{worth:#}");
    // Nobody suspected is what there is without the option.
    assert_eq!(worth["without"], settings(&few)[0]["rules"][0]);
    let from = worth["saves_hours_from"].as_f64().unwrap();
    assert!((0.0..1.0).contains(&from), "{worth:#}");
    let said = simulate(&suspects, &[]);
    for line in ["nobody suspected", "\n0 %", "\n50 %", "\n100 %", "it saves hours if"] {
        assert!(said.text.contains(line), "{line}: {}", said.text);
    }
}

/// The `python3` on the PATH, itself and not a script that looks for it; none is no failure, but
/// tests nothing.
fn python() -> Option<PathBuf> {
    let ask = ["-c", "import sys; print(sys.executable)"];
    let output = Command::new("python3").args(ask).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}

/// Modules in the place of git_bayesect and of what it needs of numpy, which halve the history.
const MODULES: [(&str, &str); 2] = [
    (
        "numpy.py",
        "def ones(n): return [1.0] * n\n\
         def argmax(values): return max(range(len(values)), key=lambda i: values[i])\n",
    ),
    (
        "git_bayesect.py",
        "class Bisector:\n\
        \x20   def __init__(self, prior): self.newest, self.oldest = 0, len(prior) - 1\n\
        \x20   @property\n\
        \x20   def distribution(self):\n\
        \x20       inside = range(self.newest, self.oldest)\n\
        \x20       n = self.oldest - self.newest\n\
        \x20       return [1.0 / n if i in inside else 0.0 for i in range(self.oldest + 1)]\n\
        \x20   def select(self): return (self.newest + self.oldest) // 2\n\
        \x20   def record(self, index, showed):\n\
        \x20       if showed: self.newest = index\n\
        \x20       else: self.oldest = index\n",
    ),
];

const BAYESECT: [&str; 10] = [
    "--rule",
    "git-bayesect",
    "--candidates",
    "40",
    "--runs",
    "6",
    "--hit-rate",
    "1",
    "--false-rate",
    "0",
];

#[test]
fn git_bayesect_where_it_is_installed() {
    let Some(python) = python() else {
        eprintln!("skipped: there is no python3 on the PATH");
        return;
    };
    let (modules, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, text) in MODULES {
        std::fs::write(modules.path().join(name), text).unwrap();
    }
    // As python3, and as the interpreter that the script names.
    let script = format!("#!{}\n", python.display());
    std::fs::write(programs.path().join("git-bayesect"), script).unwrap();
    let on_path = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&python, on_path.path().join("python3")).unwrap();
    for path in [on_path.path(), programs.path()] {
        let environment = [("PATH", path), ("PYTHONPATH", modules.path())];
        let said = simulate(&[&["--json"], &BAYESECT[..]].concat(), &environment);
        assert_eq!(said.status, 0, "{}", said.error);
        let all: Vec<Value> = serde_json::from_str(&said.text).unwrap();
        let score = rule(&all[0], "git-bayesect");
        assert_eq!((&score["right"], &score["histories"]), (&6.into(), &6.into()), "{score:#}");
        assert!(score["trials"].as_f64().unwrap() < 8.0, "{score:#}");
    }
    // One that ends is no answer.
    let text = "class Bisector:\n    def __init__(self, prior): raise SystemExit(1)\n";
    std::fs::write(modules.path().join("git_bayesect.py"), text).unwrap();
    let environment = [("PATH", on_path.path()), ("PYTHONPATH", modules.path())];
    let said = simulate(&BAYESECT, &environment);
    assert_eq!(said.status, 2, "{}", said.text);
    assert!(
        said.error.contains("git_bayesect") && said.error.contains("it ended"),
        "{}",
        said.error
    );
}

#[test]
fn git_bayesect_where_it_is_not_installed() {
    let nothing = tempfile::tempdir().unwrap();
    let said = simulate(&BAYESECT, &[("PATH", nothing.path())]);
    assert_eq!(said.status, 2, "{}", said.text);
    assert!(said.error.contains("hint: ") && said.error.contains("pip install"), "{}", said.error);
}
