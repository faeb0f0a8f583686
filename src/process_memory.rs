//! How much memory this process uses, and whether the allocator keeps what is freed.

use std::ffi::c_long;
use std::sync::{Mutex, PoisonError};

/// mimalloc's option for how long it keeps freed memory, in milliseconds; −1 is for ever. `libmimalloc-sys` has no
/// constant for it, so a test of the program checks the number against the option's name.
pub const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// While one of these lives, freed memory goes back to the system at once. The program keeps it otherwise, because
/// training needs the same buffers again; but blocks of hundreds of megabytes would not fit into each other's
/// places.
#[derive(Debug)]
pub struct ReturnAtOnce(());

/// How many of them live, and the delay without them.
static RETURNING: Mutex<(usize, c_long)> = Mutex::new((0, 0));

impl ReturnAtOnce {
    /// Begins to give memory back.
    pub fn start() -> Self {
        let mut state = RETURNING.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == 0 {
            // SAFETY: reads and writes an integer option of the allocator, which looks it up at each use.
            state.1 = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
            unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
        }
        state.0 += 1;
        Self(())
    }
}

impl Drop for ReturnAtOnce {
    fn drop(&mut self) {
        let mut state = RETURNING.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= 1;
        if state.0 == 0 {
            // SAFETY: as above.
            unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, state.1) };
        }
    }
}

/// Bytes of resident memory; `None` if the system does not say.
pub fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_comes_back_with_the_last_one() {
        // SAFETY: reads an integer option of the allocator.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        let (first, second) = (ReturnAtOnce::start(), ReturnAtOnce::start());
        drop(first);
        assert_eq!(delay(), 0);
        drop(second);
    }

    #[test]
    fn linux_reports_resident_memory() {
        if cfg!(target_os = "linux") {
            assert!(super::held().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
