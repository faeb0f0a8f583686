//! Ctrl-C: the first one asks for a stop, the second one ends the program.

use anyhow::Result;

use crate::output;
use crate::stop_flag::Stop;

/// Lets the first Ctrl-C ask a training loop to save and stop. The second one, or one with nothing to save,
/// ends the program.
pub fn stop_on_ctrl_c() -> Result<Stop> {
    let stop = Stop::default();
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if !flag.request() {
            std::process::exit(130);
        }
        output::message("stopping after this step; press Ctrl-C again to leave at once");
    })?;
    Ok(stop)
}
