//! Compiles PID 1, which can't be a target of cargo's: it has no `std`, no libc and no `main`,
//! and is linked statically whatever the rest of the workspace is.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

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
    let output = PathBuf::from(variable("OUT_DIR")?).join("init");

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
    Ok(())
}
