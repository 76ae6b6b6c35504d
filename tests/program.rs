//! The program itself, run as a user runs it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::fixture;

/// A command that runs `vmbisect`, with its cache among the fixtures.
///
/// # Panics
/// If the program has not been built, which `cargo test` at the top of the workspace does.
pub fn vmbisect() -> Command {
    let mut command = Command::new(path());
    command.env(vmbisect::cache::CACHE_VARIABLE, cache()).env("LC_ALL", "C");
    command
}

/// The cache directory of the program.
///
/// # Panics
/// If there is no directory for fixtures.
pub fn cache() -> PathBuf {
    fixture::directory().expect("a directory for fixtures").join("cache")
}

/// Where `vmbisect` is: cargo puts it above tests and examples.
///
/// # Panics
/// If it has not been built.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("where this test is");
    let program: Option<PathBuf> = test.ancestors().nth(2).map(|dir| dir.join("vmbisect"));
    let program = program.filter(|path| path.is_file());
    program.expect("vmbisect is not built: run `cargo build` first")
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// If it can't be started.
pub fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("vmbisect runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A command that runs, and what it says on standard error.
pub struct Running {
    child: Child,
    said: Box<dyn Iterator<Item = String>>,
}

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(command: &mut Command) -> Running {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("vmbisect runs");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        Running { child, said: Box::new(stderr.lines().map_while(Result::ok)) }
    }

    /// Waits until it has said such a line; `false` if it ended without.
    pub fn says(&mut self, such: impl Fn(&str) -> bool) -> bool {
        self.said.any(|line| such(&line))
    }

    /// Sends it SIGINT: its exit status, and the last line that it said from then on.
    ///
    /// # Panics
    /// If it has ended and can't be sent one.
    pub fn interrupt(mut self) -> (Option<i32>, Option<String>) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let last = self.said.last();
        (self.child.wait().expect("it ends").code(), last)
    }
}
