//! Stopping long work cleanly: Ctrl-C, SIGTERM, a deadline of the caller's.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// Says to everything that works on its behalf that it should stop. Clones are the same token.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A callback returned.
    returned: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    callbacks: VecDeque<(u64, Box<dyn FnOnce() + Send>)>,
    /// The callback that [`Cancel::cancel`] is in, and its thread.
    running: Option<(u64, ThreadId)>,
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
        let mut state = self.state();
        if std::mem::replace(&mut state.cancelled, true) {
            return;
        }
        // None is added any more, and those whose guard is dropped meanwhile must not run.
        while let Some((id, callback)) = state.callbacks.pop_front() {
            state.running = Some((id, thread::current().id()));
            drop(state);
            callback();
            state = self.state();
            state.running = None;
            self.0.returned.notify_all();
        }
    }

    /// Runs `callback` when the token is cancelled, at once if it already is, and never after the
    /// guard is dropped: a drop waits for a callback that runs on another thread. So the callback
    /// must not wait for what the guard's owner holds.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> CancelGuard {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        if state.cancelled {
            drop(state);
            callback();
        } else {
            state.callbacks.push_back((id, Box::new(callback)));
        }
        CancelGuard { token: self.clone(), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut state = self.token.state();
        let own = state.callbacks.iter().position(|(id, _)| *id == self.id);
        let taken_back = own.and_then(|at| state.callbacks.remove(at));
        let me = thread::current().id();
        let runs = |state: &mut State| {
            state.running.is_some_and(|(id, thread)| id == self.id && thread != me)
        };
        let returned = self.token.0.returned.wait_while(state, runs);
        // What the callback holds may be another guard of this token, whose drop takes the lock.
        drop(returned.unwrap_or_else(PoisonError::into_inner));
        drop(taken_back);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

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

    #[test]
    fn a_guard_outlives_its_callback() {
        let cancel = Cancel::new();
        let (runs, running) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let returned = Arc::new(AtomicBool::new(false));
        let guard = cancel.on_cancel({
            let returned = returned.clone();
            move || {
                runs.send(()).unwrap();
                // Until the test drops its end, which it does while the guard's drop waits or before.
                let _ = may_go_on.recv();
                returned.store(true, Ordering::SeqCst);
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| cancel.cancel());
            running.recv().unwrap();
            let dropped = scope.spawn(move || drop(guard));
            drop(go_on);
            dropped.join().unwrap();
            assert!(returned.load(Ordering::SeqCst));
        });
    }

    #[test]
    fn a_callback_may_drop_guards() {
        let cancel = Cancel::new();
        let (hand_over, handed_over) = channel();
        let calls = Arc::new(AtomicU32::new(0));
        let own = cancel.on_cancel(move || drop(handed_over.recv()));
        let other = cancel.on_cancel({
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        hand_over.send((own, other)).unwrap();
        cancel.cancel();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }
}
