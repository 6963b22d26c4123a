//! Locking a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a thread panicked with the lock held.
///
/// Use this for values that are changed in steps which are complete by themselves: a panic between
/// two steps leaves such a value usable.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
