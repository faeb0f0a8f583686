//! `dsi index FOLDER`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Index;
use crate::cli::{context, print_stdout};
use crate::config::{Config, override_key};
use crate::context::Context;
use crate::data::encoder_folder;
use crate::data::photo_list::PhotoList;
use crate::encoder::DualEncoder;
use crate::encoder::clip::clip_encoder::ClipEncoder;
use crate::folder_marker::{FolderMarker, is_free};
use crate::run_experiment::early_checks;
use crate::run_folder::RunFolder;
use crate::run_lock::RunLock;
use crate::searcher::docid_shape;
use crate::searcher::embedding_spread;
use crate::searcher::encoder_ref::{EncoderRef, MadeWith, full_name};
use crate::searcher::index_photos::{EmbeddedPhotos, PhotoIndexSettings, hashes_of, write};
use crate::searcher::stored_model::SearchDefaults;
use crate::store::generation::Generation;

/// The keys that `--set` takes for a folder of photos.
const KEYS: [&str; 10] = [
    "index.levels",
    "index.codes",
    "index.iterations",
    "index.encode_beam",
    "encoder.revision",
    "encoder.batch",
    "search.k",
    "search.beam",
    "search.probes",
    "search.rows",
];
/// What made the run, in its marker.
const MADE_BY: &str = "dsi index FOLDER";

/// Makes the photos of a folder searchable.
pub fn index(args: &Index, folder: &Path) -> Result<()> {
    let overrides = args.config.overrides();
    let config = checked(&overrides)?;
    let Ok(folder) = folder.canonicalize() else { bail!("there is no folder {}", folder.display()) };
    if folder.to_str().is_none() {
        bail!("the name of {} is not UTF-8; give the folder another name", folder.display());
    }
    let run = RunFolder::new(args.out.clone().unwrap_or_else(|| default_run(&folder)));
    early_checks::run_folder(&run)?;
    let _lock = RunLock::acquire(run.path(), "dsi index")?;
    require_free(&run, args.force)?;
    let photos = PhotoList::below(&folder, run.path())?;
    if let Some(passed_over) = photos.passed_over() {
        tracing::info!("passed over: {passed_over}");
    }
    if photos.photos.is_empty() {
        bail!("{} holds no photos (JPEG, PNG, WebP, GIF, BMP)", folder.display());
    }
    let ctx = context(&config)?;
    let (encoder, source) = open_encoder(&args.encoder, &config, &ctx)?;
    FolderMarker::new(MADE_BY, source_id(&folder, &encoder)).write(run.path())?;
    let hashes = hashes_of(&photos.photos);
    let embedded = EmbeddedPhotos::embed(photos.photos, &hashes, &encoder, &run, &ctx)?;
    let count = embedded.photos.len();
    if let Some(warning) = embedding_spread::warning(&embedded.rows) {
        tracing::warn!("{warning}");
    }
    write(&embedded, Some(folder), source, &settings(&config, &overrides, count), &run)?;
    print_stdout(format!(
        "{count} photos indexed; search them with\n  dsi search --run {} \"what they show\"\n",
        run.path().display()
    ))
}

/// The configuration of these overrides, which may set only [`KEYS`].
fn checked(overrides: &[String]) -> Result<Config> {
    let allowed = |key: &str| KEYS.contains(&key) || matches!(key, "seed" | "device" | "data.on_bad_image");
    if let Some(other) = overrides.iter().map(|set| override_key(set)).find(|key| !allowed(key)) {
        bail!("{other} says nothing about a folder of photos; --set takes {}", KEYS.join(", "));
    }
    Ok(Config::parse("", Path::new("--set"), overrides)?)
}

fn settings(config: &Config, overrides: &[String], photos: usize) -> PhotoIndexSettings {
    let given = |key: &str| overrides.iter().any(|set| override_key(set) == key);
    let usual = docid_shape::codes_per_level(photos);
    let levels = if given("index.levels") { config.index.levels } else { usual.len() };
    let codes = if given("index.codes") { config.index.codes } else { usual[0] };
    PhotoIndexSettings {
        codes_per_level: vec![codes; levels],
        iterations: config.index.iterations,
        dimensions: 0,
        encode_beam: config.index.encode_beam,
        seed: config.seed,
        rows: config.search.rows,
        search: SearchDefaults {
            k: config.search.k,
            candidates: config.search.beam,
            probes: config.search.probes,
            rerank: true,
            rerank_weight: 1.0,
            mirrored: false,
        },
    }
}

fn default_run(folder: &Path) -> PathBuf {
    Path::new("runs").join(folder.file_name().unwrap_or("photos".as_ref()))
}

/// Refuses a folder that holds something else than an index of photos, and one that is indexed already.
fn require_free(run: &RunFolder, force: bool) -> Result<()> {
    let at = run.path().display();
    let ours = FolderMarker::read(run.path())?.is_some_and(|marker| marker.made_by == MADE_BY);
    if !ours && !is_free(run.path())? {
        bail!("{at} holds files that are no index of photos; choose another --out");
    }
    if Generation::exists(&run.search()) && !force {
        bail!("{at} holds an index already; add photos with dsi add {at} FOLDER, or choose another --out");
    }
    Ok(())
}

fn open_encoder(name: &str, config: &Config, ctx: &Context) -> Result<(ClipEncoder, EncoderRef)> {
    let (path, revision) = (full_name(name), config.encoder.revision.clone());
    let folder = encoder_folder::find(path, &revision, ctx.progress)?;
    let encoder = ClipEncoder::open(&folder, config.encoder.batch, &ctx.device)?;
    let made_with = MadeWith { batch: config.encoder.batch, fingerprint: encoder.fingerprint().to_owned() };
    let source = EncoderRef::clip(path, &revision, made_with);
    Ok((encoder, source))
}

fn source_id(folder: &Path, encoder: &dyn DualEncoder) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(folder.as_os_str().as_encoded_bytes()).update(encoder.fingerprint().as_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}
