//! Trials through a command of the user's, such as `ssh host vmbisect worker`.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use super::connection::{SILENCE, Start};
use super::remote::{Place, Remote};
use super::tether::tethered;
use super::{LaunchError, Launcher};
use crate::cancel::Cancel;
use crate::temp::TempRoom;
use crate::trial::{Job, TrialEvent, TrialReport};

/// How long a worker may take to say hello: a scheduler may have to place it first.
const HELLO_PATIENCE: Duration = Duration::from_secs(600);

/// Runs trials in a worker that a shell command starts.
pub struct Command(Remote<Shell>);

struct Shell {
    line: String,
    program: Option<PathBuf>,
}

impl Command {
    /// A launcher that will run `line` with `sh -c`; what it starts must speak the worker protocol
    /// on its standard streams, as `vmbisect worker` does.
    ///
    /// `program` is a `vmbisect` program for this machine; none is the one that runs.
    pub fn new(line: impl Into<String>, program: Option<PathBuf>) -> Command {
        Command(Remote::new(Shell { line: line.into(), program }))
    }
}

impl Launcher for Command {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn capacity(&self, memory_mib: u64, per_cpu: NonZeroUsize, cancel: &Cancel) -> usize {
        self.0.capacity(memory_mib, per_cpu, cancel)
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        self.0.run(job, on_event, cancel)
    }
}

impl Place for Shell {
    fn name(&self) -> String {
        format!("command {}", self.line)
    }

    fn hint(&self) -> &'static str {
        "check that the command starts `vmbisect worker` there"
    }

    fn size(&self) -> Option<(usize, u64)> {
        None
    }

    fn start(&self, _cancel: &Cancel) -> Result<Start, LaunchError> {
        let failed = |error: std::io::Error| LaunchError::Remote {
            launcher: self.name(),
            reason: error.to_string(),
            hint: self.hint(),
        };
        let directory = TempRoom::new("command");
        let directory = directory.map_err(failed)?;
        let errors = directory.path().join("stderr.log");
        let mut shell = Process::new("sh");
        shell.arg("-c").arg(&self.line);
        let running = PathBuf::from("/proc/self/exe");
        let mut command = tethered(self.program.as_ref().unwrap_or(&running), &shell);
        command.stderr(Stdio::from(File::create(&errors).map_err(failed)?));
        Ok(Start {
            command,
            patience: HELLO_PATIENCE,
            silence: SILENCE,
            logs: vec![errors],
            keep: Some(directory),
        })
    }
}
