//! What the agent in the guest has reported, by whichever way it came.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use guest_init::protocol::{PREFIX, Report};

use crate::queue::Queue;
use crate::sync::lock;
use crate::{Ending, MachineEvent, Milestone};

/// Turns reports into milestones and endings. The same report may come over the agent port and over
/// the console; a milestone is passed once.
#[derive(Debug)]
pub(crate) struct Agent {
    nonce: String,
    queue: Arc<Queue>,
    start: Instant,
    passed: Mutex<Vec<Milestone>>,
}

impl Agent {
    /// Reports are those that carry `nonce`; with an empty one there are none.
    pub(crate) fn new(nonce: String, queue: Arc<Queue>, start: Instant) -> Agent {
        Agent { nonce, queue, start, passed: Mutex::default() }
    }

    /// Takes a line (without its end). On the console something may stand before the report.
    pub(crate) fn line(&self, line: &str) -> Option<Ending> {
        if self.nonce.is_empty() {
            return None;
        }
        let report = line.find(PREFIX).and_then(|start| line.get(start..))?;
        match Report::parse(report, &self.nonce)? {
            Report::Init => self.pass(Milestone::InitReached),
            Report::Start => self.pass(Milestone::WorkloadStarted),
            Report::Fact { .. } => {}
            Report::Exit(status) => return Some(Ending::Exit { status }),
            Report::Fail(reason) => return Some(Ending::AgentFailed { reason }),
        }
        None
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
