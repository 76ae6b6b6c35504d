//! The other end of a launcher: runs the jobs that come in, in this process.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use thiserror::Error;

use super::super::{Job, Terminal, TrialEvent, with_causes};
use super::InProcess;
use super::wire::{self, HEARTBEAT, Hello, PROTOCOL, Reply, Request, WireError};
use crate::cancel::Cancel;

/// Why a worker stopped before its input ended.
#[derive(Debug, Error)]
#[error("can't serve the launcher")]
pub struct WorkerError(#[from] WireError);

impl From<io::Error> for WorkerError {
    fn from(error: io::Error) -> WorkerError {
        WorkerError(error.into())
    }
}

/// Runs the jobs that come in on `input` and says on `output` what happens, until the input ends.
///
/// Files that are put are kept in `directory` and are the only ones that a job can name. Trials
/// that still run at the end are stopped.
///
/// # Errors
/// Fails if either stream breaks, the input is not of the protocol, or a file can't be kept.
pub fn serve(
    input: impl Read,
    output: impl Write + Send,
    directory: &Path,
) -> Result<(), WorkerError> {
    let worker = Worker {
        output: Mutex::new(output),
        trials: Mutex::new(HashMap::new()),
        launcher: InProcess::new(),
        directory,
    };
    worker.send(&Reply::Hello(hello(&worker.launcher)))?;
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let worker = &worker;
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(HEARTBEAT) {
                let trials = worker.trials().len();
                if worker.send(&Reply::Heartbeat { trials }).is_err() {
                    break;
                }
            }
        });
        let result = worker.read(&mut BufReader::new(input), scope);
        drop(stop);
        let trials: Vec<Trial> = worker.trials().values().cloned().collect();
        trials.iter().for_each(|trial| trial.cancel.cancel());
        result.map_err(WorkerError::from)
    })
}

/// A trial under way, as its launcher reaches it.
#[derive(Clone)]
struct Trial {
    cancel: Cancel,
    terminal: Option<Terminal>,
}

struct Worker<'a, W> {
    output: Mutex<W>,
    trials: Mutex<HashMap<u64, Trial>>,
    launcher: InProcess,
    directory: &'a Path,
}

impl<W: Write + Send> Worker<'_, W> {
    fn read<'scope, 'env>(
        &'env self,
        input: &mut impl BufRead,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), WireError> {
        while let Some(request) = wire::receive(input)? {
            match request {
                Request::Put { name, bytes } => self.put(&name, bytes, input)?,
                Request::Forget { name } => std::fs::remove_file(self.file(&name)?)?,
                Request::Cancel(id) => {
                    let trial = self.trials().get(&id).cloned();
                    if let Some(trial) = trial {
                        trial.cancel.cancel();
                    }
                }
                // A trial that has ended meanwhile has no console any more.
                Request::Input { id, bytes } => {
                    let terminal = self.trials().get(&id).and_then(|trial| trial.terminal.clone());
                    if let Some(terminal) = terminal {
                        terminal.send(&bytes);
                    }
                }
                Request::Job(job) => {
                    let cancel = Cancel::new();
                    let trial = Trial { cancel: cancel.clone(), terminal: job.terminal.clone() };
                    self.trials().insert(job.id, trial);
                    thread::Builder::new().name(format!("trial {}", job.id)).spawn_scoped(
                        scope,
                        move || {
                            self.run(&job, &cancel);
                            self.trials().remove(&job.id);
                        },
                    )?;
                }
            }
        }
        Ok(())
    }

    fn put(&self, name: &str, bytes: u64, input: &mut impl BufRead) -> Result<(), WireError> {
        let mut file = std::fs::File::create(self.file(name)?)?;
        if io::copy(&mut input.take(bytes), &mut file)? != bytes {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn run(&self, job: &Job, cancel: &Cancel) {
        // A launcher that is gone ends the input as well, and that ends this trial.
        let mut on_event = |event: TrialEvent| {
            let _ = self.send(&Reply::Trial { id: job.id, event });
        };
        let (reason, hint) = match self.localise(job) {
            // The symbols are where the launcher is.
            Ok(job) => match self.launcher.observe(&job, &mut on_event, cancel) {
                Ok(report) => return on_event(TrialEvent::Done(Box::new(report))),
                Err(error) => (with_causes(&error), error.hint().to_owned()),
            },
            Err(error) => (error.to_string(), "put the job's files first".to_owned()),
        };
        let _ = self.send(&Reply::Failed { id: job.id, reason, hint });
    }

    /// The job with its files where they were put.
    fn localise(&self, job: &Job) -> Result<Job, WireError> {
        let kernel = self.file(&job.kernel.to_string_lossy())?;
        let initramfs = self.file(&job.initramfs.to_string_lossy())?;
        Ok(Job { kernel, initramfs, ..job.clone() })
    }

    fn file(&self, name: &str) -> Result<PathBuf, WireError> {
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain {
            return Err(WireError::Name(name.to_owned()));
        }
        Ok(self.directory.join(name))
    }

    fn send(&self, reply: &Reply) -> Result<(), WireError> {
        wire::send(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner), reply)
    }

    fn trials(&self) -> MutexGuard<'_, HashMap<u64, Trial>> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hello(launcher: &InProcess) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        kvm: launcher.kvm().to_owned(),
        cpus: launcher.cpus(),
        memory_mib: launcher.memory_mib(),
    }
}
