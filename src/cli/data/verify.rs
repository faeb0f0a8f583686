//! `dsi data verify`.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{ConfigArgs, as_json, as_table, open, print_json, print_stdout};
use crate::data::corpus::Corpus;
use crate::data::corpus::unused::{Unused, Weight};
use crate::data::open_corpus;
use crate::data::photos::Photo;
use crate::data::settings::OnBadImage;
use crate::data::verify::{self, Count};
use crate::output;
use crate::progress::Progress;

/// Check that a corpus is complete: its splits have the published sizes, every photo is there and
/// decodes, and every archive is whole. What is not used is counted.
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
        open_corpus::require_drawn(&config.data)?;
        let corpus = open(&config, open_corpus::read)?;
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
    pub unused: Vec<Unused>,
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
            unused: corpus.unused().all().to_vec(),
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
                "unused": self.unused.iter().map(unused_as_json).collect::<Vec<_>>(),
                "whole": faults.is_empty(),
            });
            print_json(&found)?;
        } else {
            print_stdout(as_table(&self.counts))?;
            self.missing.iter().for_each(|file| output::message(format!("{file}: missing")));
            self.broken.iter().for_each(output::message);
            let counted = |unused: &&Unused| unused.reason.weight() != Weight::Damage;
            self.unused.iter().filter(counted).for_each(|unused| output::message(describe(unused)));
        }
        if faults.is_empty() {
            let there = corpus.len() - self.missing.len();
            output::message(format!("the corpus is complete: {there} photos"));
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
        let damaged = self.unused.iter().filter(|unused| unused.reason.weight() == Weight::Damage);
        faults.extend(damaged.map(Unused::describe));
        faults
    }
}

/// One line about items that are not used; damage is among the faults.
fn describe(unused: &Unused) -> String {
    let verb = if unused.reason.weight() == Weight::LeftOut { "left out" } else { "not used" };
    format!("{verb}: {}", unused.describe())
}

fn unused_as_json(unused: &Unused) -> serde_json::Value {
    json!({"reason": unused.reason.text(), "count": unused.count, "first": unused.first()})
}
