//! Stopping long work cleanly: Ctrl-C, SIGTERM, a deadline of the caller's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Says to everything that works on its behalf that it should stop. Clones are the same token.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    callbacks: Vec<(u64, Box<dyn FnOnce() + Send>)>,
}

impl Cancel {
    /// A token that nobody has cancelled.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Cancels: every callback runs once, on this thread. A second call does nothing.
    pub fn cancel(&self) {
        let callbacks = {
            let mut state = self.state();
            state.cancelled = true;
            std::mem::take(&mut state.callbacks)
        };
        for (_, callback) in callbacks {
            callback();
        }
    }

    /// Runs `callback` when the token is cancelled, at once if it already is, and never after the
    /// guard is dropped.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> CancelGuard {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        if state.cancelled {
            drop(state);
            callback();
        } else {
            state.callbacks.push((id, Box::new(callback)));
        }
        CancelGuard { token: self.clone(), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// Takes its callback back when dropped.
#[derive(Debug)]
#[must_use = "the callback is taken back when the guard is dropped"]
pub struct CancelGuard {
    token: Cancel,
    id: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.token.state().callbacks.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Cancel;

    #[test]
    fn callbacks_run_once_and_not_after_their_guard() {
        let calls = Arc::new(AtomicU32::new(0));
        let count = |calls: &Arc<AtomicU32>| {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
            }
        };
        let cancel = Cancel::new();
        let _kept = cancel.on_cancel(count(&calls));
        drop(cancel.on_cancel(count(&calls)));
        cancel.clone().cancel();
        cancel.cancel();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let _late = cancel.on_cancel(count(&calls));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
