//! `dsi bench`: what a search costs on this machine.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::{path_argument, print_json};
use crate::data::npy;
use crate::file_io;
use crate::matrix::Matrix;
use crate::run_folder::RunFolder;
use crate::searcher::bench::{Bench as Measured, Setting, measure};

/// Measure what a search costs on this machine.
#[derive(Args)]
pub struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Search(Search),
}

impl Bench {
    pub fn run(self) -> Result<()> {
        let Command::Search(search) = self.command;
        search.run()
    }
}

/// Index ready-made vectors, search them with others, and print what that costs and finds as JSON.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi bench search --images images.npy --queries captions.npy
  dsi bench search --images images.npy --queries captions.npy --probes 0,16,32 --batch 1,64 --decoder")]
struct Search {
    /// The vectors of the images: a .npy file, a row each.
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    images: PathBuf,
    /// The vectors of the queries: a .npy file, a row each.
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    queries: PathBuf,
    /// The number of the right image of each query, a line each [default: each image has equally many queries, in order].
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    right: Option<PathBuf>,
    /// Levels of a docid.
    #[arg(long, value_name = "N", default_value_t = 12)]
    levels: usize,
    /// Codes at a level.
    #[arg(long, value_name = "N", default_value_t = 256)]
    codes: usize,
    /// Directions that codebooks describe [default: chosen by the error of held-out vectors; with --decoder, all].
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "decoder")]
    dims: usize,
    /// Numbers of first codes that a search visits; 0: all.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "0")]
    probes: Vec<usize>,
    /// Queries that are answered at once.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1")]
    batch: Vec<usize>,
    /// Let a decoder score the best docids: it has fresh weights, which cost as much as trained ones.
    #[arg(long)]
    decoder: bool,
    /// Docids that the decoder scores.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "10,50")]
    candidates: Vec<usize>,
    /// Threads that answer.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Keep the store in this folder [default: a temporary one].
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    out: Option<PathBuf>,
}

impl Search {
    fn run(self) -> Result<()> {
        let temporary = tempfile::tempdir()?;
        let run = RunFolder::new(self.out.clone().unwrap_or_else(|| temporary.path().join("run")));
        if !run.occupied().is_empty() {
            bail!("{} holds a run already; choose another --out", run.path().display());
        }
        let images = npy::read(&self.images)?.normalized();
        let queries = npy::read(&self.queries)?.normalized();
        let right = self.right(images.rows(), &queries)?;
        if self.batch.contains(&0) || self.threads == 0 {
            bail!("--batch and --threads begin with 1");
        }
        let bench = Measured {
            images,
            codes_per_level: vec![self.codes; self.levels],
            dimensions: self.dims,
            decoder: self.decoder,
        };
        let build_s = bench.build(&run)?;
        let candidates = if self.decoder { self.candidates.clone() } else { vec![1] };
        let mut rows = Vec::new();
        for &probes in &self.probes {
            for &batch in &self.batch {
                for &candidates in &candidates {
                    let setting = Setting { probes, candidates, batch };
                    rows.push(measure(&run, &queries, &right, setting, self.threads, build_s)?);
                }
            }
        }
        print_json(&serde_json::json!({ "rows": rows }))
    }

    /// The right image of each query.
    fn right(&self, images: usize, queries: &Matrix) -> Result<Vec<usize>> {
        let Some(path) = &self.right else {
            return Ok((0..queries.rows()).map(|query| query * images / queries.rows()).collect());
        };
        let text = file_io::read_text(path, 1 << 30)?;
        let right: Vec<usize> =
            text.lines().map(|line| line.trim().parse()).collect::<Result<_, _>>().with_context(|| {
                format!("{}: each line is the number of an image, from 0", path.display())
            })?;
        if right.len() != queries.rows() {
            bail!("{} has {} lines, and there are {} queries", path.display(), right.len(), queries.rows());
        }
        Ok(right)
    }
}
