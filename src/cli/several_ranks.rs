//! A process that is one of several ranks: which commands refuse several ranks, and how all ranks fail together.

use anyhow::{Result, bail};

use crate::distributed::Comm;
use crate::distributed::launcher_environment::rank_and_size;
use crate::error::Error;
use crate::output;

/// Refuses to do the same work several times in one folder.
pub fn require_single_process() -> Result<()> {
    match rank_and_size() {
        Some((_, size)) if size > 1 => {
            bail!("started as {size} ranks, but only dsi train works with several: start this command alone")
        }
        _ => Ok(()),
    }
}

/// Makes a panic end the whole process if there are other ranks: they would wait for this one for ever.
pub fn abort_on_panic(comm: &Comm) {
    if comm.size() == 1 {
        return;
    }
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

/// Ends all ranks if this one failed: they would wait for it for ever. A requested stop reaches every rank by
/// itself.
pub fn fail_together<T>(comm: &Comm, result: Result<T>) -> Result<T> {
    match result {
        Err(error) if comm.size() > 1 && !is_stop(&error) => {
            output::message(format!("error: rank {} of {}: {error:#}", comm.rank(), comm.size()));
            comm.abort()
        }
        result => result,
    }
}

fn is_stop(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Stopped(_)))
}
