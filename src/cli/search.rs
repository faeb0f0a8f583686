//! `dsi search`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use serde_json::json;

use super::open_run::OpenedRun;
use super::print_stdout;
use crate::data::photos::Photo;
use crate::ids::ImageIdx;
use crate::markdown_table::{Align, Table};
use crate::retriever::generative_variants::GEOMETRY;
use crate::retriever::registry::{default_for_search, find, names};
use crate::retriever::{Hit, Query, RETRIEVERS, Retriever as _, RetrieverFactory};

/// Find images by a caption or a photo.
#[derive(Args)]
#[command(group = ArgGroup::new("query").args(["caption", "image"]).required(true))]
#[command(after_help = "Examples:
  dsi search --run runs/scenes \"a small red cube left of a ball\"
  dsi search --run runs/scenes --image photo.jpg -k 5 --json")]
pub struct Search {
    /// The caption: what the image shows, in words.
    caption: Option<String>,
    /// A photo to search with.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The run folder that `dsi train` made.
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// Number of images to return [default: search.k]; never more than search.beam.
    #[arg(short, long, value_name = "N")]
    k: Option<usize>,
    /// The retriever that answers [default: the last stage that the configuration enables].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    retriever: Option<String>,
    /// Override a search key of the run's configuration (repeatable).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print the hits as JSON.
    #[arg(long)]
    json: bool,
}

impl Search {
    pub fn run(self) -> Result<()> {
        let k = self.k.map(|k| format!("search.k={k}"));
        let opened = OpenedRun::new(self.run, &self.set.into_iter().chain(k).collect::<Vec<_>>())?;
        let query = match (self.caption, self.image) {
            (Some(caption), _) => Query::caption(caption),
            (None, Some(photo)) => Query::photo(photo),
            (None, None) => bail!("nothing to search for: give a caption, or --image FILE"),
        };
        let trained = opened.retrievers()?;
        let retriever = match &self.retriever {
            Some(name) => find(name).context("invariant: clap accepts only names of the table")?,
            // Even if geometry has no weight, this beam has the prior.
            None => default_for_search(RETRIEVERS, &trained).unwrap_or(&GEOMETRY),
        };
        let gallery: Vec<ImageIdx> = opened.prepared.corpus.images().collect();
        let query = trained.complete(vec![query])?;
        let lists = retriever.build(&trained, &gallery)?.retrieve(&query, opened.config.search.k)?;
        let hits = lists[0].hits();
        if self.json { print_json(&trained, hits) } else { print_table(&trained, hits) }
    }
}

fn print_table(trained: &RetrieverFactory, hits: &[Hit]) -> Result<()> {
    let columns =
        [("rank", Align::Right), ("score", Align::Right), ("image", Align::Left), ("docid", Align::Left)];
    let mut table = Table::new(columns);
    for (rank, hit) in (1..).zip(hits) {
        let image = trained.prepared().corpus.id(hit.image).to_owned();
        let docid = trained.index().docids.of(hit.image).to_string();
        table.push([format!("{rank}"), format!("{:.3}", hit.score), image, docid]);
    }
    print_stdout(table)
}

fn print_json(trained: &RetrieverFactory, hits: &[Hit]) -> Result<()> {
    let corpus = &trained.prepared().corpus;
    let hit = |(rank, hit): (usize, &Hit)| {
        json!({
            "rank": rank + 1,
            "image": corpus.id(hit.image),
            "file": corpus.photo(hit.image).map(Photo::path),
            "score": hit.score,
            "docid": trained.index().docids.of(hit.image),
        })
    };
    let hits: Vec<_> = hits.iter().enumerate().map(hit).collect();
    super::print_json(&hits)
}
