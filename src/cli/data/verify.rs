//! `dsi data verify`.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{ConfigArgs, as_json, as_table, open, print_json, print_stdout};
use crate::data::corpus::Corpus;
use crate::data::photos::Photo;
use crate::data::settings::OnBadImage;
use crate::data::verify::{self, Count};
use crate::progress::Progress;

/// Check that a corpus is complete: its splits have the published sizes, and every photo is there and
/// decodes.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi data verify --config configs/flickr30k.toml
  dsi data verify --config configs/flickr8k.toml --set data.root=flickr8k --allow-missing --json")]
pub struct Verify {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let corpus = open(&config)?;
        let kept = corpus.keeping(&corpus.proportional(config.data.limit))?;
        let mut found =
            Found { counts: verify::counts(&corpus, &config.data.name), ..Found::of(&kept, true) };
        found.allow_missing = config.data.on_bad_image == OnBadImage::Skip;
        found.report(&kept, self.json)
    }
}

/// The result of a verification.
pub struct Found {
    pub counts: [Count; 3],
    pub missing: Vec<String>,
    pub broken: Vec<String>,
    pub allow_missing: bool,
}

impl Found {
    /// Looks for the photos of a corpus, and with `decode` also decodes each of them.
    pub fn of(corpus: &Corpus, decode: bool) -> Self {
        let bar = Progress::Stderr.bar(corpus.len(), "decoding photos");
        let broken = if decode { verify::broken(corpus, &|| bar.inc(1)) } else { Vec::new() };
        bar.finish_and_clear();
        let file = |&image: &_| corpus.photo(image).map(Photo::to_string);
        Self {
            counts: verify::counts(corpus, ""),
            missing: verify::missing(corpus).iter().filter_map(file).collect(),
            broken: broken.iter().map(ToString::to_string).collect(),
            allow_missing: false,
        }
    }

    /// Prints the result, with missing and broken photos by name on stderr.
    ///
    /// # Errors
    /// When the corpus is not complete.
    pub fn report(&self, corpus: &Corpus, json: bool) -> Result<()> {
        let faults = self.faults(corpus);
        if json {
            let found = json!({
                "splits": as_json(&self.counts),
                "missing": self.missing,
                "broken": self.broken,
                "whole": faults.is_empty(),
            });
            print_json(&found)?;
        } else {
            print_stdout(as_table(&self.counts))?;
            self.missing.iter().for_each(|file| eprintln!("{file}: missing"));
            self.broken.iter().for_each(|fault| eprintln!("{fault}"));
        }
        if faults.is_empty() {
            let there = corpus.len() - self.missing.len();
            eprintln!("the corpus is complete: {there} photos");
            return Ok(());
        }
        bail!("the corpus is not complete: {}", faults.join("; "))
    }

    fn faults(&self, corpus: &Corpus) -> Vec<String> {
        let mut faults = Vec::new();
        for Count { split, images, published, .. } in self.counts {
            if let Some(published) = published.filter(|&published| published != images && !self.allow_missing)
            {
                faults.push(format!("{split} has {images} images, and {published} are published"));
            }
        }
        if !self.missing.is_empty() && !self.allow_missing {
            let (missing, all) = (self.missing.len(), corpus.len());
            faults.push(format!("{missing} of {all} photos are missing (--allow-missing leaves them out)"));
        }
        if !self.broken.is_empty() {
            faults.push(format!("{} of {} photos cannot be decoded", self.broken.len(), corpus.len()));
        }
        faults
    }
}
