//! `dsi data`: download a dataset, count what is in a corpus, check that it is complete.

#[cfg(feature = "fetch")]
mod fetch;
mod verify;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{ConfigArgs, print_json, print_stdout};
use crate::config::Config;
use crate::data::corpus::Corpus;
use crate::data::verify::{Count, counts};
use crate::data::{open_corpus, settings};
use crate::markdown_table::{Align, Table};
use crate::progress::Progress;

/// Download a dataset, count what is in it (also without a subcommand), or check that it is complete.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Data {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Option<ConfigArgs>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Show(Show),
    Verify(verify::Verify),
    #[cfg(feature = "fetch")]
    Fetch(fetch::Fetch),
}

impl Data {
    pub fn run(self) -> Result<()> {
        match (self.command, self.config) {
            (Some(Command::Show(command)), _) => command.run(),
            (Some(Command::Verify(command)), _) => command.run(),
            #[cfg(feature = "fetch")]
            (Some(Command::Fetch(command)), _) => command.run(),
            (None, Some(config)) => Show { config, json: self.json }.run(),
            (None, None) => {
                bail!("nothing to do: give dsi data fetch NAME, or show or verify with --config FILE")
            }
        }
    }
}

/// Count the images and captions of a configuration's corpus. Scenes that are not on disk yet are drawn.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi data show --config configs/scenes.toml
  dsi data show --config configs/flickr8k.toml --set data.root=flickr8k --json")]
struct Show {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let corpus = open(&config, open_corpus::open)?;
        let corpus = corpus.keeping(&corpus.proportional(config.data.limit))?;
        let counts = counts(&corpus, "");
        if self.json { print_json(&as_json(&counts)) } else { print_stdout(as_table(&counts)) }
    }
}

/// The function that opens a corpus or only reads it.
type Open = fn(&settings::Data, &(dyn Fn() + Sync)) -> crate::error::Result<Corpus>;

fn open(config: &Config, open: Open) -> Result<Corpus> {
    let bar = Progress::Stderr.bar(config.data.train + config.data.val + config.data.test, "drawing scenes");
    let corpus = open(&config.data, &|| bar.inc(1))?;
    bar.finish_and_clear();
    Ok(corpus)
}

fn as_json(counts: &[Count]) -> serde_json::Value {
    let of = |count: &Count| {
        let mut value = json!({"images": count.images, "captions": count.captions});
        count.published.iter().for_each(|published| value["published"] = json!(published));
        (count.split.to_string(), value)
    };
    serde_json::Map::from_iter(counts.iter().map(of)).into()
}

/// A table with a column for the published sizes if there are any.
fn as_table(counts: &[Count]) -> Table {
    let known = counts.iter().any(|count| count.published.is_some());
    let columns = [
        ("split", Align::Left),
        ("images", Align::Right),
        ("captions", Align::Right),
        ("published", Align::Right),
    ];
    let mut table = Table::new(columns.into_iter().take(3 + usize::from(known)));
    for count in counts {
        let cells = [count.split.to_string(), count.images.to_string(), count.captions.to_string()];
        table.push(cells.into_iter().chain(count.published.map(|published| published.to_string())));
    }
    table
}
