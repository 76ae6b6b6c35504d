//! The corpus of console logs with known crashes: how to find it, read it, and score against it.
//!
//! It is data to check against and not part of the project: it is looked for beside the workspace,
//! or where `VMBISECT_CORPUS` says.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use vmbisect::crash::{Crash, classify};

/// Where the corpus is, if it is anywhere.
pub fn find() -> Option<PathBuf> {
    let directory = match std::env::var_os("VMBISECT_CORPUS") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
    };
    directory.join("report").is_dir().then_some(directory)
}

/// A log and what is known of it.
#[derive(Debug, Default)]
pub struct Case {
    /// The name of its file.
    pub name: String,
    /// The expected title; `None` where there is no crash.
    pub title: Option<String>,
    /// Other titles, sorted.
    pub alts: Vec<String>,
    /// The kind, in the field's words.
    pub kind: Option<String>,
    /// The function that the title names.
    pub frame: Option<String>,
    /// The report's first line.
    pub start: Option<String>,
    /// The report's last line, if it is not the first.
    pub end: Option<String>,
    /// Whether the log is damaged.
    pub corrupted: bool,
    /// Whether it is no kernel bug.
    pub suppressed: bool,
    /// Whether the kernel panicked.
    pub panicked: bool,
    /// The test process that ran.
    pub executor: Option<String>,
    /// The log.
    pub log: String,
    /// The exact report.
    pub report: Option<String>,
}

/// Reads all cases of the corpus.
///
/// # Errors
///
/// A file can't be read.
pub fn reports(corpus: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in files(&corpus.join("report"))? {
        let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        cases.push(parse(name(&path), &text));
    }
    Ok(cases)
}

/// A report and the source file that is to blame for it.
#[derive(Debug)]
pub struct Guilty {
    /// The name of its file.
    pub name: String,
    /// The source file; `None` where the report tells of none.
    pub file: Option<String>,
    /// The report.
    pub report: String,
}

/// Reads all cases of files to blame.
///
/// # Errors
///
/// A file can't be read.
pub fn guilty(corpus: &Path) -> anyhow::Result<Vec<Guilty>> {
    let mut cases = Vec::new();
    for path in files(&corpus.join("guilty"))? {
        let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (header, log) = text.split_once("\n\n").unwrap_or((&text, ""));
        let file = header.trim().trim_start_matches("FILE:").trim().to_owned();
        let file = Some(file).filter(|file| !file.is_empty());
        cases.push(Guilty { name: name(&path), file, report: log.to_owned() });
    }
    Ok(cases)
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("can't read the directory {}", directory.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort_by_key(|path| name(path).parse::<u32>().unwrap_or(u32::MAX));
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn parse(name: String, text: &str) -> Case {
    let mut case = Case { name, ..Case::default() };
    let mut rest = text;
    while let Some((line, behind)) = rest.split_once('\n') {
        rest = behind;
        if line.is_empty() {
            break;
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match key {
            "TITLE" => case.title = Some(value),
            "ALT" => case.alts.push(value),
            "TYPE" => case.kind = Some(value),
            "FRAME" => case.frame = Some(value),
            "START" => case.start = Some(value),
            "END" => case.end = Some(value),
            "EXECUTOR" => case.executor = Some(value),
            "CORRUPTED" => case.corrupted = value == "Y",
            "SUPPRESSED" => case.suppressed = value == "Y",
            "PANICKED" => case.panicked = value == "Y",
            _ => {}
        }
    }
    case.alts.sort();
    match rest.split_once("\nREPORT:\n") {
        Some((log, report)) => {
            case.log = log.to_owned();
            case.report = Some(report.to_owned());
        }
        None => case.log = rest.to_owned(),
    }
    case
}

/// How many cases were right, by what was asked, and what was wrong with the others.
#[derive(Debug, Default)]
pub struct Score {
    /// For each question how many answers were right, and how many there were.
    pub totals: BTreeMap<&'static str, (usize, usize)>,
    /// The wrong ones: which case, which question, what was expected, what came.
    pub misses: Vec<(String, &'static str, String, String)>,
}

impl Score {
    /// The share of right answers to a question, from 0 to 1.
    pub fn share(&self, question: &str) -> f64 {
        match self.totals.get(question) {
            Some(&(right, all)) if all > 0 => right as f64 / all as f64,
            _ => 1.0,
        }
    }

    fn check(&mut self, case: &str, question: &'static str, want: String, got: String) {
        let (right, all) = self.totals.entry(question).or_default();
        *all += 1;
        if want == got {
            *right += 1;
        } else {
            self.misses.push((case.to_owned(), question, want, got));
        }
    }
}

/// Classifies all cases and counts what is right.
pub fn score<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Score {
    let mut score = Score::default();
    for case in cases {
        let crashes = classify(case.log.as_bytes());
        one(&mut score, case, crashes.first());
    }
    score
}

/// Looks for the file to blame in all cases and counts what is right.
pub fn score_guilty(cases: &[Guilty], score: &mut Score) {
    for case in cases {
        let crashes = classify(case.report.as_bytes());
        let got = crashes.first().and_then(|crash| crash.guilty_file.clone());
        let want = case.file.clone().unwrap_or_default();
        score.check(&case.name, "guilty file", want, got.unwrap_or_default());
    }
}

fn one(score: &mut Score, case: &Case, crash: Option<&Crash>) {
    let title = crash.map(|crash| crash.title.clone());
    let Some(want) = &case.title else {
        score.check(&case.name, "no false alarm", String::new(), title.unwrap_or_default());
        return;
    };
    score.check(&case.name, "title", want.clone(), title.unwrap_or_default());
    let Some(crash) = crash else { return };
    score.check(&case.name, "alts", case.alts.join("; "), {
        let mut alts = crash.alt_titles.clone();
        alts.sort();
        alts.join("; ")
    });
    let kind = case.kind.clone().unwrap_or_else(|| "UNKNOWN".to_owned());
    score.check(&case.name, "kind", kind, crash.kind.to_string());
    score.check(
        &case.name,
        "corrupted",
        case.corrupted.to_string(),
        match &crash.corrupted {
            Some(_) if case.corrupted => "true".to_owned(),
            Some(why) => why.clone(),
            None => "false".to_owned(),
        },
    );
    let suppressed = crash.suppressed.to_string();
    score.check(&case.name, "suppressed", case.suppressed.to_string(), suppressed);
    score.check(&case.name, "panicked", case.panicked.to_string(), crash.panicked.to_string());
    let executor = crash.executor.map(|ran| format!("proc={}, id={}", ran.proc, ran.id));
    let want = case.executor.clone().unwrap_or_default();
    score.check(&case.name, "executor", want, executor.unwrap_or_default());
    if let Some(frame) = &case.frame {
        let got = crash.frame.clone().unwrap_or_default();
        score.check(&case.name, "frame", frame.clone(), got);
    }
    if let Some(start) = &case.start {
        let got = case.log.get(crash.start as usize..).unwrap_or_default();
        let line = got.lines().next().unwrap_or_default();
        score.check(&case.name, "start", start.clone(), line.to_owned());
    }
    if let Some(report) = &case.report {
        let got = crash.report.trim().to_owned();
        score.check(&case.name, "report", report.trim().to_owned(), got);
    }
}
