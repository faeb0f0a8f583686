//! `dsi train`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::run_opening::{OF_A_TRAINING, Opening, Start, open_run, run_folder};
use super::{ConfigArgs, print_report, print_stdout, training_context};
use crate::config::Config;
use crate::context::Context;
use crate::distributed::Comm;
use crate::error::Error;
use crate::experiment;
use crate::markdown_table::{Align, Table};
use crate::run_folder::RunFolder;
use crate::train::dry_run::DryRun;

/// Do the whole job: embed the corpus, build the index if there is none, train the decoder, print the test table.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi train --config configs/scenes.toml
  dsi train --config configs/features.toml --set data.root=my-embeddings --out runs/mine
  dsi train --config configs/scenes.toml --resume
  dsi train --config configs/scenes.toml --set tune.text=all --set tune.image=2 --dry-run")]
pub struct Train {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/NAME, NAME being data.name].
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder, to exactly the weights an unbroken run would have.
    #[arg(long)]
    resume: bool,
    /// Try a few steps, say what the training would take in memory and time, and end; no run is kept.
    #[arg(long, conflicts_with_all = ["resume", "force"])]
    pub dry_run: bool,
    /// Throw away what an earlier run left in the run folder.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

impl Train {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run = run_folder(self.out.clone(), &config);
        let ctx = training_context(&config)?;
        if self.dry_run {
            let prepared = experiment::prepare(&config, &ctx)?;
            return print_stdout(told(&experiment::dry_run(&config, &prepared, &run, &ctx)?));
        }
        let comm = Comm::world()?;
        let ctx = Context { comm: comm.clone(), ..ctx };
        let kind =
            "the kind of their device: start no more of them than there are GPUs, or give all --device cpu";
        comm.agree(kind, u32::from(ctx.device.is_cuda()))?;
        if comm.size() > 1 {
            // The others would wait for this rank for ever.
            let told = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                told(panic);
                std::process::abort();
            }));
        }
        match self.work(&config, &run, &ctx) {
            // The others wait for this rank: they end with it.
            Err(error) if comm.size() > 1 && !is_stop(&error) => {
                eprintln!("error: rank {} of {}: {error:#}", comm.rank(), comm.size());
                comm.abort()
            }
            done => done,
        }
    }

    fn work(self, config: &Config, run: &RunFolder, ctx: &Context) -> Result<()> {
        let start = Start::from_flags(self.resume, self.force);
        let opening =
            ctx.comm.is_first().then(|| open_run(run, config, start, &OF_A_TRAINING)).transpose()?;
        let prepared = experiment::prepare(config, ctx)?;
        opening.map_or(Ok(()), Opening::begin)?;
        experiment::train(config, &prepared, run, self.resume, ctx)?;
        let report = experiment::measure_own(config, &prepared, run, ctx)?;
        if ctx.comm.is_first() {
            print_report(&report, false)?;
        }
        ctx.comm.barrier();
        Ok(())
    }
}

fn is_stop(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Stopped(_)))
}

fn told(found: &DryRun) -> String {
    let mut table = Table::new([("part", Align::Left), ("trained parameters", Align::Right)]);
    for (part, count) in &found.trained {
        table.push([(*part).to_owned(), count.to_string()]);
    }
    let minutes = found.total() / 60.0;
    let figure = |bytes: Option<u64>, what: &str| {
        bytes.map_or_else(String::new, |bytes| format!(", {:.1} GB of {what}", bytes as f64 / 1e9))
    };
    let memory =
        figure(found.memory, "this machine's memory held") + &figure(found.gpu_memory, "the GPU's taken");
    format!(
        "{table}\n{:.3} s a step, {:.1} s a validation{memory}\n{} steps with {} validations: {minutes:.1} minutes, and the \
         measurement at the end\n",
        found.step, found.validation, found.steps, found.validations
    )
}
