//! `dsi search`.

mod duplicates;
mod explain;
mod of_run;
mod of_store;
mod print;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};

use super::path_argument;
use super::table_args::TableArgs;
use crate::config::Config;
use crate::retriever::registry::names;
use crate::run_folder::RunFolder;
use crate::run_identity;
use crate::store::generation::Generation;

/// Find images by a caption, a photo, a vector or another image.
#[derive(Args)]
#[command(group = ArgGroup::new("query").args(["caption", "image", "vector", "like", "queries", "duplicates"]).required(true))]
#[command(after_help = "Examples:
  dsi search --run runs/scenes \"a small red cube left of a ball\"
  dsi search --run runs/scenes --image photo.jpg -k 5 --json
  dsi search --run runs/holiday --like beach/0012.jpg --and \"at night\" --not people
  dsi search --run runs/holiday \"a dog\" --only \"2026/*\" --skip 10
  dsi search --run runs/holiday --duplicates
  dsi search --run runs/scenes --queries queries.jsonl > hits.jsonl")]
pub struct Search {
    /// The caption: what the image shows, in words.
    caption: Option<String>,
    /// A photo to search with.
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    image: Option<PathBuf>,
    /// An embedding to search with: a .npy file with one row, or with one row a query.
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    vector: Option<PathBuf>,
    /// An image of the run to search with, by its name.
    #[arg(long, value_name = "NAME")]
    like: Option<String>,
    /// Many queries, one a line: a caption, or JSON such as {\"text\": \"a dog\"} with one or more of text, image, vector,
    /// like, and an id if wanted. `-` reads standard input. Prints a JSON line for each.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["and", "not"])]
    queries: Option<PathBuf>,
    /// Words that are added to the query (repeatable).
    #[arg(long, value_name = "TEXT")]
    and: Vec<String>,
    /// Words that are taken from the query (repeatable).
    #[arg(long, value_name = "TEXT")]
    not: Vec<String>,
    /// Only images whose name fits this pattern: `*` and `?` stand for any text and any character.
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Leave out the first images of the list.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Say, stage by stage, what this image scores for the query, in place of a list.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["queries", "duplicates"])]
    explain: Option<String>,
    /// List pairs of images that are nearly the same: whose embeddings have at least this cosine [0.98 if not given].
    #[arg(long, value_name = "COSINE", num_args = 0..=1, default_missing_value = "0.98", conflicts_with_all = ["and", "not", "only", "skip", "k"])]
    duplicates: Option<f32>,
    /// The run folder that `dsi train` or `dsi index` made.
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    run: PathBuf,
    /// Number of images to return [default: search.k of the run].
    #[arg(short, long, value_name = "N")]
    k: Option<usize>,
    /// The retriever that answers, over the run's corpus: slow to open [default: the run's search store].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(names()), conflicts_with_all = ["vector", "like", "queries", "and", "not", "only", "skip", "explain", "duplicates"])]
    retriever: Option<String>,
    /// Override a search key of the run's configuration (repeatable).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print the hits as JSON.
    #[arg(long, conflicts_with_all = ["columns", "wide", "format"])]
    json: bool,
    #[command(flatten)]
    tables: TableArgs,
}

impl Search {
    pub fn run(self) -> Result<()> {
        self.tables.check(&print::columns())?;
        let has_store = Generation::exists(&RunFolder::new(&self.run).search());
        let by_store = self.retriever.is_none() && (has_store || !self.is_simple());
        if by_store && !of_store::takes(&self.set) && !self.is_simple() {
            bail!("the search store of a run takes these keys only: {}", of_store::KEYS.join(", "));
        }
        if by_store && of_store::takes(&self.set) {
            let run = RunFolder::new(&self.run);
            if run.config().exists() {
                // The store would answer as the run was made, and not as the edited file says.
                run_identity::require_unchanged(&run, &Config::load(&run.config(), &[])?)?;
            }
            return of_store::search(&self);
        }
        let hits = of_run::search(&self)?;
        if self.json { print::json(&hits) } else { print::table(&hits, &self.tables) }
    }

    /// Whether a run without a store can answer: one caption or photo.
    fn is_simple(&self) -> bool {
        let further = [&self.only, &self.explain].iter().any(|further| further.is_some()) || self.skip > 0;
        let combined = !(self.and.is_empty() && self.not.is_empty());
        (self.caption.is_some() || self.image.is_some()) && !combined && !further
    }

    /// The overrides of this call.
    fn overrides(&self) -> Vec<String> {
        let k = self.k.map(|k| format!("search.k={k}"));
        self.set.iter().cloned().chain(k).collect()
    }
}
