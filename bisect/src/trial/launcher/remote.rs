//! Trials in another process: one that is started for it and reads jobs.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::{Connection, Heard, Refusal, Start};
use super::uploads::Uploads;
use super::wire::Hello;
use super::{LaunchError, Launcher, machines_at_a_time};
use crate::cancel::Cancel;
use crate::trial::hang::conclude;
use crate::trial::{Job, Outcome, TrialEvent, TrialReport};

/// What stands behind a [`Remote`] launcher.
pub(super) trait Place: Send + Sync {
    /// What it is, for people, before anybody has asked it.
    fn name(&self) -> String;

    /// What the user can do when it does not start.
    fn hint(&self) -> &'static str;

    /// CPUs and MiB that guests can have, as far as that is known before it runs.
    fn size(&self) -> Option<(usize, u64)>;

    /// See [`Launcher::prepare`].
    fn prepare(&self, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<(), LaunchError> {
        let _ = (on_line, cancel);
        Ok(())
    }

    /// Makes whatever a new worker needs, prepared or not.
    fn start(&self, cancel: &Cancel) -> Result<Start, LaunchError>;
}

/// Runs trials in a worker: started when the first trial comes, shared by all, and started again
/// when it is lost.
pub(super) struct Remote<P> {
    place: P,
    current: Mutex<Option<Arc<Worker>>>,
}

struct Worker {
    connection: Connection,
    uploads: Mutex<Uploads>,
}

/// What became of one attempt at a trial.
enum Attempt {
    Done(Box<TrialReport>),
    Lost(String),
}

impl<P: Place> Remote<P> {
    /// Nothing is started yet.
    pub(super) fn new(place: P) -> Remote<P> {
        Remote { place, current: Mutex::new(None) }
    }

    /// The worker, a new one if there is none that lives.
    fn worker(&self, cancel: &Cancel) -> Result<Arc<Worker>, LaunchError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = current.as_ref().filter(|worker| !worker.connection.is_lost()) {
            return Ok(worker.clone());
        }
        // Its memory is needed for the next one.
        *current = None;
        let start = self.place.start(cancel)?;
        let connection = Connection::open(start, cancel).map_err(|refusal| match refusal {
            Refusal::Cancelled => LaunchError::Cancelled,
            Refusal::NoHello(reason) => self.error(reason),
        })?;
        let worker = Arc::new(Worker { connection, uploads: Mutex::default() });
        *current = Some(worker.clone());
        Ok(worker)
    }

    fn attempt(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<Attempt, LaunchError> {
        let worker = self.worker(cancel)?;
        let kernel = worker.put(&job.kernel)?;
        let initramfs = worker.put(&job.initramfs)?;
        let ticket = worker.connection.submit(Job {
            kernel: kernel.name.clone().into(),
            initramfs: initramfs.name.clone().into(),
            ..job.clone()
        });
        loop {
            match ticket.next(cancel) {
                Heard::Event(TrialEvent::Done(report)) => {
                    let report = Box::new(conclude(job, *report));
                    on_event(TrialEvent::Done(report.clone()));
                    return Ok(Attempt::Done(report));
                }
                Heard::Event(event) => on_event(event),
                Heard::Failed { reason, hint } => {
                    return Err(LaunchError::Refused { reason, hint });
                }
                Heard::Lost(reason) => return Ok(Attempt::Lost(reason)),
                Heard::Cancelled => return Err(LaunchError::Cancelled),
            }
        }
    }

    fn error(&self, reason: String) -> LaunchError {
        let hint = self.place.hint();
        LaunchError::Remote { launcher: self.place.name(), reason, hint }
    }
}

impl<P: Place> Launcher for Remote<P> {
    fn describe(&self) -> String {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some(worker) => {
                let hello = worker.connection.hello();
                let Hello { release, kvm, cpus, .. } = hello;
                format!("{}: Linux {release} with {kvm} on {cpus} CPUs", self.place.name())
            }
            None => self.place.name(),
        }
    }

    fn capacity(&self, memory_mib: u64, per_cpu: NonZeroUsize, cancel: &Cancel) -> usize {
        let known = self.place.size().or_else(|| {
            let worker = self.worker(cancel).ok()?;
            let hello = worker.connection.hello();
            Some((hello.cpus, hello.memory_mib))
        });
        known.map_or(1, |(cpus, mib)| machines_at_a_time(cpus, per_cpu, mib, memory_mib))
    }

    fn prepare(&self, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<(), LaunchError> {
        self.place.prepare(on_line, cancel)
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        let reason = match self.attempt(job, on_event, cancel)? {
            Attempt::Done(report) => return Ok(*report),
            Attempt::Lost(reason) => reason,
        };
        on_event(TrialEvent::Restarted { reason });
        let reason = match self.attempt(job, on_event, cancel)? {
            Attempt::Done(report) => return Ok(*report),
            Attempt::Lost(reason) => format!("{}: {reason}", self.place.name()),
        };
        let report = TrialReport::without_machine(Outcome::Infra { reason });
        on_event(TrialEvent::Done(Box::new(report.clone())));
        Ok(report)
    }
}

impl Worker {
    fn put(&self, path: &Path) -> Result<InUse<'_>, LaunchError> {
        let unreadable = |source: io::Error| LaunchError::File { path: path.to_owned(), source };
        let mut uploads = self.uploads();
        let (name, content) = uploads.acquire(path).map_err(unreadable)?;
        // Sent before anybody else can see it as sent.
        if let Some(content) = content {
            self.connection.put(name.clone(), content);
        }
        Ok(InUse { worker: self, name })
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that the worker has to keep.
struct InUse<'a> {
    worker: &'a Worker,
    name: String,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut uploads = self.worker.uploads();
        for name in uploads.release(&self.name) {
            self.worker.connection.forget(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Place, Remote};
    use crate::cancel::Cancel;
    use crate::trial::launcher::connection::Start;
    use crate::trial::launcher::{LaunchError, Launcher};
    use crate::trial::tests::job;
    use crate::trial::{Job, Outcome, TrialEvent, TrialReport};

    const HELLO: &str = r#"echo '{"hello":{"protocol":2,"version":"0","release":"6","kvm":"none",
        "cpus":3,"memory_mib":4096}}' | tr -d '\n'; echo; "#;

    /// A shell script that passes for a worker.
    struct Script {
        script: String,
        starts: AtomicUsize,
        directory: tempfile::TempDir,
    }

    impl Place for Script {
        fn name(&self) -> String {
            "script".into()
        }

        fn hint(&self) -> &'static str {
            "write another"
        }

        fn size(&self) -> Option<(usize, u64)> {
            None
        }

        fn start(&self, _cancel: &Cancel) -> Result<Start, LaunchError> {
            self.starts.fetch_add(1, Ordering::Relaxed);
            let log = self.directory.path().join("log");
            let mut command = Command::new("sh");
            command.arg("-c").arg(&self.script);
            command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
            Ok(Start {
                command,
                patience: Duration::from_secs(20),
                silence: Duration::from_millis(200),
                logs: vec![log],
                keep: None,
            })
        }
    }

    struct Run {
        result: Result<TrialReport, LaunchError>,
        events: Vec<TrialEvent>,
        starts: usize,
    }

    fn run(script: &str, cancel: &Cancel) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "content").unwrap();
        let job = Job { kernel: file.clone(), initramfs: file, ..job() };
        let script = script.to_owned();
        let remote = Remote::new(Script { script, starts: AtomicUsize::new(0), directory });
        let mut events = Vec::new();
        let result = remote.run(&job, &mut |event| events.push(event), cancel);
        Run { result, events, starts: remote.place.starts.load(Ordering::Relaxed) }
    }

    #[test]
    fn a_silent_worker_is_replaced_once_and_then_it_is_the_hosts_fault() {
        let run = run(&format!("{HELLO} cat >/dev/null; true"), &Cancel::new());
        let Ok(TrialReport { outcome: Outcome::Infra { reason }, .. }) = run.result else {
            panic!("{:?}", run.result);
        };
        assert!(reason.contains("silent"), "{reason}");
        assert_eq!(run.starts, 2);
        assert!(matches!(run.events[0], TrialEvent::Restarted { .. }));
        assert!(matches!(run.events[1], TrialEvent::Done(_)));
    }

    #[test]
    fn a_worker_that_never_comes_is_an_error_with_its_last_words() {
        let run = run("echo 'no such host' >&2; exit 255", &Cancel::new());
        let Err(LaunchError::Remote { launcher, reason, .. }) = run.result else {
            panic!("{:?}", run.result);
        };
        assert_eq!(launcher, "script");
        assert!(reason.contains("255") && reason.contains("no such host"), "{reason}");
        assert_eq!(run.starts, 1);
    }

    #[test]
    fn another_protocol_is_refused() {
        let hello = HELLO.replace(r#""protocol":2"#, r#""protocol":99"#);
        let run = run(&format!("{hello} cat >/dev/null; true"), &Cancel::new());
        let Err(LaunchError::Remote { reason, .. }) = run.result else {
            panic!("{:?}", run.result);
        };
        assert!(reason.contains("protocol 99"), "{reason}");
    }

    #[test]
    fn what_a_login_shell_prints_is_passed_over_and_answers_arrive() {
        // The job's answer does not wait for the job: whatever comes for trial 1 is the trial's.
        let failed =
            r#"echo '{"failed":{"id":1,"reason":"no","hint":"try"}}'; cat >/dev/null; true"#;
        let greeting = "echo Welcome to this machine; ";
        let script = format!("{greeting} {HELLO} head -c 1 >/dev/null; {failed}");
        let run = run(&script, &Cancel::new());
        let Err(LaunchError::Refused { reason, hint }) = run.result else {
            panic!("{:?}", run.result);
        };
        assert_eq!((reason.as_str(), hint.as_str()), ("no", "try"));
        assert!(run.events.is_empty());
    }

    #[test]
    fn cancelling_ends_the_wait_for_a_hello_and_for_an_answer() {
        let cancel = Cancel::new();
        cancel.cancel();
        for script in ["cat >/dev/null; true", &format!("{HELLO} cat >/dev/null; true")] {
            let run = run(script, &cancel);
            assert!(matches!(run.result, Err(LaunchError::Cancelled)), "{:?}", run.result);
        }
    }
}
