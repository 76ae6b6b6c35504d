//! Locks that stay usable when a thread has died holding them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. What a thread that panicked left behind is still the best there is: the machine is
/// ending then, and only its last words are wanted.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
