//! `vmbisect loop` as a user meets it, on a worker that follows a script.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::tiny_kernel;
use tempfile::TempDir;

/// A worker that answers each job by what the shell code `case $id in …` in `answers` makes of it:
/// it sets `outcome` and `crashes`, or leaves `outcome` empty, and the job is never answered.
struct Scripted {
    directory: TempDir,
    command: Command,
}

impl Scripted {
    fn new(answers: &str) -> Scripted {
        let directory = tempfile::tempdir().unwrap();
        let kernel = directory.path().join("kernel");
        std::fs::write(&kernel, tiny_kernel()).unwrap();
        let hello = r#"{"hello":{"protocol":2,"version":"0","release":"6","kvm":"none","cpus":1,"memory_mib":4096}}"#;
        let rest = r#""machine":null,"milestones":[["init_reached",70000]],"cpus_online":1,"pv_spinlocks":null"#;
        let script = format!(
            r#"echo '{hello}'
grep -a -o --line-buffered '"job":{{"id":[0-9]*' | while IFS=: read -r _ _ id; do
    outcome= crashes='[]'
    case $id in {answers} esac
    test -z "$outcome" && continue
    echo '{{"trial":{{"id":'$id',"event":"line","at_us":5,"text":"console of '$id'"}}}}'
    echo '{{"trial":{{"id":'$id',"event":"done",'"$outcome"',"crashes":'"$crashes"',{rest}}}}}'
done
"#
        );
        let path = directory.path().join("worker.sh");
        std::fs::write(&path, script).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
        command.args(["loop", "--launcher"]).arg(format!("command:sh '{}'", path.display()));
        command.arg(kernel).stdin(Stdio::null());
        command.env(vmbisect::cache::CACHE_VARIABLE, directory.path().join("cache"));
        Scripted { directory, command }
    }

    fn kept(&self) -> PathBuf {
        self.directory.path().join("kept")
    }

    fn run(mut self, arguments: &[&str]) -> (Scripted, Output, Value) {
        let output = self.command.args(arguments).arg("--json").output().unwrap();
        let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (self, output, value)
    }
}

const CLEAN: &str = r#"outcome='"outcome":"clean"'"#;

/// Sets the answer to a crash of this title.
fn crash(title: &str) -> String {
    let crash = serde_json::json!([{
        "phase": "workload", "at_us": 9, "title": title, "alt_titles": [], "kind": "WARNING",
        "frame": null, "guilty_file": null, "task": null, "cpu": null, "corrupted": null,
        "suppressed": false, "panicked": false, "start": 0, "end": 0, "report": "the report",
    }]);
    format!(r#"outcome='"outcome":"hit","title":"{title}"' crashes='{crash}'"#)
}

#[test]
fn what_shows_is_counted_kept_and_said_by_the_exit_status() {
    let warning = crash("WARNING in foo");
    let answers = format!("2|4) {warning} ;; *) {CLEAN} ;;");
    let mut scripted = Scripted::new(&answers);
    let kept = scripted.kept();
    scripted.command.arg("--keep").arg(&kept);
    let (_scripted, output, result) = scripted.run(&["--runs", "5", "--jobs", "1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("run 4: WARNING in foo (2 of 4)"), "{stderr}");
    assert_eq!((&result["passed"], &result["failed"]), (&3.into(), &2.into()), "{result:#}");
    let title = &result["titles"][0];
    assert_eq!((&title["title"], &title["count"]), (&"WARNING in foo".into(), &2.into()));
    assert_eq!((&title["first_run"], &title["report"]), (&2.into(), &"the report".into()));
    assert_eq!(result["to_init_us"]["median"], 70_000, "{result:#}");
    assert_eq!(result["stopped"], "runs", "{result:#}");
    let mut files: Vec<_> = kept.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files[0].ends_with("000002-WARNING-in-foo.log"), "{files:?}");
    assert_eq!(std::fs::read_to_string(&files[1]).unwrap(), "[    0.000005] console of 4\n");
}

#[test]
fn nothing_is_0_and_nothing_told_is_2() {
    let (_, output, result) = Scripted::new(&format!("*) {CLEAN} ;;")).run(&["--runs", "2"]);
    assert_eq!(output.status.code(), Some(0), "{result:#}");
    assert_eq!(result["titles"], Value::Array(vec![]));
    let invalid = r#"*) outcome='"outcome":"invalid","reason":"PV spinlocks are off"' ;;"#;
    let (_, output, result) = Scripted::new(invalid).run(&["--runs", "2"]);
    assert_eq!(output.status.code(), Some(2), "{result:#}");
    assert_eq!(result["invalid"]["PV spinlocks are off"], 2, "{result:#}");
    let infra = r#"*) outcome='"outcome":"infra","reason":"ENOMEM"' ;;"#;
    let (_, output, result) = Scripted::new(infra).run(&["--runs", "2", "--jobs", "1"]);
    assert_eq!(output.status.code(), Some(2), "{result:#}");
    assert_eq!(
        (&result["infra"]["ENOMEM"], &result["stopped"]["host"]),
        (&3.into(), &"ENOMEM".into())
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the host failed: ENOMEM"), "{stderr}");
}

#[test]
fn it_runs_without_a_limit_until_the_title_shows() {
    let answers =
        format!("7) {} ;; 3) {} ;; *) {CLEAN} ;;", crash("WARNING in foo"), crash("BUG: bar"));
    let (_, output, result) =
        Scripted::new(&answers).run(&["--until-crash", "WARNING in *", "--jobs", "1"]);
    assert_eq!(output.status.code(), Some(1), "{result:#}");
    assert_eq!(result["stopped"]["crash"], "WARNING in foo", "{result:#}");
    assert_eq!(result["counted"], 7, "{result:#}");
}

#[test]
fn consoles_are_kept_without_being_asked_for_unless_they_are_not_wanted() {
    let answers = format!("2|4) {} ;; *) {CLEAN} ;;", crash("WARNING in foo"));
    let (scripted, _, result) = Scripted::new(&answers).run(&["--runs", "4", "--jobs", "1"]);
    let kept = PathBuf::from(result["consoles"].as_str().unwrap());
    assert!(kept.starts_with(scripted.directory.path().join("cache/loops")), "{result:#}");
    let is_console = |name: &PathBuf| name.extension().is_some_and(|kind| kind == "log");
    let files = kept.read_dir().unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(files.filter(is_console).count(), 2, "{result:#}");

    let nothing = |arguments: &[&str], answers: &str| {
        let (scripted, _, result) = Scripted::new(answers).run(arguments);
        assert_eq!(result["consoles"], Value::Null, "{result:#}");
        assert!(!scripted.directory.path().join("cache").exists());
    };
    nothing(&["--runs", "2", "--jobs", "1", "--no-keep"], &answers);
    nothing(&["--runs", "1", "--jobs", "1"], &answers);

    // Those of earlier loops are not kept for ever.
    let mut scripted = Scripted::new(&answers);
    let loops = scripted.directory.path().join("cache/loops");
    let old = loops.join("20200101-000000-1");
    std::fs::create_dir_all(&old).unwrap();
    File::create(old.join("000001-BUG.log")).unwrap().set_len((1 << 30) + 1).unwrap();
    File::open(&old).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    scripted.command.args(["--runs", "2", "--jobs", "1"]);
    let (_scripted, output, result) = scripted.run(&[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the newest 1024 MiB; earlier loops removed there: 1"), "{stderr}");
    assert_eq!(loops.read_dir().unwrap().count(), 1, "{result:#}");
    assert!(!old.exists());

    // Where there is no room for what nobody asked for, the loop goes on without.
    let mut scripted = Scripted::new(&answers);
    scripted.command.env(vmbisect::cache::CACHE_VARIABLE, "/proc/nothing");
    let (_, output, result) = scripted.run(&["--runs", "4", "--jobs", "1"]);
    assert_eq!((&result["failed"], &result["stopped"]), (&2.into(), &"runs".into()), "{result:#}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches("no more consoles are kept: can't make /proc/nothing").count(), 1);
}

#[test]
fn a_signal_ends_it_and_the_result_is_printed() {
    let invalid = r#"outcome='"outcome":"invalid","reason":"one CPU"'"#;
    let endings = [
        (Signal::INT, crash("BUG: bar"), 1),
        (Signal::INT, invalid.to_owned(), 130),
        (Signal::HUP, invalid.to_owned(), 130),
    ];
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignores_hup = u64::from_str_radix(ignored, 16).unwrap() & 1 == 1;
    for (signal, second, status) in endings {
        if signal == Signal::HUP && ignores_hup {
            println!("skipped: SIGHUP is ignored here, as under nohup, and so by the program");
            continue;
        }
        // The third is never answered.
        let answers = format!("1) {CLEAN} ;; 2) {second} ;;");
        let mut scripted = Scripted::new(&answers);
        scripted.command.args(["--runs", "9", "--jobs", "1"]);
        scripted.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = scripted.command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(stderr.any(|line| line.unwrap().contains("run 2")), "it says what showed");
        let process = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(process, signal).unwrap();
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{stdout}");
        assert!(stdout.contains("stopped: interrupted"), "{stdout}");
        assert!(stdout.contains("1 passed"), "{stdout}");
    }
}
