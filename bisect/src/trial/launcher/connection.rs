//! A child process that speaks the worker protocol, and the two threads that talk with it.
//!
//! The *keeper* starts the child, reads what it says, hands it to whoever waits for it, and kills
//! and reaps it in the end; all of that is one thread because the kernel kills a tethered child
//! when the thread that started it is gone. The *writer* alone may block on the child's input, so
//! that nobody else does; should the child stop reading, it also stops saying that it is alive,
//! and the keeper ends both.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::terminal::Connected;
use super::super::{Job, TrialEvent};
use super::wire::{self, Hello, PROTOCOL, Reply, Request};
use crate::cancel::Cancel;
use crate::group;
use crate::temp::TempRoom;

/// Longest silence of a worker that has said hello: many heartbeats.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// How long a child has to end by itself when it is no longer needed.
const FAREWELL: Duration = Duration::from_secs(2);

/// How much a login shell may print before the worker speaks.
const MAX_GREETING: usize = 64 << 10;

/// How much of a log an error shows.
const LAST_LINES: usize = 6;

/// Where in a log those lines are looked for.
const LAST_BYTES: u64 = 4096;

/// How to start a child.
pub(super) struct Start {
    /// What is run.
    pub(super) command: Command,
    /// How long it may take to say hello.
    pub(super) patience: Duration,
    /// How long it may be silent afterwards.
    pub(super) silence: Duration,
    /// Where it, or what runs in it, writes what went wrong.
    pub(super) logs: Vec<PathBuf>,
    /// What must outlive it, such as the directory with its files.
    pub(super) keep: Option<TempRoom>,
}

/// What a trial hears from its child.
pub(super) enum Heard {
    /// It says something.
    Event(TrialEvent),
    /// It could not be run as asked.
    Failed { reason: String, hint: String },
    /// The child is gone.
    Lost(String),
    /// The user asked to stop.
    Cancelled,
}

/// A child that has said hello. Dropping it kills the child.
pub(super) struct Connection {
    hello: Hello,
    shared: Arc<Shared>,
    /// Closing it closes the child's input.
    requests: Option<Sender<Outgoing>>,
    /// Closing it wakes the keeper.
    lifeline: Option<PipeWriter>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    lost: Option<String>,
    greeter: Option<Sender<Result<Hello, Refusal>>>,
    next_id: u64,
    trials: HashMap<u64, Sender<Heard>>,
}

/// Why there is no connection.
pub(super) enum Refusal {
    /// The user asked to stop.
    Cancelled,
    /// The child did not start, or died or fell silent before it said hello.
    NoHello(String),
}

enum Outgoing {
    Request(Request),
    File { name: String, content: Vec<u8> },
}

/// A trial under way on a connection; it is stopped when this is dropped before its end.
pub(super) struct Ticket<'a> {
    connection: &'a Connection,
    id: u64,
    heard: Receiver<Heard>,
    teller: Sender<Heard>,
    _typing: Option<Connected>,
}

impl Connection {
    /// Starts a child and waits for its hello.
    pub(super) fn open(start: Start, cancel: &Cancel) -> Result<Connection, Refusal> {
        let no_hello = |error: io::Error| Refusal::NoHello(error.to_string());
        let (lifeline_reader, lifeline) = io::pipe().map_err(no_hello)?;
        let (requests, outgoing) = mpsc::channel();
        let (greeter, greeting) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        shared.state().greeter = Some(greeter.clone());
        let keeper = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("worker keeper".into())
                .spawn(move || keep(start, &shared, outgoing, lifeline_reader))
                .map_err(no_hello)?
        };
        let mut connection = Connection {
            hello: Hello::default(),
            shared,
            requests: Some(requests),
            lifeline: Some(lifeline),
            keeper: Some(keeper),
        };
        let _guard = cancel.on_cancel(move || {
            let _ = greeter.send(Err(Refusal::Cancelled));
        });
        // The keeper always answers: with the hello, or with what came instead in due time.
        let gone = || Err(Refusal::NoHello("its keeper died".into()));
        connection.hello = greeting.recv().unwrap_or_else(|_| gone())?;
        Ok(connection)
    }

    /// What the child is.
    pub(super) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether the child is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.shared.state().lost.is_some()
    }

    /// Sends a file.
    pub(super) fn put(&self, name: String, content: Vec<u8>) {
        self.say(Outgoing::File { name, content });
    }

    /// Says that no job will name this file again.
    pub(super) fn forget(&self, name: String) {
        self.say(Outgoing::Request(Request::Forget { name }));
    }

    /// Has the child run a job.
    pub(super) fn submit(&self, job: Job) -> Ticket<'_> {
        let (teller, heard) = mpsc::channel();
        let id = {
            let mut state = self.shared.state();
            state.next_id += 1;
            let id = state.next_id;
            match &state.lost {
                Some(reason) => {
                    let _ = teller.send(Heard::Lost(reason.clone()));
                }
                None => {
                    state.trials.insert(id, teller.clone());
                }
            }
            id
        };
        let terminal = job.terminal.clone();
        self.say(Outgoing::Request(Request::Job(Box::new(Job { id, ..job }))));
        // After the job, so that its worker knows whose console it is.
        let typing = terminal.zip(self.requests.clone()).map(|(terminal, requests)| {
            terminal.connect(move |bytes| {
                // Whoever hears of the trial hears it as well if the connection is lost.
                let _ =
                    requests.send(Outgoing::Request(Request::Input { id, bytes: bytes.to_vec() }));
            })
        });
        Ticket { connection: self, id, heard, teller, _typing: typing }
    }

    /// A connection that is lost says so to every trial, so a failure to send needs no report.
    fn say(&self, outgoing: Outgoing) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(outgoing);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.requests.take());
        drop(self.lifeline.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Ticket<'_> {
    /// The next thing the trial has to say. Blocks; the keeper's own deadlines bound it.
    pub(super) fn next(&self, cancel: &Cancel) -> Heard {
        let teller = self.teller.clone();
        let _guard = cancel.on_cancel(move || {
            let _ = teller.send(Heard::Cancelled);
        });
        self.heard.recv().unwrap_or_else(|_| Heard::Lost("its keeper died".into()))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.connection.shared.state().trials.remove(&self.id).is_some() {
            self.connection.say(Outgoing::Request(Request::Cancel(self.id)));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a line; gives back what is wrong with it.
    fn take_in(&self, reply: Reply) -> Result<(), String> {
        let mut state = self.state();
        match reply {
            Reply::Hello(hello) if hello.protocol != PROTOCOL => Err(format!(
                "vmbisect {} at the other end speaks protocol {}, this one speaks {PROTOCOL}",
                hello.version, hello.protocol
            )),
            Reply::Hello(hello) => match state.greeter.take() {
                Some(greeter) => {
                    let _ = greeter.send(Ok(hello));
                    Ok(())
                }
                None => Err("it said hello twice".into()),
            },
            Reply::Heartbeat { .. } => Ok(()),
            Reply::Failed { id, reason, hint } => {
                if let Some(trial) = state.trials.remove(&id) {
                    let _ = trial.send(Heard::Failed { reason, hint });
                }
                Ok(())
            }
            // A trial that nobody waits for any more was cancelled.
            Reply::Trial { id, event } => {
                let last = matches!(event, TrialEvent::Done(_));
                if let Some(trial) = state.trials.get(&id) {
                    let _ = trial.send(Heard::Event(event));
                }
                if last {
                    state.trials.remove(&id);
                }
                Ok(())
            }
        }
    }

    /// Tells everybody that the child is gone.
    fn lose(&self, reason: String) {
        let mut state = self.state();
        if let Some(greeter) = state.greeter.take() {
            let _ = greeter.send(Err(Refusal::NoHello(reason.clone())));
        }
        for (_, trial) in state.trials.drain() {
            let _ = trial.send(Heard::Lost(reason.clone()));
        }
        state.lost = Some(reason);
    }
}

/// The keeper's life.
fn keep(start: Start, shared: &Shared, outgoing: Receiver<Outgoing>, lifeline: PipeReader) {
    let Start { mut command, patience, silence, logs, keep } = start;
    // A group of its own: killed as a whole, and left alone by the terminal's Ctrl-C.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = command.get_program().display();
            return shared.lose(format!("can't run {program}: {error}"));
        }
    };
    let reason = talk(&mut child, (patience, silence), shared, outgoing, &lifeline);
    group::kill(&child);
    let status = child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
    let mut reason = format!("{reason} ({status})");
    for line in logs.iter().filter_map(|log| last_words(log)) {
        reason.push_str("\n  ");
        reason.push_str(&line);
    }
    shared.lose(reason);
    drop(keep);
}

/// Talks with the child until one of both ends it, and says how that came.
fn talk(
    child: &mut Child,
    (patience, silence): (Duration, Duration),
    shared: &Shared,
    outgoing: Receiver<Outgoing>,
    lifeline: &PipeReader,
) -> String {
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return "it has no pipes".into();
    };
    let writer = thread::Builder::new()
        .name("worker writer".into())
        .spawn(move || say_all(stdin, &outgoing));
    if let Err(error) = writer {
        return error.to_string();
    }
    let mut lines = Lines::default();
    let mut buffer = vec![0; 64 << 10];
    let mut deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else {
            return "its deadline can't be kept".into();
        };
        let mut sources =
            [PollFd::new(&stdout, PollFlags::IN), PollFd::new(lifeline, PollFlags::IN)];
        match poll(&mut sources, Some(&timeout)) {
            Ok(0) if lines.greeted => {
                return format!("it has been silent for {} s", silence.as_secs_f32());
            }
            Ok(0) => return format!("it did not say hello in {} s", patience.as_secs_f32()),
            Ok(_) if !sources[1].revents().is_empty() => {
                wait_for_end(&mut stdout, &mut buffer);
                return "it was no longer needed".into();
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return error.to_string(),
        }
        let got = match stdout.read(&mut buffer) {
            Ok(0) => return "it ended".into(),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return error.to_string(),
        };
        if let Err(reason) = lines.push(buffer.get(..got).unwrap_or_default(), shared) {
            return reason;
        }
        // Before the hello, its words only count as words.
        if lines.greeted {
            deadline = Instant::now() + silence;
        }
    }
}

/// Waits for the end of the child's output, which follows the end of its input: a worker takes its
/// files away before it ends.
fn wait_for_end(stdout: &mut (impl Read + AsFd), buffer: &mut [u8]) {
    let deadline = Instant::now() + FAREWELL;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else { return };
        match poll(&mut [PollFd::new(&*stdout, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return,
            Ok(_) if matches!(stdout.read(buffer), Ok(0) | Err(_)) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// What the child said, put together to lines.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    greeted: bool,
    greeting: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], shared: &Shared) -> Result<(), String> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.len() > wire::MAX_LINE {
                return Err(wire::WireError::TooLong.to_string());
            }
            if self.partial.pop_if(|last| *last == b'\n').is_none() {
                break;
            }
            let line = std::mem::take(&mut self.partial);
            match wire::parse::<Reply>(&line) {
                Ok(reply) => {
                    self.greeted |= matches!(reply, Reply::Hello(_));
                    shared.take_in(reply)?;
                }
                Err(error) if self.greeted => return Err(error.to_string()),
                Err(error) => {
                    self.greeting += line.len();
                    if self.greeting > MAX_GREETING {
                        return Err(error.to_string());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The writer's life: until nobody has anything to say any more, or the child does not listen.
fn say_all(mut stdin: impl Write, outgoing: &Receiver<Outgoing>) {
    for message in outgoing {
        let written = match message {
            Outgoing::Request(request) => wire::send(&mut stdin, &request),
            Outgoing::File { name, content } => {
                wire::send(&mut stdin, &Request::Put { name, bytes: content.len() as u64 })
                    .and_then(|()| Ok(stdin.write_all(&content)?))
            }
        };
        if written.is_err() {
            return;
        }
    }
}

/// The last lines with something on them.
fn last_words(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    // QEMU says this of every emulated CPU, whatever else happens.
    let says = |line: &&str| !line.is_empty() && !line.contains("TCG doesn't support requested");
    let mut lines: Vec<&str> = tail.lines().map(str::trim).filter(says).collect();
    let surplus = lines.len().saturating_sub(LAST_LINES);
    lines.drain(..surplus);
    (!lines.is_empty()).then(|| lines.join("\n  "))
}
