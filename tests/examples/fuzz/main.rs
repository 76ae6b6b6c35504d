//! Runs the fuzz targets of `tests/fuzz`, each for some minutes, from seeds that it makes.
//!
//! `cargo run -p vmbisect-tests --example fuzz -- --minutes 5 [TARGET…]`; it takes cargo-fuzz, a nightly
//! compiler (or `RUSTC_BOOTSTRAP=1`) and some minutes for the first build. What libFuzzer learns is kept
//! in `tests/fuzz/corpus`, minimized after each run and cut to `--corpus-mib`; an input that breaks
//! something in `tests/fuzz/artifacts`.
//!
//! The seeds are what a fuzzer hardly finds by itself: images with their checksum right, payloads of
//! all seven compressions, memory with page tables, a log and unwind tables in it.

mod seeds;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};
use clap::Parser;

use seeds::Seed;

/// A fuzz target: its seeds, and the longest input that makes sense.
struct Target {
    name: &'static str,
    seeds: fn() -> anyhow::Result<Vec<Seed>>,
    longest: usize,
    features: Option<&'static str>,
}

const TARGETS: [Target; 6] = [
    Target { name: "image", seeds: seeds::image, longest: 64 << 10, features: None },
    Target { name: "payload", seeds: seeds::payload, longest: 16 << 10, features: None },
    Target { name: "ports", seeds: seeds::ports, longest: 8 << 10, features: None },
    Target { name: "kernel_log", seeds: seeds::kernel_log, longest: 128 << 10, features: None },
    Target { name: "unwind", seeds: seeds::unwind, longest: 128 << 10, features: None },
    Target {
        name: "classify",
        seeds: seeds::classify,
        longest: 16 << 10,
        features: Some("classify"),
    },
];

/// Runs the fuzz targets.
#[derive(Debug, Parser)]
struct Args {
    /// Only these
    targets: Vec<String>,

    /// Minutes for each
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,

    /// What is kept of each corpus, in MiB
    #[arg(long, default_value_t = 16)]
    corpus_mib: u64,

    /// Only make the seeds
    #[arg(long)]
    seeds_only: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(name) = args.targets.iter().find(|name| TARGETS.iter().all(|it| it.name != **name))
    {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        anyhow::bail!("no target is called {name:?}: there are {}", known.join(", "));
    }
    let wanted = |target: &&Target| {
        args.targets.is_empty() || args.targets.iter().any(|name| name == target.name)
    };
    let mut results = Vec::new();
    for target in TARGETS.iter().filter(wanted) {
        let corpus = directory().join("corpus").join(target.name);
        let seeds = (target.seeds)()?;
        fs::create_dir_all(&corpus)?;
        for seed in &seeds {
            fs::write(corpus.join(format!("seed-{}", seed.name)), &seed.bytes)?;
        }
        println!("{}: {} seeds", target.name, seeds.len());
        if args.seeds_only {
            continue;
        }
        let ran = run(target, (args.minutes * 60.0).ceil() as u64)?;
        if ran.status.success() {
            bound(target, &corpus, args.corpus_mib << 20)?;
        }
        results.push((target.name, ran, size(&corpus)?));
    }
    if args.seeds_only {
        return Ok(());
    }
    println!("\n| target | inputs tried | branches seen | corpus | found |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, ran, size) in &results {
        let found = if ran.status.success() { "nothing" } else { "see above" };
        let kib = size.div_ceil(1024);
        println!("| {name} | {} | {} | {kib} KiB | {found} |", ran.tried, ran.coverage);
    }
    let bad = results.iter().filter(|(_, ran, _)| !ran.status.success()).count();
    ensure!(bad == 0, "{bad} targets found something: the inputs are in tests/fuzz/artifacts");
    Ok(())
}

/// What came of a run.
struct Ran {
    status: ExitStatus,
    tried: String,
    coverage: String,
}

fn run(target: &Target, seconds: u64) -> anyhow::Result<Ran> {
    let mut command = cargo_fuzz("run", target);
    command.args(["--", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096"]);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={}", target.longest));
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo can't be run: the targets take cargo-fuzz (cargo install cargo-fuzz)")?;
    let mut ran = Ran { status: ExitStatus::default(), tried: "0".into(), coverage: "?".into() };
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if let Some((_, count)) = line.split_once("stat::number_of_executed_units:") {
                ran.tried = count.trim().to_owned();
            }
            let mut words = line.split_whitespace().skip_while(|word| *word != "cov:");
            if let Some(coverage) = words.nth(1) {
                ran.coverage = coverage.to_owned();
            }
            // Each input that is better than the others has a line, thousands in a run.
            if !["NEW ", "REDUCE ", "RELOAD "].iter().any(|event| line.contains(event)) {
                eprintln!("{line}");
            }
        }
    }
    ran.status = child.wait()?;
    Ok(ran)
}

/// Keeps of a corpus what sees something that nothing else sees, and of that, the smallest inputs.
fn bound(target: &Target, corpus: &Path, most: u64) -> anyhow::Result<()> {
    let mut minimize = cargo_fuzz("cmin", target);
    minimize.args(["--", &format!("-max_len={}", target.longest)]);
    let status = minimize.stderr(Stdio::null()).status()?;
    ensure!(status.success(), "the corpus of {} can't be minimized", target.name);
    let mut files = Vec::new();
    for file in fs::read_dir(corpus)? {
        let file = file?;
        files.push((file.metadata()?.len(), file.path()));
    }
    files.sort();
    let mut kept = 0;
    for (size, path) in files {
        kept += size;
        if kept > most {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn size(corpus: &Path) -> anyhow::Result<u64> {
    let sizes = fs::read_dir(corpus)?.map(|file| Ok(file?.metadata()?.len()));
    sizes.sum()
}

fn cargo_fuzz(what: &str, target: &Target) -> Command {
    let mut command = Command::new("cargo");
    if std::env::var_os("RUSTC_BOOTSTRAP").is_none() {
        command.arg("+nightly");
    }
    command.args(["fuzz", what]);
    if let Some(features) = target.features {
        command.args(["--features", features]);
    }
    // Its own workspace, where neither this one's build directory nor its compiler is to be used.
    let package = env!("CARGO_MANIFEST_DIR");
    command.arg(target.name).current_dir(package).env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}
