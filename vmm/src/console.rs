//! The text of the serial port, cut into lines.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use crate::agent::{Agent, micros_since};
use crate::aside::Aside;
use crate::queue::Queue;
use crate::{ConsoleLine, Ending, MachineEvent, Milestone};

/// Longer lines are delivered in pieces. The kernel's own are below 1 KiB.
const LONGEST_LINE: usize = 4096;

/// Where the serial port writes to. A byte costs a copy; a line costs an event.
#[derive(Debug)]
pub(crate) struct Console {
    queue: Arc<Queue>,
    agent: Arc<Agent>,
    start: Instant,
    line: Vec<u8>,
    bytes: u64,
    limit: u64,
    /// Whether what was written is told at once as well.
    raw: bool,
    ending: Option<Ending>,
    aside: Option<Arc<Aside>>,
}

impl Console {
    /// A console that takes `limit` bytes.
    pub(crate) fn new(queue: Arc<Queue>, agent: Arc<Agent>, start: Instant, limit: u64) -> Console {
        Console {
            queue,
            agent,
            start,
            line: Vec::new(),
            bytes: 0,
            limit,
            raw: false,
            ending: None,
            aside: None,
        }
    }

    /// The same console; whether it tells at once what was written, as well.
    pub(crate) fn raw(self, raw: bool) -> Console {
        Console { raw, ..self }
    }

    /// Bytes that the guest wrote.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The end of the machine, if the last byte brought it.
    #[inline]
    pub(crate) fn take_ending(&mut self) -> Option<Ending> {
        // Asked after each byte, and nearly always none.
        self.ending.as_ref()?;
        self.ending.take()
    }

    /// Puts all that comes from now on aside: the machine has ended. A line that has no end yet is
    /// delivered.
    pub(crate) fn put_aside(&mut self, aside: Arc<Aside>) {
        self.finish();
        self.aside = Some(aside);
    }

    /// Delivers a last line that has no end.
    pub(crate) fn finish(&mut self) {
        if !self.line.is_empty() {
            self.deliver();
        }
    }

    fn push(&mut self, byte: u8) {
        if self.aside.is_none() {
            if self.bytes == self.limit {
                self.ending.get_or_insert(Ending::ConsoleLimit { bytes: self.limit });
                return;
            }
            if self.bytes == 0 {
                self.agent.pass(Milestone::FirstByte);
            }
            self.bytes += 1;
            self.agent.heard();
            if self.raw {
                self.queue.push_output(byte);
            }
        }
        if byte == b'\n' {
            self.deliver();
        } else {
            self.line.push(byte);
            if self.line.len() == LONGEST_LINE {
                self.deliver();
            }
        }
    }

    fn deliver(&mut self) {
        let end = self.line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        self.line.truncate(end);
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if let Some(aside) = &self.aside {
            aside.push(text);
            return;
        }
        let ending = self.agent.line(&text);
        self.queue.push(MachineEvent::Line(ConsoleLine { at_us: micros_since(self.start), text }));
        if self.ending.is_none() {
            self.ending = ending;
        }
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.push(*byte);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Taken;

    fn console(limit: u64) -> (Console, Arc<Queue>) {
        let queue = Arc::new(Queue::new());
        let start = Instant::now();
        let agent = Arc::new(Agent::new("n".into(), queue.clone(), start));
        (Console::new(queue.clone(), agent, start, limit), queue)
    }

    fn drain(queue: &Queue) -> (Vec<String>, Vec<Milestone>) {
        let (mut lines, mut milestones) = (Vec::new(), Vec::new());
        while let Taken::Event(event) = queue.take(Some(Instant::now())) {
            match event {
                MachineEvent::Line(line) => lines.push(line.text),
                MachineEvent::Output(bytes) => panic!("{bytes:?} was not asked for"),
                MachineEvent::Milestone(milestone, _) => milestones.push(milestone),
                MachineEvent::Ended(_) => panic!("nothing ends here"),
            }
        }
        (lines, milestones)
    }

    #[test]
    fn text_is_cut_at_line_ends_and_the_rest_comes_last() {
        let (mut console, queue) = console(1 << 20);
        console.write_all(b"one\r\n\ntw\xffo\r\nrest").unwrap();
        assert_eq!(
            drain(&queue),
            (vec!["one".into(), String::new(), "tw\u{fffd}o".into()], vec![Milestone::FirstByte])
        );
        console.finish();
        assert_eq!(drain(&queue).0, ["rest"]);
        assert_eq!(console.bytes(), 16);
    }

    #[test]
    fn line_without_end_is_bounded() {
        let (mut console, queue) = console(1 << 20);
        console.write_all(&[b'x'; 3 * LONGEST_LINE]).unwrap();
        assert_eq!(drain(&queue).0.len(), 3);
    }

    #[test]
    fn what_is_put_aside_is_no_console_output() {
        let (mut console, queue) = console(16);
        console.write_all(b"half").unwrap();
        let aside = Arc::new(Aside::default());
        console.put_aside(aside.clone());
        console.write_all(b"vmbisect-agent: n exit 0\nmore than the limit\n").unwrap();
        assert_eq!(drain(&queue).0, ["half"]);
        assert_eq!(aside.lines(), ["vmbisect-agent: n exit 0", "more than the limit"]);
        assert_eq!((console.take_ending(), console.bytes()), (None, 4));
    }

    #[test]
    fn limit_ends_the_machine() {
        let (mut console, _queue) = console(4);
        console.write_all(b"1234").unwrap();
        assert_eq!(console.take_ending(), None);
        console.write_all(b"5").unwrap();
        assert_eq!(console.take_ending(), Some(Ending::ConsoleLimit { bytes: 4 }));
        assert_eq!(console.bytes(), 4);
    }

    #[test]
    fn reports_count_once_behind_whatever_stands_before_them() {
        let (mut console, queue) = console(1 << 20);
        console.write_all(b"[    1.0] vmbisect-agent: n init\r\nvmbisect-agent: n init\n").unwrap();
        assert_eq!(drain(&queue).1, [Milestone::FirstByte, Milestone::InitReached]);
        console.write_all(b"vmbisect-agent: m exit 0\n").unwrap();
        assert_eq!(console.take_ending(), None);
        console.write_all(b"vmbisect-agent: n exit 0\r\n").unwrap();
        assert_eq!(console.take_ending(), Some(Ending::Exit { status: 0 }));
    }

    #[test]
    fn a_raw_console_tells_its_bytes_before_their_line() {
        let (console, queue) = console(1 << 20);
        console.raw(true).write_all(b"$ \n").unwrap();
        let mut events = Vec::new();
        while let Taken::Event(event) = queue.take(Some(Instant::now())) {
            events.push(event);
        }
        assert!(events.contains(&MachineEvent::Output(b"$ \n".to_vec())), "{events:?}");
        assert!(matches!(events.last(), Some(MachineEvent::Line(line)) if line.text == "$ "));
    }
}
