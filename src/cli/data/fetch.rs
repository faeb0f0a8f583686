//! `dsi data fetch`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::super::path_argument;
use super::print_stdout;
use super::verify::Found;
use crate::data::fetch::dataset_sources::{self, Dataset, Output};
use crate::data::fetch::{Fetcher, dataset_sources::DatasetFile};
use crate::data::hub::Hub;
use crate::data::settings::OnBadImage;
use crate::data::{karpathy, verify};
use crate::output;
use crate::progress::Progress;

/// Download a dataset with its photos, or a CLIP from the hub, and check that it is complete.
///
/// The download size is shown first, and files that are there already are kept. Archives that must be
/// downloaded by hand, or that you already have, can be put into the folder. HF_ENDPOINT, HF_HOME,
/// HF_HUB_CACHE and HF_TOKEN are respected.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi data fetch flickr30k
  dsi data fetch coco --out /data/coco --keep-archives
  dsi data fetch clip:openai/clip-vit-base-patch32
  dsi data fetch clip:laion/CLIP-ViT-B-32-laion2B-s34B-b79K@refs/pr/15")]
pub struct Fetch {
    /// flickr8k, flickr30k, coco, or clip:HUB-ID, with @REVISION if it is not main.
    name: String,
    /// The dataset's folder [default: runs/data/NAME, which the shipped configurations expect].
    #[arg(long, value_name = "DIR", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// Do not use the network; list what is missing.
    #[arg(long)]
    offline: bool,
    /// Keep archives after they are unpacked.
    #[arg(long)]
    keep_archives: bool,
    /// Accept photos that are missing from the archives.
    #[arg(long)]
    allow_missing: bool,
}

impl Fetch {
    pub fn run(self) -> Result<()> {
        let mut hub = Hub::from_env()?;
        hub.offline |= self.offline;
        hub.http.progress = Progress::Stderr;
        if let Some(id) = self.name.strip_prefix("clip:") {
            if self.out.is_some() {
                bail!("a CLIP goes into the hub's cache: set HF_HOME or HF_HUB_CACHE instead of --out");
            }
            let (id, revision) = id.split_once('@').unwrap_or((id, "main"));
            let folder = hub.folder(id, revision)?;
            return print_stdout(format!("{}\n", folder.display()));
        }
        let datasets = dataset_sources::all();
        let Some(dataset) = datasets.iter().find(|dataset| dataset.name == self.name) else {
            let known = datasets.iter().map(|dataset| dataset.name).collect::<Vec<_>>().join(", ");
            bail!("`{}` is not a dataset that can be fetched: there are {known}, and clip:HUB-ID", self.name);
        };
        self.dataset(&hub, dataset)
    }

    fn dataset(&self, hub: &Hub, dataset: &Dataset) -> Result<()> {
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from("runs/data").join(dataset.name));
        let fetched = Fetcher { hub, out: &out, keep: self.keep_archives }.fetch(dataset)?;
        let captions =
            |file: &DatasetFile| if let Output::File(path) = file.output { Some(path) } else { None };
        let Some(captions) = dataset.files.iter().find_map(captions) else { return Ok(()) };
        let on_bad = if self.allow_missing { OnBadImage::Skip } else { OnBadImage::Error };
        let corpus = karpathy::read(&out.join(captions), &out.join("images"), dataset.name, on_bad)?;
        if !fetched {
            output::message("nothing to fetch; dsi data verify decodes each photo again");
        }
        let counts = verify::counts(&corpus, dataset.name);
        Found { counts, allow_missing: self.allow_missing, ..Found::of(&corpus, fetched) }
            .report(&corpus, false)
    }
}
