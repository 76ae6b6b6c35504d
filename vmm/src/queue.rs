//! What the machine says, on its way to whoever listens.
//!
//! The queue is bounded, so a slow listener makes the guest wait at its serial port instead of
//! filling memory. Whoever ends the machine releases the queue first: from then on nobody waits, and
//! as the vCPUs stop before their next instruction each of them adds one line at most.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::MachineEvent;
use crate::sync::lock;

/// Weight of the events that may wait, in bytes.
const ROOM: usize = 1 << 20;

/// Weight of an event without its text.
const EVENT: usize = std::mem::size_of::<MachineEvent>();

/// A bounded queue of events.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<MachineEvent>,
    weight: usize,
    /// Nobody waits for room any more.
    released: bool,
    /// The last event was taken.
    over: bool,
}

/// What a listener got.
#[derive(Debug)]
pub(crate) enum Taken {
    Event(MachineEvent),
    TimedOut,
    Over,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue { state: Mutex::default(), filled: Condvar::new(), drained: Condvar::new() }
    }

    /// Adds an event; waits for room unless the queue was released.
    pub(crate) fn push(&self, event: MachineEvent) {
        let mut state = self.with_room();
        state.weight += weight(&event);
        state.events.push_back(event);
        drop(state);
        self.filled.notify_one();
    }

    /// Adds a byte of raw output, to those that wait if nothing came after them; waits for room as
    /// above.
    pub(crate) fn push_output(&self, byte: u8) {
        let mut state = self.with_room();
        state.weight += 1;
        if let Some(MachineEvent::Output(bytes)) = state.events.back_mut() {
            // Whoever takes them was woken by the first.
            return bytes.push(byte);
        }
        state.weight += EVENT;
        state.events.push_back(MachineEvent::Output(vec![byte]));
        drop(state);
        self.filled.notify_one();
    }

    fn with_room(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while !state.released && state.weight >= ROOM {
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Lets everybody go who waits for room, now and later.
    pub(crate) fn release(&self) {
        lock(&self.state).released = true;
        self.drained.notify_all();
    }

    /// Takes the oldest event; waits for one until `deadline`, or without end.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Taken {
        let mut state = lock(&self.state);
        loop {
            if let Some(event) = state.events.pop_front() {
                state.weight = state.weight.saturating_sub(weight(&event));
                state.over = matches!(event, MachineEvent::Ended(_));
                drop(state);
                self.drained.notify_all();
                return Taken::Event(event);
            }
            if state.over {
                // Another listener may wait for an event that will not come.
                self.filled.notify_all();
                return Taken::Over;
            }
            let left = match deadline {
                None => Duration::MAX,
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    None | Some(Duration::ZERO) => return Taken::TimedOut,
                    Some(left) => left,
                },
            };
            state = if left == Duration::MAX {
                self.filled.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.filled.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

fn weight(event: &MachineEvent) -> usize {
    match event {
        MachineEvent::Line(line) => EVENT + line.text.len(),
        MachineEvent::Output(bytes) => EVENT + bytes.len(),
        _ => EVENT,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::ConsoleLine;

    fn line(bytes: usize) -> MachineEvent {
        MachineEvent::Line(ConsoleLine { at_us: 0, text: "x".repeat(bytes) })
    }

    #[test]
    fn writer_waits_for_room_until_it_is_released() {
        let queue = Arc::new(Queue::new());
        queue.push(line(ROOM));
        let (sender, receiver) = mpsc::channel();
        let writer = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.push(line(1));
                sender.send(()).unwrap();
                queue.push(line(ROOM));
                queue.push(line(2));
                sender.send(()).unwrap();
            }
        });
        assert!(receiver.try_recv().is_err());
        assert!(matches!(queue.take(None), Taken::Event(_)));
        receiver.recv().unwrap();
        queue.release();
        receiver.recv().unwrap();
        writer.join().unwrap();
        assert!(lock(&queue.state).weight >= ROOM, "nothing is lost");
    }

    #[test]
    fn output_that_waits_is_taken_at_once_and_stays_in_order() {
        let queue = Queue::new();
        b"one\n".iter().for_each(|byte| queue.push_output(*byte));
        queue.push(line(3));
        b"two".iter().for_each(|byte| queue.push_output(*byte));
        let taken = || match queue.take(Some(Instant::now())) {
            Taken::Event(MachineEvent::Output(bytes)) => String::from_utf8(bytes).unwrap(),
            Taken::Event(event) => format!("{event:?}").split_once('(').unwrap().0.to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!([taken(), taken(), taken(), taken()], ["one\n", "Line", "two", "TimedOut"]);
        assert_eq!(lock(&queue.state).weight, 0);
        queue.push_output(b'x');
        assert!(matches!(queue.take(None), Taken::Event(MachineEvent::Output(_))));
    }

    #[test]
    fn a_flood_of_output_waits_for_room_as_lines_do() {
        let queue = Arc::new(Queue::new());
        let writer = thread::spawn({
            let queue = queue.clone();
            move || (0..3 * ROOM).for_each(|_| queue.push_output(b'x'))
        });
        let mut got = 0;
        while got < 3 * ROOM {
            let Taken::Event(MachineEvent::Output(bytes)) = queue.take(None) else { panic!() };
            assert!(bytes.len() <= ROOM);
            got += bytes.len();
        }
        writer.join().unwrap();
    }

    #[test]
    fn listener_gives_up_at_its_deadline() {
        let queue = Queue::new();
        assert!(matches!(queue.take(Some(Instant::now())), Taken::TimedOut));
        queue.push(line(1));
        assert!(matches!(queue.take(Some(Instant::now())), Taken::Event(_)));
    }
}
