//! The command line: one file a command, no logic. Results go to stdout, everything else to stderr.

mod pretrain;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config};
use crate::train::stop::Stop;

/// Trains, evaluates and serves a generative image retriever.
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pretrain(pretrain::Pretrain),
}

/// Parses the arguments and runs the command they name.
///
/// # Errors
/// Whatever the command reports; `main` prints it.
pub fn run() -> Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("DSI_LOG").unwrap_or_else(|_| EnvFilter::new("dsi=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().with_target(false).init();
    match cli.command {
        Command::Pretrain(command) => command.run(),
    }
}

/// What every command that starts from a configuration takes.
#[derive(Args)]
struct ConfigArgs {
    /// The experiment: a TOML file, see `configs/`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override a key of it, e.g. `--set data.root=photos` (repeatable).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Short for `--set seed=N`.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Short for `--set device=…`: auto, cpu or cuda:N.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config> {
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let device = self.device.as_ref().map(|device| format!("device={device}"));
        let overrides: Vec<String> = self.set.iter().cloned().chain(seed).chain(device).collect();
        Ok(Config::load(&self.config, &overrides)?)
    }
}

/// The candle device a configuration means.
fn device(wanted: config::Device) -> Result<candle_core::Device> {
    Ok(match wanted {
        config::Device::Cpu => candle_core::Device::Cpu,
        config::Device::Auto => candle_core::Device::cuda_if_available(0)?,
        config::Device::Cuda(ordinal) => candle_core::Device::new_cuda(ordinal)?,
    })
}

/// Ctrl-C asks to stop; the second one ends the program at once.
fn stop_on_ctrl_c() -> Result<Stop> {
    let stop = Stop::default();
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.request() {
            std::process::exit(130);
        }
        eprintln!("stopping after this step; press Ctrl-C again to leave at once");
    })?;
    Ok(stop)
}
