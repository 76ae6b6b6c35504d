//! What a launcher and its worker say to each other: a line of JSON each, and files in between.
//!
//! The launcher's lines are [`Request`]s, each an object with one key:
//!
//! ```text
//! {"put":{"name":"4be1…","bytes":1946624}}      followed by that many bytes as they are
//! {"job":{"id":1,"kernel":"4be1…",…}}           files are named as they were put
//! {"input":{"id":1,"bytes":[108,115,13]}}       of a job that has a "terminal"
//! {"cancel":1}
//! {"forget":{"name":"4be1…"}}
//! ```
//!
//! The worker's lines are [`Reply`]s. `hello` is the first, and a heartbeat comes every
//! [`HEARTBEAT`], whatever else there is to say:
//!
//! ```text
//! {"hello":{"protocol":2,"version":"0.1.0",…}}
//! {"heartbeat":{"trials":1}}
//! {"trial":{"id":1,"event":"line","at_us":51034,"text":"Linux version 6.1.192"}}
//! {"trial":{"id":1,"event":"output","bytes":[36,32]}}      of a job that has a "terminal"
//! {"failed":{"id":1,"reason":"not a kernel","hint":"give a bzImage"}}
//! ```
//!
//! The end of its input ends the worker.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::super::{Job, TrialEvent};

/// The version of what is described here. Both sides are normally the same program; a worker
/// installed elsewhere may not be.
pub(super) const PROTOCOL: u32 = 2;

/// How often a worker says that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Longest line that is read. A crash report is some tens of KiB.
pub(super) const MAX_LINE: usize = 16 << 20;

/// What a launcher says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// A file follows.
    Put {
        /// What jobs call it: a plain file name.
        name: String,
        /// Its length.
        bytes: u64,
    },
    /// Run this trial.
    Job(Box<Job>),
    /// Type this on the console of a trial that has a terminal.
    Input {
        /// The job's id.
        id: u64,
        /// What is typed.
        bytes: Vec<u8>,
    },
    /// Stop this trial; it ends in `failed`.
    Cancel(u64),
    /// No job will name this file again.
    Forget {
        /// As it was put.
        name: String,
    },
}

/// What a worker says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// It is ready.
    Hello(Hello),
    /// It is alive.
    Heartbeat {
        /// Trials under way.
        trials: usize,
    },
    /// A trial has something to say.
    Trial {
        /// The job's id.
        id: u64,
        /// What it says.
        #[serde(flatten)]
        event: TrialEvent,
    },
    /// A trial could not be run as asked.
    Failed {
        /// The job's id.
        id: u64,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}

/// What a worker is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`PROTOCOL`].
    pub(super) protocol: u32,
    /// The program's version.
    pub(super) version: String,
    /// Release of the kernel that it runs on.
    pub(super) release: String,
    /// Which KVM that has: `kvm_amd`.
    pub(super) kvm: String,
    /// CPUs it may use.
    pub(super) cpus: usize,
    /// Memory that is free for guests, in MiB.
    pub(super) memory_mib: u64,
}

/// Why what came over the wire can't be taken.
#[derive(Debug, Error)]
pub(super) enum WireError {
    /// Reading or writing failed.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// A line is not what the protocol says.
    #[error("not a line of the worker protocol: {line}")]
    Line {
        /// How it begins.
        line: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A line has no end.
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    /// A file's name could lead elsewhere.
    #[error("not a plain file name: {0:?}")]
    Name(String),
}

/// Writes a line and flushes it.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> Result<(), WireError> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::from)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()?;
    Ok(())
}

/// Reads a line; `None` at the end.
pub(super) fn receive<T: DeserializeOwned>(
    from: &mut impl BufRead,
) -> Result<Option<T>, WireError> {
    let mut line = Vec::new();
    from.take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        return Err(match line.len() {
            MAX_LINE.. => WireError::TooLong,
            _ => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
        });
    }
    parse(&line).map(Some)
}

/// Takes a line, without its end, apart.
pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(line).map_err(|source| WireError::Line {
        line: String::from_utf8_lossy(line).chars().take(120).collect(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::{Hello, Reply, Request, WireError, receive, send};
    use crate::trial::TrialEvent;
    use crate::trial::tests::job;

    fn there_and_back(requests: &[Request]) -> Vec<Request> {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| send(&mut bytes, request).unwrap());
        let mut reader = BufReader::new(&bytes[..]);
        std::iter::from_fn(|| receive(&mut reader).unwrap()).collect()
    }

    #[test]
    fn lines_are_as_documented() {
        let line = |reply: &Reply| serde_json::to_string(reply).unwrap();
        assert_eq!(line(&Reply::Heartbeat { trials: 1 }), r#"{"heartbeat":{"trials":1}}"#);
        let event = TrialEvent::Line(vmm::ConsoleLine { at_us: 7, text: "x".into() });
        assert_eq!(
            line(&Reply::Trial { id: 1, event }),
            r#"{"trial":{"id":1,"event":"line","at_us":7,"text":"x"}}"#
        );
        let event = TrialEvent::Output { bytes: b"$ ".to_vec() };
        assert_eq!(
            line(&Reply::Trial { id: 1, event }),
            r#"{"trial":{"id":1,"event":"output","bytes":[36,32]}}"#
        );
        assert_eq!(serde_json::to_string(&Request::Cancel(1)).unwrap(), r#"{"cancel":1}"#);
    }

    #[test]
    fn a_job_survives_the_way() {
        let requests = [Request::Job(Box::new(job())), Request::Cancel(u64::MAX)];
        assert_eq!(there_and_back(&requests), requests);
    }

    #[test]
    fn a_cut_line_is_an_error_and_not_the_end() {
        let mut reader = BufReader::new(&b"{\"cancel\":1"[..]);
        assert!(matches!(receive::<Request>(&mut reader), Err(WireError::Io(_))));
        let mut reader = BufReader::new(&b"Welcome to host\n"[..]);
        assert!(matches!(receive::<Request>(&mut reader), Err(WireError::Line { .. })));
    }

    proptest! {
        #[test]
        fn text_survives_whatever_a_guest_prints(text: String, at_us: u64, id: u64) {
            let event = TrialEvent::Line(vmm::ConsoleLine { at_us, text });
            let reply = Reply::Trial { id, event };
            let mut bytes = Vec::new();
            send(&mut bytes, &reply).unwrap();
            let back = receive::<Reply>(&mut BufReader::new(&bytes[..])).unwrap();
            prop_assert_eq!(back, Some(reply));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let mut reader = BufReader::new(&bytes[..]);
            while let Ok(Some(_)) = receive::<Reply>(&mut reader) {}
        }

        #[test]
        fn hello_survives(version: String, release: String, kvm: String, cpus: usize, memory_mib: u64) {
            let hello = Hello { protocol: 1, version, release, kvm, cpus, memory_mib };
            let mut bytes = Vec::new();
            send(&mut bytes, &Reply::Hello(hello.clone())).unwrap();
            let back = receive::<Reply>(&mut BufReader::new(&bytes[..])).unwrap();
            prop_assert_eq!(back, Some(Reply::Hello(hello)));
        }
    }
}
