//! The command line: one file a command, which reads its arguments, calls the library and prints what it
//! returns.
//!
//! Results go to stdout, everything else to stderr. This layer handles the program only:
//! run folders (`begin_run`, `open_run`), several ranks, Ctrl-C, the device and the log.

mod ablate;
mod begin_run;
mod compare;
mod config;
mod ctrl_c;
mod data;
mod eval;
mod index;
mod open_run;
mod pretrain;
mod search;
mod several_ranks;
mod train;

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::context::Context;
use crate::distributed::launcher_environment::{local_rank, rank_and_size};
use crate::encoder::unreadable_photos::PHOTO_FAULTS;
use crate::eval::report::Report;
use crate::eval::report_table::{difference_table, report_table};
use crate::nn::device;
use crate::nn::device_settings::Device;
use crate::progress::Progress;

/// Trains, evaluates and searches with a generative image retriever.
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Data(data::Data),
    Pretrain(pretrain::Pretrain),
    Index(index::Index),
    Train(train::Train),
    Eval(eval::Eval),
    Ablate(ablate::Ablate),
    Compare(compare::Compare),
    Config(config::Config),
    Search(search::Search),
}

/// Parses the arguments and runs the command they name.
///
/// # Errors
/// Whatever the command reports; `main` prints it.
pub fn run() -> Result<()> {
    let cli = Cli::parse();
    start_log();
    if !matches!(&cli.command, Command::Train(command) if !command.dry_run) {
        several_ranks::require_single_process()?;
    }
    match cli.command {
        Command::Data(command) => command.run(),
        Command::Pretrain(command) => command.run(),
        Command::Index(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Ablate(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Search(command) => command.run(),
    }
}

/// Starts the log on stderr.
fn start_log() {
    let filter = EnvFilter::try_from_env("DSI_LOG").unwrap_or_else(|_| EnvFilter::new(log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}

/// The first of several ranks logs for all; the others log errors, and the photos of their share that cannot
/// be read.
fn log_level() -> String {
    match rank_and_size() {
        Some((rank, _)) if rank > 0 => format!("dsi=error,{PHOTO_FAULTS}=warn"),
        _ => "dsi=info".to_owned(),
    }
}

/// The arguments of every command that starts from a configuration.
#[derive(Args)]
struct ConfigArgs {
    /// The experiment: a TOML file, see `configs/`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override a key of the file, e.g. `--set data.root=photos` (repeatable); dsi config lists the keys.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Short for `--set seed=N`.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Short for `--set device=…`: auto, cpu or cuda:N.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Leave out images whose photo is missing or cannot be decoded: short for `--set
    /// data.on_bad_image=skip`.
    #[arg(long)]
    allow_missing: bool,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config> {
        Ok(Config::load(&self.config, &self.overrides())?)
    }

    /// All overrides, the short ones last.
    fn overrides(&self) -> Vec<String> {
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let device = self.device.as_ref().map(|device| format!("device={device}"));
        let skip = self.allow_missing.then(|| "data.on_bad_image=skip".to_owned());
        self.set.iter().cloned().chain(seed).chain(device).chain(skip).collect()
    }
}

/// What a command runs with: the device of its configuration, and progress bars on stderr.
fn context(config: &Config) -> Result<Context> {
    Ok(Context { progress: Progress::Stderr, ..Context::new(device(config.device)?) })
}

/// What a command runs with that trains until Ctrl-C stops it.
fn training_context(config: &Config) -> Result<Context> {
    let ctx = context(config)?;
    let stop = ctrl_c::stop_on_ctrl_c()?;
    Ok(Context { compute: device::compute_type(config.precision, &ctx.device)?, stop, ..ctx })
}

/// The candle device that a configuration names.
fn device(wanted: Device) -> Result<candle_core::Device> {
    match wanted {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Auto => Ok(device::best(local_rank())),
        Device::Cuda(ordinal) => device::cuda(ordinal).with_context(|| {
            format!("device {wanted} cannot be used; the CPU always can (--device cpu, or --set device=cpu)")
        }),
    }
}

/// Prints a value as indented JSON to stdout.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print_stdout(serde_json::to_string_pretty(value)? + "\n")
}

/// Prints a result to stdout. A reader that closes the pipe early (`dsi … | head`) is no error.
fn print_stdout(result: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{result}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// The table, or the JSON, of a report on stdout.
fn print_report(report: &Report, json: bool) -> Result<()> {
    if json {
        return print_json(report);
    }
    let memorised = report.memorisation.map_or(String::new(), |share| {
        format!("\nimage→docid memorisation (decoder alone): {:.1}%\n", 100.0 * share)
    });
    let compared = difference_table(report).map_or(String::new(), |table| format!("\n{table}"));
    print_stdout(format!("{}{compared}{memorised}", report_table(report)))
}
