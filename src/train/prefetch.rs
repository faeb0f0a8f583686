//! Computes the values of the next few steps ahead of them, on a thread of its own.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Steps that are computed ahead.
const DEPTH: usize = 3;

/// The values of steps, each a function of its step alone.
pub struct Prefetcher<T> {
    compute: Arc<dyn Fn(usize) -> T + Send + Sync>,
    /// The step of the channel's next value, and the channel.
    coming: RefCell<Option<(usize, Receiver<T>)>>,
    waited: Cell<Duration>,
}

impl<T: Send + 'static> Prefetcher<T> {
    /// Values computed by `compute`. The thread starts at the first call of [`Prefetcher::of`].
    pub fn new(compute: impl Fn(usize) -> T + Send + Sync + 'static) -> Self {
        Self { compute: Arc::new(compute), coming: RefCell::new(None), waited: Cell::default() }
    }

    /// The value of a step. Steps that follow each other are computed ahead; any other step starts a new thread there.
    pub fn of(&self, step: usize) -> T {
        let began = Instant::now();
        let mut coming = self.coming.borrow_mut();
        let (next, channel) = match coming.take() {
            Some((next, channel)) if next == step => (next, channel),
            _ => (step, self.start_at(step)),
        };
        // A thread that panicked leaves an empty channel; computing the value here shows the same panic.
        let value = channel.recv().unwrap_or_else(|_| (self.compute)(step));
        *coming = Some((next + 1, channel));
        self.waited.set(self.waited.get() + began.elapsed());
        value
    }

    /// The time spent waiting for values since the last call.
    pub fn waited(&self) -> Duration {
        self.waited.take()
    }

    /// Starts a thread that computes the values from a step on, until nobody receives them.
    fn start_at(&self, first: usize) -> Receiver<T> {
        let (sender, receiver) = sync_channel(DEPTH - 1);
        let compute = self.compute.clone();
        std::thread::spawn(move || {
            for step in first.. {
                if sender.send(compute(step)).is_err() {
                    break;
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn any_order_gives_the_values_and_few_are_computed_ahead() {
        let computed = Arc::new(AtomicUsize::new(0));
        let counter = computed.clone();
        let values = Prefetcher::new(move |step| {
            counter.fetch_max(step + 1, Ordering::SeqCst);
            10 * step
        });
        let steps = [0, 1, 2, 3, 7, 8, 2, 3];
        assert_eq!(steps.map(|step| values.of(step)), steps.map(|step| 10 * step));
        assert!(computed.load(Ordering::SeqCst) <= 9 + DEPTH);
    }
}
