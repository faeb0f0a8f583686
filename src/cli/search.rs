//! `dsi search`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use serde_json::json;

use super::open_run::OpenedRun;
use super::path_argument;
use super::table_args::{Page, TableArgs};
use crate::config_schema::shared_limits::BEAM;
use crate::data::photos::Photo;
use crate::ids::ImageIdx;
use crate::markdown_table::{Column, Table};
use crate::output;
use crate::retriever::generative_variants::GEOMETRY;
use crate::retriever::registry::{default_for_search, find, names};
use crate::retriever::{Hit, Query, RETRIEVERS, Retriever as _, RetrieverFactory, settings};
use crate::run_experiment::early_checks::searching;

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
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    image: Option<PathBuf>,
    /// The run folder that `dsi train` made.
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
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
    #[arg(long, conflicts_with_all = ["columns", "wide", "format"])]
    json: bool,
    #[command(flatten)]
    tables: TableArgs,
}

impl Search {
    pub fn run(self) -> Result<()> {
        self.tables.check(&columns())?;
        let k = self.k.map(|k| format!("search.k={k}"));
        let overrides: Vec<String> = self.set.into_iter().chain(k).collect();
        let opened = OpenedRun::new(self.run, &overrides, searching)?;
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
        say_if_short(hits.len(), gallery.len(), &opened.config.search);
        if self.json { print_json(&trained, hits) } else { print_table(&trained, hits, &self.tables) }
    }
}

/// Says why a list is shorter than wanted: there are no more images, or the beam ends with no more.
fn say_if_short(hits: usize, images: usize, search: &settings::Search) {
    if hits >= search.k {
        return;
    }
    let why = if hits == images { "there are no more".to_owned() } else { beam_is_short(search, images) };
    output::message(format!("the list has {hits} images, not {}: {why}", search.k));
}

fn beam_is_short(search: &settings::Search, images: usize) -> String {
    let (wanted, beam) = (search.k.min(images), search.beam);
    let largest = usize::try_from(*BEAM.end()).unwrap_or(usize::MAX);
    let better = if wanted > beam { wanted } else { 2 * beam };
    match better.min(largest) {
        better if better > beam => format!(
            "that is all a beam of {beam} gives; set search.beam higher, e.g. --set search.beam={better}"
        ),
        _ => format!("that is all a beam of {beam} gives, the largest search.beam"),
    }
}

/// The most important first, where the space is short: the names are what a user goes on with.
fn columns() -> Vec<Column> {
    vec![
        Column::numbers("rank").kept(1),
        Column::numbers("score").kept(2),
        Column::words("image").kept(0).narrowest(60),
        Column::words("docid").kept(3),
    ]
}

fn print_table(trained: &RetrieverFactory, hits: &[Hit], args: &TableArgs) -> Result<()> {
    let mut table = Table::new(columns());
    for (rank, hit) in (1..).zip(hits) {
        let image = trained.prepared().corpus.id(hit.image).to_owned();
        let docid = trained.index().docids.of(hit.image).to_string();
        table.push([format!("{rank}"), format!("{:.3}", hit.score), image, docid]);
    }
    let mut page = Page::new(args);
    page.table(&table, &columns())?;
    page.print()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_list_names_the_beam_that_would_be_long_enough() {
        let advice = |k, beam, images| {
            beam_is_short(&settings::Search { k, beam, ..settings::Search::default() }, images)
        };
        let start = "that is all a beam of 20 gives";
        let set = |beam: usize| format!("{start}; set search.beam higher, e.g. --set search.beam={beam}");
        assert_eq!(
            [advice(30, 20, 80), advice(1000, 20, 80), advice(1000, 20, 1000)],
            [set(30), set(80), set(512)]
        );
        assert_eq!(advice(15, 20, 80), set(40), "several docids of one image");
        assert!(advice(600, 512, 1000).ends_with("the largest search.beam"));
    }
}
