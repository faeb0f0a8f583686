//! The `dsi` program: parse, call, print the error chain once, exit code.

use std::process::ExitCode;

use dsi::output;
use dsi::process_memory::PURGE_DELAY;

/// Training allocates and frees the same large buffers at every step. This allocator keeps them; returning
/// them to the kernel, which zeroes them again, costs a third of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code that a shell expects of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // SAFETY: sets an integer option of the allocator, before any thread is started.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    match dsi::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(dsi::error::Error::Stopped(_)) => {
                output::message(error);
                ExitCode::from(INTERRUPTED)
            }
            _ => {
                output::message(format!("error: {error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    /// mimalloc reads an option from the environment under its name when the process starts, so the test runs
    /// itself once more with the variable set.
    #[test]
    fn the_option_is_the_one_called_purge_delay() {
        const NAME: &str = "MIMALLOC_PURGE_DELAY";
        if let Ok(value) = env::var(NAME) {
            // SAFETY: reads an integer option of the allocator.
            let delay = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
            assert_eq!(delay.to_string(), value);
            return;
        }
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["--exact", "tests::the_option_is_the_one_called_purge_delay"]);
        let output = test.env(NAME, "4711").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}
