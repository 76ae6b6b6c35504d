//! Typing on the console of a trial.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Bytes that are kept for a machine that has not started yet.
const EARLY_BYTES: usize = 64 << 10;

/// What types on the console of one trial. Clones type on the same one.
///
/// It stays in its process: in JSON it only says that there is one, and how large.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Terminal {
    #[serde(skip)]
    line: Arc<Mutex<Line>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<TerminalSize>,
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines of text.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// Where what is typed goes.
type Sink = Box<dyn FnMut(&[u8]) + Send>;

#[derive(Default)]
struct Line {
    sink: Option<Sink>,
    early: Vec<u8>,
}

/// Keeps a console connected to its terminal.
#[must_use = "the console is disconnected when this is dropped"]
pub(super) struct Connected(Terminal);

impl Terminal {
    /// A terminal that is connected to nothing yet, and that is so large, if that is known.
    pub fn new(size: Option<TerminalSize>) -> Terminal {
        Terminal { size, ..Terminal::default() }
    }

    /// How large it is, as far as known.
    pub fn size(&self) -> Option<TerminalSize> {
        self.size
    }

    /// Types. What is typed before the machine starts waits for it, up to 64 KiB; what is typed
    /// after its end is lost.
    pub fn send(&self, bytes: &[u8]) {
        let mut line = self.line();
        match &mut line.sink {
            Some(sink) => sink(bytes),
            None => {
                let room = EARLY_BYTES.saturating_sub(line.early.len());
                line.early.extend(bytes.iter().take(room));
            }
        }
    }

    /// Hands what is typed to `sink`, until what this returns is dropped.
    pub(super) fn connect(&self, mut sink: impl FnMut(&[u8]) + Send + 'static) -> Connected {
        let mut line = self.line();
        let early = std::mem::take(&mut line.early);
        if !early.is_empty() {
            sink(&early);
        }
        line.sink = Some(Box::new(sink));
        drop(line);
        Connected(self.clone())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.line().sink = None;
    }
}

impl PartialEq for Terminal {
    /// Whether they type on the same console.
    fn eq(&self, other: &Terminal) -> bool {
        Arc::ptr_eq(&self.line, &other.line)
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::{Terminal, TerminalSize};

    #[test]
    fn what_is_typed_early_is_there_when_the_machine_is() {
        let (terminal, (sender, receiver)) = (Terminal::new(None), channel());
        terminal.send(b"ea");
        terminal.clone().send(b"rly");
        let connected = terminal.connect(move |bytes| sender.send(bytes.to_vec()).unwrap());
        terminal.send(b"late");
        drop(connected);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [b"early".to_vec(), b"late".to_vec()]);
        terminal.send(b"too late");
    }

    #[test]
    fn it_is_there_in_json_and_is_another() {
        let size = TerminalSize { rows: 50, columns: 160 };
        for (size, json) in [(None, "{}"), (Some(size), r#"{"size":{"rows":50,"columns":160}}"#)] {
            let terminal = Some(Terminal::new(size));
            let text = serde_json::to_string(&terminal).unwrap();
            assert_eq!(text, json);
            let back: Option<Terminal> = serde_json::from_str(&text).unwrap();
            assert!(back.is_some_and(|back| back.size() == size && Some(back) != terminal));
        }
    }
}
