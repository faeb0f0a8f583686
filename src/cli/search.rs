//! `dsi search`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use serde_json::json;

use super::print_stdout;
use super::run_opening::Opened;
use crate::data::photos::Photo;
use crate::ids::ImageIdx;
use crate::markdown_table::{Align, Table};
use crate::retriever::factory::RetrieverKind;
use crate::retriever::{Hit, Query};

/// Find images by a caption or by a photo.
#[derive(Args)]
#[command(group = ArgGroup::new("query").args(["caption", "image"]).required(true))]
#[command(after_help = "Examples:
  dsi search --run runs/scenes \"a small red cube left of a ball\"
  dsi search --run runs/scenes --image photo.jpg -k 5 --json")]
pub struct Search {
    /// What the image shows, in words.
    caption: Option<String>,
    /// A photo to search with.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The run folder that `dsi train` made.
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// Images to return [default: search.k]; at most the beam is found.
    #[arg(short, long, value_name = "N")]
    k: Option<usize>,
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
        let opened = Opened::new(self.run, &self.set.into_iter().chain(k).collect::<Vec<_>>())?;
        let query = match (self.caption, self.image) {
            (Some(caption), _) => Query::Caption(caption),
            (None, Some(image)) => Query::Image(image),
            (None, None) => bail!("say what to search for: a caption, or --image FILE"),
        };
        let kind = if opened.parts.has(RetrieverKind::Rerank) {
            RetrieverKind::Rerank
        } else {
            RetrieverKind::Geometry
        };
        let gallery: Vec<ImageIdx> = opened.prepared.corpus.images().collect();
        let lists = opened.parts.build(kind, &gallery).retrieve(&[query], opened.config.search.k)?;
        let hits = lists[0].hits();
        if self.json { opened.print_json(hits) } else { opened.print_table(hits) }
    }
}

impl Opened {
    fn print_table(&self, hits: &[Hit]) -> Result<()> {
        let columns =
            [("rank", Align::Right), ("score", Align::Right), ("image", Align::Left), ("docid", Align::Left)];
        let mut table = Table::new(columns);
        for (rank, hit) in (1..).zip(hits) {
            let (name, docid) =
                (self.prepared.corpus.id(hit.image), self.parts.index().docids.get(hit.image));
            table.push([format!("{rank}"), format!("{:.3}", hit.score), name.to_owned(), docid.to_string()]);
        }
        print_stdout(table)
    }

    fn print_json(&self, hits: &[Hit]) -> Result<()> {
        let hit = |(rank, hit): (usize, &Hit)| {
            json!({
                "rank": rank + 1,
                "image": self.prepared.corpus.id(hit.image),
                "file": self.prepared.corpus.photo(hit.image).map(Photo::path),
                "score": hit.score,
                "docid": self.parts.index().docids.get(hit.image),
            })
        };
        let hits: Vec<_> = hits.iter().enumerate().map(hit).collect();
        print_stdout(serde_json::to_string_pretty(&hits)? + "\n")
    }
}
