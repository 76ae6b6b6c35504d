//! What the agent in the guest has reported, by whichever way it came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use guest_init::protocol::Report;

use crate::queue::Queue;
use crate::sync::lock;
use crate::{Ending, MachineEvent, Milestone};

/// A guest that invents facts can't fill memory with them.
const MOST_FACTS: usize = 64;

/// Turns reports into milestones, facts and endings. The same report may come over the agent port
/// and over the console; a milestone is passed once, and of a fact the first report counts.
#[derive(Debug)]
pub(crate) struct Agent {
    nonce: String,
    queue: Arc<Queue>,
    start: Instant,
    passed: Mutex<Vec<Milestone>>,
    facts: Mutex<BTreeMap<String, String>>,
    /// Signs of life: bytes of the console, reports.
    heard: AtomicU64,
}

impl Agent {
    /// Reports are those that carry `nonce`; with an empty one there are none.
    pub(crate) fn new(nonce: String, queue: Arc<Queue>, start: Instant) -> Agent {
        Agent {
            nonce,
            queue,
            start,
            passed: Mutex::default(),
            facts: Mutex::default(),
            heard: AtomicU64::new(0),
        }
    }

    /// Takes note of a sign of life.
    pub(crate) fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Signs of life so far: bytes on the console, and reports. When there are no more of them the
    /// guest is silent.
    pub(crate) fn signs_of_life(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Takes a line (without its end).
    pub(crate) fn line(&self, line: &str) -> Option<Ending> {
        let report = Report::parse(line, &self.nonce)?;
        self.heard();
        match report {
            Report::Init => self.pass(Milestone::InitReached),
            Report::Start => self.pass(Milestone::WorkloadStarted),
            Report::Fact { key, value } => {
                let mut facts = lock(&self.facts);
                if facts.len() < MOST_FACTS {
                    facts.entry(key).or_insert(value);
                }
            }
            Report::Exit(status) => return Some(Ending::Exit { status }),
            Report::Fail(reason) => return Some(Ending::AgentFailed { reason }),
        }
        None
    }

    /// What the agent said about the guest.
    pub(crate) fn facts(&self) -> BTreeMap<String, String> {
        lock(&self.facts).clone()
    }

    /// Passes a milestone, if it was not passed before.
    pub(crate) fn pass(&self, milestone: Milestone) {
        let mut passed = lock(&self.passed);
        if passed.contains(&milestone) {
            return;
        }
        passed.push(milestone);
        drop(passed);
        self.queue.push(MachineEvent::Milestone(milestone, micros_since(self.start)));
    }
}

/// Microseconds since `start`.
pub(crate) fn micros_since(start: Instant) -> u64 {
    start.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
}
