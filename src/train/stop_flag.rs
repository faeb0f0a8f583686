//! The user's wish to stop, looked at between steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that Ctrl-C raises. While a training loop watches it, that loop saves and ends; at any other time
/// there is nothing to save, and whoever raises it may end the program.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    requested: AtomicBool,
    watched: AtomicBool,
}

/// While this lives, the flag is watched.
pub struct Watch<'a>(&'a Stop);

impl Stop {
    /// Asks to stop. Returns whether somebody will: the flag is watched, and this is the first request.
    pub fn request(&self) -> bool {
        let first = !self.0.requested.swap(true, Ordering::SeqCst);
        first && self.0.watched.load(Ordering::SeqCst)
    }

    /// Whether a stop was asked for.
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
    fn only_a_watched_first_request_will_be_obeyed() {
        assert!(!Stop::default().request());
        let stop = Stop::default();
        let watch = stop.watch();
        assert!(stop.request() && stop.requested());
        assert!(!stop.request());
        drop(watch);
    }
}
