//! The port by which the agent in the guest reports.

use std::sync::Arc;

use guest_init::protocol::MAX_LINE;

use crate::Ending;
use crate::agent::Agent;

/// Collects bytes to lines and hands the lines on. Lines longer than [`MAX_LINE`] are no reports.
#[derive(Debug)]
pub(crate) struct AgentPort {
    agent: Arc<Agent>,
    line: Vec<u8>,
    too_long: bool,
}

impl AgentPort {
    pub(crate) fn new(agent: Arc<Agent>) -> AgentPort {
        AgentPort { agent, line: Vec::new(), too_long: false }
    }

    /// Takes one byte of a line.
    pub(crate) fn write(&mut self, byte: u8) -> Option<Ending> {
        if byte != b'\n' {
            if self.line.len() < MAX_LINE {
                self.line.push(byte);
            } else {
                self.too_long = true;
            }
            return None;
        }
        let too_long = std::mem::take(&mut self.too_long);
        let line = std::mem::take(&mut self.line);
        if too_long { None } else { self.agent.line(&String::from_utf8_lossy(&line)) }
    }
}
