//! `dsi data`.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{ConfigArgs, put};
use crate::data::corpus::{Corpus, Split};
use crate::data::{open, photos};
use crate::progress;
use crate::table::{Align, Table};

/// Draw the scenes where they are not on disk yet, read the corpus, and say what is in it.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi data --config configs/scenes.toml
  dsi data --config configs/flickr8k.toml --set data.root=flickr8k --check")]
pub struct Data {
    #[command(flatten)]
    config: ConfigArgs,
    /// Decode every photo, and name those that cannot be.
    #[arg(long)]
    check: bool,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

impl Data {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let bar = progress::bar(config.data.train + config.data.val + config.data.test, "drawing scenes");
        let corpus = open::open(&config.data, &|| bar.inc(1))?;
        bar.finish_and_clear();
        let corpus = corpus.keeping(&corpus.proportional(config.data.limit))?;
        let counts =
            Split::ALL.map(|split| (split, corpus.images_in(split).len(), corpus.captions_in(split).len()));
        if self.json {
            let of = |(split, images, captions): (Split, usize, usize)| {
                (split.to_string(), json!({"images": images, "captions": captions}))
            };
            put(serde_json::to_string_pretty(&serde_json::Map::from_iter(counts.map(of)))? + "\n")?;
        } else {
            let columns = [("split", Align::Left), ("images", Align::Right), ("captions", Align::Right)];
            let mut table = Table::new(columns);
            counts
                .iter()
                .for_each(|(split, i, c)| table.push([split.to_string(), i.to_string(), c.to_string()]));
            put(table)?;
        }
        if self.check { check(&corpus) } else { Ok(()) }
    }
}

fn check(corpus: &Corpus) -> Result<()> {
    use rayon::prelude::*;
    let files: Vec<_> = corpus.images().filter_map(|image| corpus.file(image)).collect();
    let bar = progress::bar(files.len(), "decoding photos");
    let decode = |path: &&std::path::Path| {
        let fault = photos::read(path).err();
        bar.inc(1);
        fault
    };
    let faults: Vec<_> = files.par_iter().filter_map(decode).collect();
    bar.finish_and_clear();
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    if !faults.is_empty() {
        bail!("{} of {} photos cannot be decoded", faults.len(), files.len());
    }
    eprintln!("all {} photos can be decoded", files.len());
    Ok(())
}
