//! The command line: one file a command, which reads its arguments, calls the library and prints what it
//! returns.
//!
//! Results go to stdout, everything else to stderr. This layer handles the program only:
//! run folders (`begin_run`, `open_run`), several ranks, Ctrl-C, the device and the log.

mod ablate;
mod begin_run;
mod bench;
mod change;
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
mod start;
mod table_args;
mod train;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::context::Context;
use crate::distributed::launcher_environment::local_rank;
use crate::eval::report::Report;
use crate::eval::report_table::{self, difference_table, report_table};
use crate::home_folder;
use crate::nn::device;
use crate::nn::device_settings::Device;
use crate::output;
use crate::progress::Progress;
use table_args::{Page, TableArgs};

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
    Add(change::Add),
    Remove(change::Remove),
    Compact(change::Compact),
    Bench(bench::Bench),
}

/// Reads the arguments and runs the command they name.
///
/// # Errors
/// Whatever the command reports; `main` prints it.
pub fn run() -> Result<()> {
    let Some(cli) = start::arguments()? else { return Ok(()) };
    start::log();
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
        Command::Add(command) => command.run(),
        Command::Remove(command) => command.run(),
        Command::Compact(command) => command.run(),
        Command::Bench(command) => command.run(),
    }
}

/// A path on the command line, with `~` for the home folder.
fn path_argument() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(home_folder::expand_argument)
}

/// The arguments of every command that starts from a configuration.
#[derive(Args)]
struct ConfigArgs {
    /// The experiment: a TOML file, see `configs/`.
    #[arg(long, value_name = "FILE", value_parser = path_argument(), required = true)]
    config: Option<PathBuf>,
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
        Ok(Config::load(self.file()?, &self.overrides())?)
    }

    fn file(&self) -> Result<&Path> {
        self.config.as_deref().context("give a configuration: --config FILE")
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
    Ok(output::result(result)?)
}

/// The tables, or the JSON, of a report on stdout.
fn print_report(report: &Report, json: bool, args: &TableArgs) -> Result<()> {
    if json {
        return print_json(report);
    }
    let (table, columns) = (report_table(report), report_table::columns());
    let mut page = Page::new(args);
    if args.is_single() {
        page.table(&table, &columns)?;
        return page.print();
    }
    let usual: Vec<usize> = (0..report_table::USUAL_COLUMNS).collect();
    page.table(&table.with_columns(&usual), &columns)?;
    difference_table(report).map_or(Ok(()), |table| page.table(&table, &columns))?;
    if let Some(share) = report.memorisation {
        page.note(&format!("image→docid memorisation (decoder alone): {:.1}%", 100.0 * share));
    }
    page.print()
}

/// What printing the results and writing the files came to: both are tried, and both errors are reported.
fn both(printed: Result<()>, written: Result<()>) -> Result<()> {
    match (printed, written) {
        (Err(printed), Err(written)) => Err(anyhow::anyhow!("{printed:#}; {written:#}")),
        (printed, written) => printed.and(written),
    }
}
