//! git_bayesect, asked itself: the Python program, where it is installed.
//!
//! It follows first parents only, takes the candidates for a line, and tries a commit once before
//! it thinks again, whatever a build takes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Answer;
use crate::cancel::Cancel;
use crate::history::{Graph, Rev};
use crate::simulate::SimulateError;
use crate::simulate::world::Lab;

const SCRIPT: &str = include_str!("bayesect.py");

/// The share of the probability at which `git bayesect run` stops.
const CONFIDENT: f64 = 0.95;

/// The program at work.
#[derive(Debug)]
pub(in crate::simulate) struct Bayesect {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What it would do.
struct Advice {
    next: usize,
    likeliest: usize,
    probability: f64,
}

impl Bayesect {
    /// Starts it: with the `python3` on the PATH or, where that one lacks it, with the interpreter
    /// of the `git-bayesect` on the PATH, which may have an environment of its own.
    pub(in crate::simulate) fn start() -> Result<Bayesect, SimulateError> {
        let mut said = String::new();
        for python in std::iter::once(PathBuf::from("python3")).chain(interpreter()) {
            match Bayesect::start_with(&python) {
                Ok(bayesect) => return Ok(bayesect),
                Err(error) => said = format!("{}: {error}", python.display()),
            }
        }
        Err(SimulateError::NoBayesect { said })
    }

    fn start_with(python: &Path) -> Result<Bayesect, String> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no pipes".into());
        };
        let mut bayesect = Bayesect { child, input, output: BufReader::new(output) };
        match bayesect.line() {
            Ok(line) if line.trim() == "ready" => Ok(bayesect),
            _ => Err("it can't import git_bayesect and numpy".into()),
        }
    }

    fn line(&mut self) -> Result<String, SimulateError> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err(SimulateError::Bayesect { reason: "it ended".into() }),
            Ok(_) => Ok(line),
            Err(error) => Err(SimulateError::Bayesect { reason: error.to_string() }),
        }
    }

    fn ask(&mut self, question: &str) -> Result<Advice, SimulateError> {
        writeln!(self.input, "{question}")
            .map_err(|error| SimulateError::Bayesect { reason: error.to_string() })?;
        let line = self.line()?;
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (next, likeliest, probability) = (word().parse(), word().parse(), word().parse());
        match (next, likeliest, probability) {
            (Ok(next), Ok(likeliest), Ok(probability)) => {
                Ok(Advice { next, likeliest, probability })
            }
            _ => Err(SimulateError::Bayesect { reason: format!("it said {line:?}") }),
        }
    }
}

impl Drop for Bayesect {
    fn drop(&mut self) {
        // It has nothing to lose, and may be in the middle of an answer.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter that the `git-bayesect` on the PATH names in its first line.
fn interpreter() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let script = std::env::split_paths(&path)
        .map(|directory| directory.join("git-bayesect"))
        .find(|program| program.is_file())?;
    let text = std::fs::read(script).ok()?;
    let first = text.split(|&byte| byte == b'\n').next()?;
    let interpreter = std::str::from_utf8(first.strip_prefix(b"#!")?).ok()?.trim();
    interpreter.starts_with('/').then(|| PathBuf::from(interpreter))
}

/// Follows it to its end; `None` if cancelled.
pub(super) fn follow(
    lab: &mut Lab<'_>,
    bayesect: &mut Bayesect,
    cancel: &Cancel,
) -> Result<Option<Answer>, SimulateError> {
    let line = first_parents(&lab.world.graph);
    let at = |index: usize| line.get(index).copied();
    let mut advice = bayesect.ask(&format!("start {}", line.len()))?;
    let mut skipped = std::collections::HashSet::new();
    let claim = |advice: &Advice| {
        // The last of the line is the good tip: it would mean that the bug is older.
        let blamed = at(advice.likeliest).filter(|rev| line.last() != Some(rev));
        blamed.map(|rev| (rev, advice.probability))
    };
    while advice.probability < CONFIDENT {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let Some(rev) = at(advice.next) else { break };
        let showed = if !lab.build(rev) {
            // What it skips it may ask for again, for ever.
            if !skipped.insert(rev) {
                return Ok(Some(Answer { named: None, claim: claim(&advice) }));
            }
            "skip"
        } else if lab.run(rev, 1).clean == 1 {
            "no"
        } else {
            "yes"
        };
        advice = bayesect.ask(&format!("{} {showed}", advice.next))?;
    }
    let claim = claim(&advice);
    Ok(Some(Answer { named: claim.map(|(rev, _)| rev), claim }))
}

/// The bad tip, its first parent, and so on; last the first revision that is no candidate.
fn first_parents(graph: &Graph) -> Vec<Rev> {
    let mut line: Vec<Rev> = graph.bad_tip().into_iter().collect();
    while let Some(&rev) = line.last()
        && let Some(&parent) = graph.parents(rev).first()
    {
        line.push(parent);
    }
    line
}
