//! Builds the program that stands for vmbisect beside other VMMs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;

/// Linked statically at a fixed address, by GNU's linker, which puts apart what only errors call: pages
/// of a shared C library are more than a third of what it touches otherwise, and relocations make copies
/// of pages. Only rustc itself can be told so for one program of a workspace.
const STATIC: [&str; 4] = [
    "-Ctarget-feature=+crt-static",
    "-Crelocation-model=static",
    "-Cpanic=abort",
    "-Clink-arg=-fuse-ld=bfd",
];

/// Builds it, statically where there is a C library for that, and says so where there is not.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    if let Some(program) = cargo(&STATIC)? {
        return Ok(program);
    }
    eprintln!(
        "what stands for vmbisect can't be linked statically, for which it takes a static C library \
         (Debian: libc6-dev, Fedora: glibc-static) and GNU's linker: with the shared one it takes \
         1 MiB more"
    );
    cargo(&[])?.context("the program that stands for vmbisect does not compile")
}

/// Has cargo build it with these flags for the program alone; none if that fails.
fn cargo(flags: &[&str]) -> anyhow::Result<Option<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo)
        .args(["rustc", "--release", "--package", "vmbisect-tests", "--example", "machine"])
        .args(["--message-format", "json-render-diagnostics", "--"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("can't run cargo")?;
    let messages = BufReader::new(cargo.stdout.take().context("no standard output")?);
    let mut program = None;
    for message in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(&message?)?;
        let executable = message.get("executable").and_then(serde_json::Value::as_str);
        program = executable.map(PathBuf::from).or(program);
    }
    let built = cargo.wait()?.success();
    Ok(program.filter(|_| built))
}
