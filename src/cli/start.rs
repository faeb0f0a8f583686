//! What comes before a command: its arguments and the log, both printed in a way that cannot end the program.

use std::io::Write as _;

use anyhow::Result;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{FormatFields, debug_fn};

use super::Cli;
use crate::distributed::launcher_environment::rank_and_size;
use crate::encoder::unreadable_photos::PHOTO_FAULTS;
use crate::escape::escaped_lines;
use crate::output;

/// The arguments; `None` after help or version, which are printed here, as wrong arguments are.
///
/// # Errors
/// When stdout does not take the help.
pub fn arguments() -> Result<Option<Cli>> {
    let error = match Cli::try_parse() {
        Ok(cli) => return Ok(Some(cli)),
        Err(error) => error,
    };
    if error.use_stderr() {
        refuse(&error);
    }
    output::checked(error.print().and_then(|()| std::io::stdout().flush()))?;
    Ok(None)
}

/// Prints what is wrong with the arguments, without colours if they hold characters that a terminal obeys.
fn refuse(error: &clap::Error) -> ! {
    let obeyed = |arg: std::ffi::OsString| arg.to_string_lossy().contains(char::is_control);
    if std::env::args_os().any(obeyed) {
        output::message(error.to_string().trim_end());
    } else {
        error.print().unwrap_or_default();
    }
    std::process::exit(error.exit_code())
}

/// Starts the log on stderr. A line that stderr does not take is lost.
pub fn log() {
    let filter = EnvFilter::try_from_env("DSI_LOG").unwrap_or_else(|_| EnvFilter::new(log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| output::Log)
        .with_ansi(output::log_has_colours())
        .log_internal_errors(false)
        .fmt_fields(escaped_fields())
        .without_time()
        .with_target(false)
        .init();
}

/// The message of a log line, then its fields, with control characters escaped: names of files come from
/// outside.
fn escaped_fields() -> impl for<'w> FormatFields<'w> {
    debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{}", escaped_lines(&format!("{value:?}"))),
        name if name.starts_with("log.") => Ok(()),
        name => write!(writer, "{name}={}", escaped_lines(&format!("{value:?}"))),
    })
    .delimited(" ")
}

/// The first of several ranks logs for all; the others log errors, and the photos of their share that cannot
/// be read.
fn log_level() -> String {
    match rank_and_size() {
        Some((rank, _)) if rank > 0 => format!("dsi=error,{PHOTO_FAULTS}=warn"),
        _ => "dsi=info".to_owned(),
    }
}
