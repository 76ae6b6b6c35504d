//! Compiles PID 1, which can't be a target of cargo's: it has no `std`, no libc and no `main`,
//! and is linked statically whatever the rest of the workspace is. Also the one for i386, in C: Rust
//! comes without anything to compile for that.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[allow(dead_code, unreachable_pub)] // what both PID 1 need to be told is in it
#[path = "src/shared/mod.rs"]
mod shared;

use shared::arguments::{self, MAX_ARGUMENTS, MAX_BYTES};
use shared::cmdline::MAX_NONCE;
use shared::message::{
    AGENT_PORT, AGENT_PORT_MAGIC, MAX_LINE, NONCE_PARAMETER, PREFIX, TERMINAL_PARAMETER, fact,
};

/// For a program that stands for itself. `-Os`, since it is part of every archive.
const I386_FLAGS: &[&str] = &[
    "-m32",
    "-std=gnu11",
    "-Os",
    "-Wall",
    "-Wextra",
    "-ffreestanding",
    "-fno-builtin",
    "-nostdlib",
    "-static",
    "-fno-pic",
    "-no-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-s",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error={reason}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let target = variable("TARGET")?;
    if variable("CARGO_CFG_TARGET_ARCH")? != "x86_64" || variable("CARGO_CFG_TARGET_OS")? != "linux"
    {
        return Err(format!("guests are x86-64 Linux, and PID 1 can't be built for {target}"));
    }
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let directory = PathBuf::from(variable("OUT_DIR")?);
    let output = directory.join("init");

    let mut rustc = Command::new(variable("RUSTC")?);
    rustc
        .current_dir(&package)
        .args(["--crate-name", "init", "--crate-type", "bin", "--edition", "2024"])
        .args(["--target", &target])
        .args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "codegen-units=1"])
        .args(["-C", "strip=symbols", "-C", "relocation-model=static"])
        .args(["-C", "target-feature=+crt-static"])
        .args(["-C", "link-args=-nostartfiles -nostdlib -static"])
        .arg("--remap-path-prefix")
        .arg(format!("{}=guest-init", package.display()))
        .arg("-o")
        .arg(&output)
        .arg("src/init/main.rs");
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    println!("cargo::rerun-if-changed=src/init");
    println!("cargo::rerun-if-changed=src/shared");

    let result =
        rustc.output().map_err(|error| format!("can't run {:?}: {error}", rustc.get_program()))?;
    let said = String::from_utf8_lossy(&result.stderr);
    if !result.status.success() {
        eprintln!("{said}");
        return Err("PID 1 does not compile; the compiler's messages are above".into());
    }
    said.lines().for_each(|line| println!("cargo::warning={line}"));
    let output = directory.join("init-i386");
    if let Err(reason) = build_i386(&package, &output) {
        println!("cargo::warning=32-bit kernels will have no PID 1: {reason}");
        std::fs::write(&output, []).map_err(|error| format!("{}: {error}", output.display()))?;
    }
    Ok(())
}

/// Compiles the PID 1 of 32-bit kernels, for which the compiler needs neither headers nor libraries.
fn build_i386(package: &Path, output: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed=src/init_i386");
    println!("cargo::rerun-if-env-changed=CC");
    let number = |name: &str, value: usize| format!("-D{name}={value}");
    let string = |name: &str, value: &str| format!("-D{name}=\"{value}\"");
    let block = arguments::PATH.to_str().map_err(|error| error.to_string())?;
    let cc = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = cc.split_whitespace();
    let mut compiler = Command::new(words.next().unwrap_or("cc"));
    compiler
        .current_dir(package)
        .args(words)
        .args(I386_FLAGS)
        .arg(number("AGENT_PORT", AGENT_PORT.into()))
        .arg(number("AGENT_PORT_MAGIC", AGENT_PORT_MAGIC.into()))
        .arg(number("MAX_LINE", MAX_LINE))
        .arg(number("MAX_NONCE", MAX_NONCE))
        .arg(number("MAX_BLOCK", MAX_BYTES))
        .arg(number("MAX_ARGUMENTS", MAX_ARGUMENTS))
        .arg(string("PREFIX", PREFIX))
        .arg(string("NONCE_PARAMETER", NONCE_PARAMETER))
        .arg(string("TERMINAL_PARAMETER", TERMINAL_PARAMETER))
        .arg(string("BLOCK", block))
        .arg(string("FACT_CPUS", fact::CPUS))
        .arg(string("FACT_RELEASE", fact::RELEASE))
        .arg(string("FACT_PV_SPINLOCKS", fact::PV_SPINLOCKS))
        .arg("-o")
        .arg(output)
        .arg("src/init_i386/init.c");
    let result = compiler.output().map_err(|error| format!("can't run `{cc}`: {error}"))?;
    let said = String::from_utf8_lossy(&result.stderr);
    match result.status.success() {
        true => {
            said.lines().for_each(|line| println!("cargo::warning={line}"));
            Ok(())
        }
        false => Err(format!("`{cc} -m32` failed: {}", said.lines().next().unwrap_or_default())),
    }
}
