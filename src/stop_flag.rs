//! The user's wish to stop, which a training loop looks at between steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that Ctrl-C raises. A training loop that watches the flag saves its state and ends. While nothing
/// watches it, there is nothing to save, and the code that raises it may end the program.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    requested: AtomicBool,
    watched: AtomicBool,
}

/// A promise to look at the flag, for as long as this lives.
pub struct Watch<'a>(&'a Stop);

impl Stop {
    /// Requests a stop. Returns whether a loop will obey: the flag is watched and this is the first request.
    pub fn request(&self) -> bool {
        let first = !self.0.requested.swap(true, Ordering::SeqCst);
        first && self.0.watched.load(Ordering::SeqCst)
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Promises to look at the flag until the returned value is dropped.
    pub fn watch(&self) -> Watch<'_> {
        self.0.watched.store(true, Ordering::SeqCst);
        Watch(self)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.0.watched.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_watched_first_request_is_obeyed() {
        assert!(!Stop::default().request());
        let stop = Stop::default();
        let watch = stop.watch();
        assert!(stop.request() && stop.requested());
        assert!(!stop.request());
        drop(watch);
    }
}
