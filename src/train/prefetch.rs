//! What the coming steps need is made ahead of them, on a thread of its own, and never more of it than a few steps' worth.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Steps that are made ahead.
const DEPTH: usize = 3;

/// Values of steps, each a function of its step alone.
pub struct Prefetcher<T> {
    make: Arc<dyn Fn(usize) -> T + Send + Sync>,
    /// The step that comes next out of the channel, and the channel.
    coming: RefCell<Option<(usize, Receiver<T>)>>,
    waited: Cell<Duration>,
}

impl<T: Send + 'static> Prefetcher<T> {
    /// Values made by `make`; nothing is begun before the first is asked for.
    pub fn new(make: impl Fn(usize) -> T + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), coming: RefCell::new(None), waited: Cell::default() }
    }

    /// The value of a step. In order they come ready-made; any other step is where the order begins anew.
    pub fn of(&self, step: usize) -> T {
        let began = Instant::now();
        let mut coming = self.coming.borrow_mut();
        let (next, channel) = match coming.take() {
            Some((next, channel)) if next == step => (next, channel),
            _ => (step, self.from(step)),
        };
        // A thread that failed leaves an empty channel: then the fault shows here.
        let value = channel.recv().unwrap_or_else(|_| (self.make)(step));
        *coming = Some((next + 1, channel));
        self.waited.set(self.waited.get() + began.elapsed());
        value
    }

    /// Time that was spent waiting since this was last asked.
    pub fn waited(&self) -> Duration {
        self.waited.take()
    }

    fn from(&self, step: usize) -> Receiver<T> {
        let (sender, receiver) = sync_channel(DEPTH - 1);
        let make = self.make.clone();
        std::thread::spawn(move || {
            (step..).map(|step| sender.send(make(step))).take_while(Result::is_ok).count()
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn values_come_in_any_order_and_few_are_made_ahead() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let ahead = Prefetcher::new(move |step| {
            counter.fetch_max(step + 1, Ordering::SeqCst);
            10 * step
        });
        let asked = [0, 1, 2, 3, 7, 8, 2, 3];
        assert_eq!(asked.map(|step| ahead.of(step)), asked.map(|step| 10 * step));
        assert!(made.load(Ordering::SeqCst) <= 9 + DEPTH);
    }
}
