//! `dsi train`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::begin_run::{CheckedStart, Job, Start, begin_run, run_folder};
use super::table_args::{TableArgs, wrapped};
use super::{ConfigArgs, both, path_argument, print_report, print_stdout, several_ranks, training_context};
use crate::config::{Config, Scope};
use crate::context::Context;
use crate::distributed::Comm;
use crate::eval::report_table;
use crate::markdown_table::{Align, Table};
use crate::output;
use crate::run_experiment;
use crate::run_folder::RunFolder;
use crate::train::dry_run::DryRun;

/// Embed the corpus, build the index if there is none, train the decoder, and print the table of results.
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
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder. The weights become those of an unbroken run, bit for
    /// bit.
    #[arg(long)]
    resume: bool,
    /// Try a few steps, print what memory and time the training would take, and end; no run is kept.
    #[arg(long, conflicts_with_all = ["resume", "force", "columns", "wide", "format"])]
    pub dry_run: bool,
    /// Delete the run that is in the run folder.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    #[command(flatten)]
    tables: TableArgs,
}

impl Train {
    pub fn run(self) -> Result<()> {
        self.tables.check(&report_table::columns())?;
        let config = self.config.load()?;
        let run = run_folder(self.out.clone(), &config);
        let ctx = training_context(&config)?;
        if self.dry_run {
            let prepared = run_experiment::prepare(&config, &ctx)?;
            let text = estimate(&run_experiment::dry_run(&config, &prepared, &run, &ctx)?);
            return print_stdout(wrapped(&text, output::width()));
        }
        let comm = Comm::world()?;
        let ctx = Context { comm: comm.clone(), ..ctx };
        let kind =
            "the kind of their device: start no more of them than there are GPUs, or give all --device cpu";
        comm.agree(kind, u32::from(ctx.device.is_cuda()))?;
        several_ranks::abort_on_panic(&comm);
        several_ranks::fail_together(&comm, self.train(&config, &run, &ctx))
    }

    fn train(self, config: &Config, run: &RunFolder, ctx: &Context) -> Result<()> {
        let start = Start::from_flags(self.resume, self.force);
        let job = Job { command: "dsi train", start, scope: Scope::Resume };
        let checked = ctx.comm.is_first().then(|| begin_run(run, config, job)).transpose()?;
        let prepared = run_experiment::prepare(config, ctx)?;
        let _lock = checked.map(CheckedStart::begin).transpose()?;
        run_experiment::train(config, &prepared, run, self.resume, ctx)?;
        let evaluation = run_experiment::measure_own(config, &prepared, run, ctx)?;
        if ctx.comm.is_first() {
            let printed = print_report(&evaluation.report, false, &self.tables);
            let written = evaluation
                .write()
                .and_then(|()| run_experiment::search_store::write(config, &prepared, None, run));
            both(printed, written.map_err(Into::into))?;
        }
        ctx.comm.barrier();
        Ok(())
    }
}

/// What a dry run found, as text.
fn estimate(found: &DryRun) -> String {
    let mut table = Table::new([("part", Align::Left), ("trained parameters", Align::Right)]);
    for (part, count) in &found.trained {
        table.push([(*part).to_owned(), count.to_string()]);
    }
    let minutes = found.total() / 60.0;
    let memory = gigabytes(found.memory, "of this machine's memory in use")
        + &gigabytes(found.gpu_memory, "of the GPU's memory in use");
    format!(
        "{table}\n{:.3} s a step, {:.1} s a validation{memory}\n{} steps with {} validations: {minutes:.1} minutes, and the \
         evaluation at the end\n",
        found.step, found.validation, found.steps, found.validations
    )
}

/// `, 1.2 GB …`; nothing if the number is not known.
fn gigabytes(bytes: Option<u64>, what: &str) -> String {
    bytes.map_or_else(String::new, |bytes| format!(", {:.1} GB {what}", bytes as f64 / 1e9))
}
