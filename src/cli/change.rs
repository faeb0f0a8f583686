//! `dsi add`, `dsi remove` and `dsi compact`: changes of what a run can find.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::{path_argument, print_stdout};
use crate::data::photo_list::{NamedPhoto, PhotoList, name_below};
use crate::data::photos;
use crate::file_io;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::searcher::change::{Added, StoreChange};

/// Add photos to a run, or take them again if they were changed. Nothing is trained.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi add runs/pictures ~/Pictures
  dsi add runs/pictures ~/Pictures/2026 beach.jpg")]
pub struct Add {
    /// The run folder.
    #[arg(value_name = "RUN", value_parser = path_argument())]
    run: PathBuf,
    /// Photos, and folders of photos in any depth.
    #[arg(value_name = "PATH", required = true, value_parser = path_argument())]
    paths: Vec<PathBuf>,
}

impl Add {
    pub fn run(self) -> Result<()> {
        let run = RunFolder::new(&self.run);
        let change = StoreChange::begin(&run, "dsi add")?;
        let mut photos = Vec::new();
        for path in &self.paths {
            photos.extend(photos_of(path, change.folder(), &run)?);
        }
        if photos.is_empty() {
            bail!("nothing to add: there are no photos (JPEG, PNG, WebP, GIF, BMP)");
        }
        // A photo that two paths name is one photo.
        photos.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
        photos.dedup();
        let Added { added, replaced, unchanged, unreadable } = change.add(photos, Progress::Stderr)?;
        let unreadable =
            if unreadable > 0 { format!(", {unreadable} could not be read") } else { String::new() };
        print_stdout(format!(
            "{added} images added, {replaced} replaced because their photo was changed, {unchanged} were there \
             already{unreadable}\n"
        ))
    }
}

/// A path without links above its last part and without `..`: names are compared with the store's folder.
fn real_path(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        bail!("there is no photo or folder {}", path.display());
    }
    let path = std::path::absolute(path)?;
    match (path.is_dir(), path.parent(), path.file_name()) {
        (false, Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
        _ => Ok(path.canonicalize()?),
    }
}

/// The photos at a path, by their names in the store's folder, or else below the path.
fn photos_of(path: &Path, folder: Option<&Path>, run: &RunFolder) -> Result<Vec<NamedPhoto>> {
    let path = real_path(path)?;
    let folder = folder.map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.to_owned()));
    let in_store = folder.as_deref().filter(|folder| path.starts_with(folder));
    let named = |base: &Path, file: PathBuf| -> Result<NamedPhoto> {
        let name = name_below(base, &file)
            .with_context(|| format!("the name of {} is not UTF-8", file.display()))?;
        Ok(NamedPhoto { name, file })
    };
    if path.is_file() {
        if !photos::is_photo(&file_io::head(&path)) {
            bail!("{} is no photo (JPEG, PNG, WebP, GIF, BMP)", path.display());
        }
        let base = in_store.or(path.parent()).unwrap_or(Path::new("/")).to_owned();
        return Ok(vec![named(&base, path)?]);
    }
    let list = PhotoList::below(&path, run.path())?;
    if let Some(passed_over) = list.passed_over() {
        tracing::info!("passed over: {passed_over}");
    }
    let base = in_store.unwrap_or(&path).to_owned();
    list.photos.into_iter().map(|photo| named(&base, photo.file)).collect()
}

/// Remove images from a run; their photos stay where they are.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi remove runs/pictures 2026/beach.jpg
  dsi remove runs/pictures \"2019/*\"")]
pub struct Remove {
    /// The run folder.
    #[arg(value_name = "RUN", value_parser = path_argument())]
    run: PathBuf,
    /// Names of images, as a search prints them; `*` and `?` stand for any text and any character.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Remove {
    pub fn run(self) -> Result<()> {
        let change = StoreChange::begin(&RunFolder::new(&self.run), "dsi remove")?;
        let removed = change.remove(&self.names)?;
        print_stdout(format!("{removed} images removed\n"))
    }
}

/// Put the parts of a run that additions made into one, and give back the room of removed images.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi compact runs/pictures")]
pub struct Compact {
    /// The run folder.
    #[arg(value_name = "RUN", value_parser = path_argument())]
    run: PathBuf,
}

impl Compact {
    pub fn run(self) -> Result<()> {
        let segments = StoreChange::begin(&RunFolder::new(&self.run), "dsi compact")?.compact()?;
        print_stdout(format!("{segments} parts became one\n"))
    }
}
