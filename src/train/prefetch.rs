//! Computes the values of the next few micro-batches ahead of them, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Values that are computed ahead.
const DEPTH: usize = 3;

/// Numbered values, each a function of its number alone.
pub struct Prefetcher<T> {
    compute: Arc<dyn Fn(usize) -> T + Send + Sync>,
    /// The number of the channel's next value, and the channel.
    coming: Option<(usize, Receiver<T>)>,
    waited: Duration,
}

impl<T: Send + 'static> Prefetcher<T> {
    /// Values computed by `compute`. The thread starts at the first call of [`Prefetcher::of`].
    pub fn new(compute: impl Fn(usize) -> T + Send + Sync + 'static) -> Self {
        Self { compute: Arc::new(compute), coming: None, waited: Duration::ZERO }
    }

    /// The value of this number. Values in a row are computed ahead; any other number starts a new thread
    /// there.
    pub fn of(&mut self, number: usize) -> T {
        let began = Instant::now();
        let (next, channel) = match self.coming.take() {
            Some((next, channel)) if next == number => (next, channel),
            _ => (number, self.start_at(number)),
        };
        // A thread that panicked leaves an empty channel; computing the value here shows the same panic.
        let value = channel.recv().unwrap_or_else(|_| (self.compute)(number));
        self.coming = Some((next + 1, channel));
        self.waited += began.elapsed();
        value
    }

    /// The time spent waiting for values since the last call.
    pub fn waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    /// Starts a thread that computes the values from a number on, until nobody receives them.
    fn start_at(&self, first: usize) -> Receiver<T> {
        let (sender, receiver) = sync_channel(DEPTH - 1);
        let compute = self.compute.clone();
        std::thread::spawn(move || {
            for number in first.. {
                if sender.send(compute(number)).is_err() {
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
        let mut values = Prefetcher::new(move |number| {
            counter.fetch_max(number + 1, Ordering::SeqCst);
            10 * number
        });
        let numbers = [0, 1, 2, 3, 7, 8, 2, 3];
        assert_eq!(numbers.map(|number| values.of(number)), numbers.map(|number| 10 * number));
        assert!(computed.load(Ordering::SeqCst) <= 9 + DEPTH);
    }
}
