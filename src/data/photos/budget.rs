//! A budget of memory that all threads share: who wants to decode a photo reserves room for it first.
//!
//! A thread that waits holds no room, so no two threads can wait for each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may be in use at the same time.
#[derive(Debug)]
pub(super) struct Budget {
    total: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

impl Budget {
    pub(super) const fn new(total: u64) -> Self {
        Self { total, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// All bytes, used or not.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Waits until there is room for this many bytes, or for the whole budget if they are more. The caller must
    /// not hold other room of the budget.
    pub(super) fn reserve(&self, bytes: u64) -> Room<'_> {
        let bytes = bytes.min(self.total);
        let full = |used: &mut u64| self.total - *used < bytes;
        let mut used = self.freed.wait_while(self.used(), full).unwrap_or_else(PoisonError::into_inner);
        *used += bytes;
        Room { budget: self, bytes }
    }

    fn used(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reserved bytes, which are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Room<'_> {
    /// Makes the room this large, if the budget has that many bytes at the moment. Less is always possible.
    pub(super) fn resize(&mut self, bytes: u64) -> bool {
        let mut used = self.budget.used();
        let others = *used - self.bytes;
        let fits = bytes <= self.budget.total - others;
        if fits {
            *used = others + bytes;
            self.bytes = bytes;
            self.budget.freed.notify_all();
        }
        fits
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn room_grows_within_the_budget_and_comes_back() {
        let budget = Budget::new(10);
        let mut first = budget.reserve(4);
        let mut second = budget.reserve(6);
        assert!(!first.resize(5) && second.resize(3) && first.resize(7));
        drop((first, second));
        assert_eq!(*budget.used(), 0);
        assert!(budget.reserve(99).resize(10), "the whole budget at most");
    }

    #[test]
    fn threads_together_stay_within_the_budget_and_all_get_their_turn() {
        let (budget, inside) = (Budget::new(10), AtomicU64::new(0));
        let work = |bytes: u64| {
            for _ in 0..200 {
                let room = budget.reserve(bytes);
                assert!(inside.fetch_add(bytes, Ordering::SeqCst) + bytes <= 10);
                inside.fetch_sub(bytes, Ordering::SeqCst);
                drop(room);
            }
        };
        thread::scope(|scope| [1, 3, 4, 7, 10].map(|bytes| _ = scope.spawn(move || work(bytes))));
        assert_eq!(*budget.used(), 0);
    }
}
