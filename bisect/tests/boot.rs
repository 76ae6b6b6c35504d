//! `vmbisect boot` as a script meets it, with tiny guests.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

mod support;

use std::fs::File;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{crashing_kernel, kernel_of_many_crashes, tiny_kernel};

/// What came of `vmbisect boot` of this kernel; none, with the reason printed, where there is no KVM.
fn boot(kernel: &[u8], arguments: &[&str]) -> Option<Output> {
    if File::open("/dev/kvm").is_err() {
        eprintln!("skipped: there is no /dev/kvm that could run a tiny guest");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kernel");
    std::fs::write(&path, kernel).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
    command.args(["boot", "--launcher", "in-process", "--memory", "64", "--vcpus", "1"]);
    Some(command.args(arguments).arg(path).stdin(Stdio::null()).output().unwrap())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

const CRASH: &str = "VFS: Close: file count is zero (use-after-free)";

#[test]
fn a_crash_ends_the_guest_or_it_goes_on() {
    let crash = |arguments: &[&str], goes_on: bool| {
        let arguments = [arguments, &["--json"]].concat();
        let Some(output) = boot(&crashing_kernel(), &arguments) else { return };
        let value = json(&output);
        assert_eq!(output.status.code(), Some(1), "{value:#}");
        assert_eq!(value["crashes"][0]["title"], CRASH, "{value:#}");
        assert_eq!((&value["outcome"], &value["title"]), (&"hit".into(), &CRASH.into()));
        let stopped = value["machine"]["ending"]["ending"] == "stopped";
        assert_eq!(stopped, !goes_on, "{arguments:?} {value:#}");
    };
    // Each guest that is let go on spins until its time is up.
    std::thread::scope(|scope| {
        scope.spawn(|| crash(&["--timeout", "60"], false));
        let stop = ["--timeout", "60", "--interactive=always", "--on-crash", "stop"];
        scope.spawn(move || crash(&stop, false));
        scope.spawn(|| crash(&["--timeout", "5", "--on-crash", "continue"], true));
        scope.spawn(|| crash(&["--timeout", "5", "--interactive=always"], true));
    });
}

#[test]
fn more_crashes_than_are_kept_are_counted() {
    let arguments = ["--on-crash", "continue", "--json"];
    let Some(output) = boot(&kernel_of_many_crashes(150), &arguments) else { return };
    let value = json(&output);
    let crashes = value["crashes"].as_array().unwrap();
    assert_eq!((crashes.len(), &value["crashes_seen"]), (100, &151.into()));
    let last = "kernel BUG in f";
    assert_eq!(crashes[99]["title"], last, "the first of each title is kept");
    let titles = serde_json::json!([{"title": CRASH, "count": 150}, {"title": last, "count": 1}]);
    assert_eq!(value["titles"], titles);
    let text = boot(&kernel_of_many_crashes(150), &arguments[..2]).unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("\ncrashes in all: 151, of which 100 are above\n"), "{text}");
    assert!(text.contains(&format!("\n     150 x {CRASH}\n")), "{text}");
}

#[test]
fn lines_carry_the_hosts_time_where_it_is_asked_for_and_in_json() {
    let Some(text) = boot(&tiny_kernel(), &["--timestamps"]) else { return };
    let text = String::from_utf8(text.stdout).unwrap();
    let line = text.lines().next().unwrap();
    let time = line.strip_prefix('[').and_then(|line| line.strip_suffix("] hello"));
    let time: f64 = time.unwrap_or_else(|| panic!("{line}")).trim().parse().unwrap();
    assert!(time > 0.0 && time < 60.0, "{line}");

    let output = boot(&tiny_kernel(), &["--json"]).unwrap();
    let value = json(&output);
    let [line] = &**value["console"].as_array().unwrap() else { panic!("{value:#}") };
    assert_eq!(line["text"], "hello");
    let wall_us = value["machine"]["wall_us"].as_u64().unwrap();
    assert!((1..=wall_us).contains(&line["at_us"].as_u64().unwrap()), "{value:#}");
    assert_eq!(value["console_dropped"], 0);
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.lines().any(|line| line == "hello"), "{shown}");
}
