//! The logs of real kernels in `logs/`, with what they are expected to say.
//!
//! A log has lines before it that say how it was made and what it is: `NOTE`, and `TITLE`, `KIND`,
//! `FRAME`, `FILE`, `ALT`, `CORRUPTED`, `SUPPRESSED` and `PANICKED` as a person would classify it.
//! Then comes an empty line and what the console printed, as it was printed; then a line
//! `SYMBOLIZED:` and the same reports with source lines. `examples/capture.rs` makes them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vmbisect::crash::classify;
use vmbisect::symbols::{KernelOffset, Symbolizer, Symbols};

/// What stands between a log and its reports with source lines.
const SYMBOLIZED: &str = "\nSYMBOLIZED:\n";

/// A log, and what it is expected to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Its name: what was done to the kernel.
    pub name: String,
    /// The lines before it that are no note: keys and values.
    pub expected: Vec<(String, String)>,
    /// What the console printed.
    pub text: String,
    /// The reports in it, with source lines.
    pub symbolized: String,
}

impl Log {
    /// The values of a key.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.expected.iter().filter(move |(known, _)| known == key).map(|(_, value)| &**value)
    }
}

/// The directory of logs.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("logs")
}

/// Where the log of a bug is.
pub fn path(name: &str) -> PathBuf {
    directory().join(name).with_extension("log")
}

/// All logs, by name.
///
/// # Errors
/// Fails if one can't be read.
pub fn all() -> anyhow::Result<Vec<Log>> {
    let mut logs = Vec::new();
    for entry in directory().read_dir().context("the directory of logs")? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "log") {
            logs.push(read(&path)?);
        }
    }
    logs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(logs)
}

/// Reads a log.
///
/// # Errors
/// Fails if it can't be read.
pub fn read(path: &Path) -> anyhow::Result<Log> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (header, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let expected = header.lines().filter_map(|line| line.split_once(": "));
    let expected = expected.filter(|(key, _)| *key != "NOTE");
    let (text, symbolized) = rest.split_once(SYMBOLIZED).unwrap_or((rest, ""));
    Ok(Log {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        expected: expected.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        text: text.to_owned(),
        symbolized: symbolized.to_owned(),
    })
}

/// Writes a log; what is expected of it stays as it is.
///
/// # Errors
/// Fails if it can't be written.
pub fn write(name: &str, note: &str, text: &str, symbolized: &str) -> anyhow::Result<PathBuf> {
    let path = path(name);
    let known = if path.exists() { read(&path)? } else { Log::default() };
    let mut all = format!("NOTE: {note}\n");
    for (key, value) in &known.expected {
        all.push_str(&format!("{key}: {value}\n"));
    }
    all.push_str(&format!("\n{text}{SYMBOLIZED}{symbolized}"));
    fs::write(&path, all).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// The reports in a log, with the source lines that a vmlinux has.
///
/// # Errors
/// Fails if the vmlinux can't be read.
pub fn symbolized(text: &str, vmlinux: &Path) -> anyhow::Result<String> {
    let symbolizer = Symbolizer::new(Symbols::open(vmlinux)?);
    let mut offset = KernelOffset::default();
    offset.push(text.as_bytes());
    let crashes = classify(text.as_bytes());
    Ok(crashes.iter().map(|crash| symbolizer.report(&crash.report, offset.get()).text).collect())
}
