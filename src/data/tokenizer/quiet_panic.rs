//! Calls code of others that panics on some inputs, without a word on standard error.

use std::cell::Cell;
use std::panic::{self, UnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `call` returns, or `None` if it panics. The panics of other threads are reported as before.
pub fn or_none<T>(call: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                report(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(call).ok();
    QUIET.set(before);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_none() {
        assert_eq!(or_none(|| 3), Some(3));
        assert_eq!(or_none(|| -> u32 { panic!("nobody reads this") }), None);
        assert!(!QUIET.get());
    }
}
