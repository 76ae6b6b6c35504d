//! `vmbisect doctor` as a user meets it, on whatever machine this is.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

use std::process::{Command, Output};

use serde_json::Value;

fn doctor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmbisect"));
    command.arg("doctor").args(arguments);
    command
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn lines(output: &Output) -> Vec<&str> {
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

#[test]
fn it_says_what_this_machine_can_do_in_text_and_in_json() {
    let (text, report) = (doctor(&[]).output().unwrap(), doctor(&["--json"]).output().unwrap());
    let value = json(&report);
    let lines = lines(&text);
    let line = |start: &str| lines.iter().find(|line| line.starts_with(start)).copied();
    let host = vmm::host::inspect();
    assert_eq!(line("verdict: "), Some(&*format!("verdict: {}", host.verdict)));
    assert_eq!(value["host"]["verdict"], serde_json::to_value(&host.verdict).unwrap());
    assert_eq!(value["host"]["hidden"], serde_json::to_value(&host.hidden).unwrap());
    let hidden = format!("CPU features hidden from guests: {}", host.hidden.join(", "));
    assert_eq!(lines.contains(&&*hidden), !host.hidden.is_empty(), "{lines:#?}");
    assert!(line("trials run: ").is_some(), "{lines:#?}");

    // What only some configurations need is named, and does not count.
    let counts = |tool: &serde_json::Value| tool["path"].is_null() && tool["options"].is_null();
    let missing = value["tools"].as_array().unwrap().iter().any(counts);
    let nowhere = value["launcher"]["error"].is_string();
    let status = Some(i32::from(missing || nowhere));
    assert_eq!((text.status.code(), report.status.code()), (status, status), "{value:#}");
    assert_eq!(value["install"].is_string(), missing, "{value:#}");

    // Only what has run has a cost.
    let costs = value["costs"].as_array().unwrap();
    let usable = matches!(host.kvm, vmm::host::KvmState::Ok { .. });
    assert_eq!(costs.len(), usize::from(usable), "{costs:?}");
    for cost in costs.iter().filter(|cost| cost["error"].is_null()) {
        let ms = |key: &str| cost[key].as_f64().unwrap();
        assert!(ms("first_byte_ms") > 0.0 && ms("first_byte_ms") <= ms("trial_ms"), "{cost}");
    }
}

/// Where they are one, what is looked at behind PATH has everything.
fn sbin_is_bin() -> bool {
    let place = |path| std::fs::canonicalize(path).ok();
    place("/usr/sbin").is_some() && place("/usr/sbin") == place("/usr/bin")
}

#[test]
fn where_nothing_is_installed_all_of_it_is_missing() {
    if sbin_is_bin() {
        return eprintln!(
            "skipped: /usr/sbin is /usr/bin here, so that tools are found without PATH"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let output = doctor(&["--json"]).env("PATH", empty.path()).output().unwrap();
    let value = json(&output);
    let tools = value["tools"].as_array().unwrap();
    for name in ["git", "make", "flex"] {
        let tool = tools.iter().find(|tool| tool["name"] == name);
        let tool = tool.unwrap_or_else(|| panic!("no {name} in {tools:?}"));
        assert!(tool["path"].is_null(), "{tool}");
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(value["install"].as_str().unwrap().contains("flex"), "{value:#}");
    let text = doctor(&[]).env("PATH", empty.path()).output().unwrap();
    let missing = lines(&text).into_iter().find(|line| line.starts_with("tool: flex"));
    let missing = missing.unwrap_or_else(|| panic!("{text:?}"));
    assert!(missing.contains("missing") && missing.contains("(package flex)"), "{missing}");
}

#[test]
fn of_what_some_kernels_need_a_configuration_says_which() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::write(&config, "CONFIG_KERNEL_ZSTD=y\n# CONFIG_DEBUG_INFO_BTF is not set\n").unwrap();
    let names = |arguments: &[&str]| -> Vec<String> {
        let value = json(&doctor(arguments).arg("--json").output().unwrap());
        let tools = value["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let has = |names: &[String], name: &str| names.iter().any(|it| it == name);
    let all = names(&[]);
    assert!(has(&all, "zstd") && has(&all, "pahole") && has(&all, "lzop"), "{all:?}");
    let some = names(&["--config", config.to_str().unwrap()]);
    assert!(has(&some, "zstd") && has(&some, "make"), "{some:?}");
    assert!(!has(&some, "pahole") && !has(&some, "lzop"), "{some:?}");
    let nothing = doctor(&["--config", "/nowhere/config"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(said.contains("can't read the configuration /nowhere/config"), "{said}");
    // A file that is none would need nothing.
    std::fs::write(&config, "root:x:0:0\n").unwrap();
    let none = doctor(&["--config", config.to_str().unwrap()]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.contains("line 1: not a kernel configuration"), "{said}");
}
