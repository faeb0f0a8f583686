//! The `dsi` program: parse, call, print the error chain once, exit code.

use std::process::ExitCode;

/// Training allocates and frees the same large buffers at every step. This allocator can be told to keep them;
/// handing them back to the kernel each time, to be zeroed again, would cost a third of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's option for the delay of that return, by the number it has in `mimalloc.h`; −1 is never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// What a shell expects of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // SAFETY: sets an integer option of the allocator, before any thread is started.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    match dsi::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(dsi::error::Error::Stopped(_)) => {
                eprintln!("{error}");
                ExitCode::from(INTERRUPTED)
            }
            _ => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
