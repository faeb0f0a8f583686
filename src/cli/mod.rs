//! The command line: one file a command, no logic. Results go to stdout, everything else to stderr.

mod data;
mod eval;
mod index;
mod pretrain;
mod search;
mod train;

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config};
use crate::eval::report::Report;
use crate::eval::table::report_table;
use crate::file;
use crate::model::features::{self, Prepared};
use crate::model::index::Index;
use crate::retriever::build::{Model, Parts};
use crate::run::RunFolder;
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
    Data(data::Data),
    Pretrain(pretrain::Pretrain),
    Index(index::Index),
    Train(train::Train),
    Eval(eval::Eval),
    Search(search::Search),
}

/// Parses the arguments and runs the command they name.
///
/// # Errors
/// Whatever the command reports; `main` prints it.
pub fn run() -> Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("DSI_LOG").unwrap_or_else(|_| EnvFilter::new("dsi=info"));
    let colours = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    log.without_time().with_target(false).init();
    match cli.command {
        Command::Data(command) => command.run(),
        Command::Pretrain(command) => command.run(),
        Command::Index(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Search(command) => command.run(),
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

/// Ctrl-C asks a training loop to save and stop; the second one, or one with nothing to save, ends the program.
fn stop_on_ctrl_c() -> Result<Stop> {
    let stop = Stop::default();
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if !flag.request() {
            std::process::exit(130);
        }
        eprintln!("stopping after this step; press Ctrl-C again to leave at once");
    })?;
    Ok(stop)
}

/// What decides the weights of a run: a resumed run must agree in all of it.
const DECIDES_WEIGHTS: [&str; 6] = ["seed", "data", "encoder", "index", "decoder", "train"];
/// What decides its index.
const DECIDES_INDEX: [&str; 4] = ["seed", "data", "encoder", "index"];

fn run_folder(out: Option<PathBuf>, config: &Config) -> RunFolder {
    RunFolder::new(out.unwrap_or_else(|| format!("runs/{}", config.data.name).into()))
}

/// Makes the run folder ready: refuses to overwrite a run, refuses to resume another one, prints and keeps the
/// resolved configuration.
fn open_run(run: &RunFolder, config: &Config, resume: bool, force: bool) -> Result<()> {
    let at = run.path().display();
    if force && run.config().exists() {
        for folder in [run.checkpoints(), run.index(), run.eval()] {
            if folder.exists() {
                std::fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
    } else if run.config().exists() && (run.index().exists() || run.checkpoints().exists()) {
        let before = Config::load(&run.config(), &[])?;
        let trained = run.checkpoints().exists();
        if trained && !resume {
            bail!(
                "{at} holds a run already: go on with --resume, begin anew with --force, or choose another --out"
            );
        }
        let differences =
            config.differences(&before, if trained { &DECIDES_WEIGHTS } else { &DECIDES_INDEX });
        if !differences.is_empty() {
            bail!(
                "{at} holds a run of another configuration; choose another --out, or --force:\n  {}",
                differences.join("\n  ")
            );
        }
    } else if resume {
        bail!("{at} holds no run to resume");
    }
    let text = config.to_toml();
    eprint!("{text}");
    Ok(file::write_atomic(&run.config(), |out| out.write_all(text.as_bytes()))?)
}

/// A trained run, opened for evaluation or search.
struct Opened {
    config: Config,
    run: RunFolder,
    prepared: Prepared,
    parts: Parts,
}

impl Opened {
    fn new(run: PathBuf, overrides: &[String]) -> Result<Self> {
        let run = RunFolder::new(run);
        if !run.config().exists() {
            bail!("{} holds no run; make one with dsi train --config FILE", run.path().display());
        }
        let trained = Config::load(&run.config(), &[])?;
        let config = Config::load(&run.config(), overrides)?;
        let differences = config.differences(&trained, &DECIDES_WEIGHTS);
        if !differences.is_empty() {
            bail!("a trained run cannot be changed:\n  {}", differences.join("\n  "));
        }
        let device = device(config.device)?;
        let prepared = features::prepare(&config.data, &config.encoder, &device)?;
        let index = Index::read(&run.index(), &prepared.corpus, &prepared.fingerprint)?;
        let model = Model::trained(&config, &index, &run, &device)?;
        let parts = Parts::new(&config, &prepared, index, model.dsi)?;
        Ok(Self { config, run, prepared, parts })
    }
}

/// Puts a result on stdout. A reader that goes away (`dsi … | head`) has read what it wanted.
fn put(result: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{result}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// The table, or the JSON, of a report on stdout.
fn print_report(report: &Report, json: bool) -> Result<()> {
    if json {
        return put(serde_json::to_string_pretty(report)? + "\n");
    }
    let memorised = report.memorisation.map_or(String::new(), |share| {
        format!("\nimage→docid memorisation (decoder alone): {:.1}%\n", 100.0 * share)
    });
    put(format!("{}{memorised}", report_table(report)))
}
