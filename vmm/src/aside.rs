//! What the guest says after its end, when it is asked what it knows: it belongs to no trial's
//! evidence, so it does not go the way of the console.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::sync::lock;

/// Bytes that are kept.
const ROOM: usize = 64 << 10;

/// Lines that were put aside.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    kept: Mutex<Kept>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<String>,
    bytes: usize,
    /// A line came that nobody has heard of yet.
    is_new: bool,
}

impl Aside {
    /// Keeps a line, if there is room.
    pub(crate) fn push(&self, line: String) {
        let mut kept = lock(&self.kept);
        kept.bytes = kept.bytes.saturating_add(line.len() + 1);
        if kept.bytes <= ROOM {
            kept.lines.push(line);
            kept.is_new = true;
            self.grown.notify_all();
        }
    }

    /// Whether a line comes within `patience`, or came since the last time.
    pub(crate) fn grows_within(&self, patience: Duration) -> bool {
        let waited = self.grown.wait_timeout_while(lock(&self.kept), patience, |kept| !kept.is_new);
        let mut kept = waited.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::take(&mut kept.is_new)
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.kept).lines.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_heard_once_and_bounded() {
        let aside = Aside::default();
        assert!(!aside.grows_within(Duration::ZERO));
        aside.push("Uhhuh.".into());
        assert!(aside.grows_within(Duration::ZERO));
        assert!(!aside.grows_within(Duration::ZERO));
        (0..100).for_each(|_| aside.push("x".repeat(ROOM / 10)));
        assert_eq!(aside.lines().len(), 10);
    }
}
