//! Writes the corpus of scenes as a folder: pictures, captions, and a manifest that marks it as complete.
//!
//! Every scene is drawn again from its number when needed, so the memory stays bounded.

use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use image::ImageFormat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::render::render;
use super::scene::Scene;
use super::{Spec, sample};
use crate::error::{Error, Result};
use crate::file_io;
use crate::folder_marker::FolderMarker;

/// The version and parameters of a complete folder; written last.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    spec: Spec,
}

/// One line of `corpus.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    image: String,
    split: &'a str,
    captions: [String; 5],
}

/// The version of scenes, pictures and captions. Raise it when any of them changes for the same seed.
const VERSION: u32 = 1;
/// The file that marks a corpus as complete.
const MANIFEST: &str = "scenes.json";
/// The file that lists the images.
const CORPUS: &str = "corpus.jsonl";
/// Bytes of the largest manifest.
const MANIFEST_LIMIT: u64 = 1 << 16;

/// Writes the corpus into the folder `root`: `images/scene-000000.png` and on, `corpus.jsonl` with one image
/// a line, and last the manifest `scenes.json`. `on_image` is called once an image.
///
/// Returns at once if the folder already holds this corpus. A corpus of another spec, or an incomplete one,
/// is replaced.
///
/// # Errors
/// When the spec cannot be drawn, the folder holds a `corpus.jsonl` that is not of scenes, or a write fails.
pub fn write(root: &Path, spec: &Spec, on_image: &(dyn Fn() + Sync)) -> Result<()> {
    spec.check()?;
    let manifest = Manifest { version: VERSION, spec: *spec };
    if read_manifest(root)?.is_some_and(|found| found == manifest) {
        return Ok(());
    }
    let images = root.join("images");
    refuse_foreign(root, &images)?;
    FolderMarker::new("dsi data", spec_id(spec)).write(root)?;
    fs::create_dir_all(&images).map_err(Error::io("create", &images))?;
    clear(root, &images)?;
    (0..spec.count()).into_par_iter().try_for_each(|index| {
        let (scene, _) = sample(spec.seed, index as u64);
        write_image(&root.join(image_name(index)), &scene, spec.side)?;
        on_image();
        Ok::<(), Error>(())
    })?;
    file_io::sync_folder(&images).map_err(Error::io("write", &images))?;
    file_io::write_atomic(&root.join(CORPUS), |out| {
        (0..spec.count()).try_for_each(|index| {
            let (_, captions) = sample(spec.seed, index as u64);
            let line = Line { image: image_name(index), split: spec.split(index), captions };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        })
    })?;
    file_io::write_atomic(&root.join(MANIFEST), |out| Ok(serde_json::to_writer_pretty(out, &manifest)?))
}

/// A scene's file in the folder.
fn image_name(index: usize) -> String {
    format!("images/scene-{index:06}.png")
}

/// Writes one picture. A partial one does no harm, because the manifest is written last.
fn write_image(path: &Path, scene: &Scene, side: u32) -> Result<()> {
    let mut png = Cursor::new(Vec::new());
    let encoded = render(scene, side).write_to(&mut png, ImageFormat::Png);
    encoded.map_err(|error| Error::file(path, format!("cannot be encoded as png: {error}")))?;
    write_synced(path, png.get_ref()).map_err(Error::io("write", path))
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// The manifest, if it exists and this version can read it.
fn read_manifest(root: &Path) -> Result<Option<Manifest>> {
    let path = root.join(MANIFEST);
    match path.try_exists().map_err(Error::io("read", &path))? {
        true => Ok(serde_json::from_slice(&file_io::read(&path, MANIFEST_LIMIT)?).ok()),
        false => Ok(None),
    }
}

/// Removes the files of an earlier call before anything new is written, and no others.
fn clear(root: &Path, images: &Path) -> Result<()> {
    let listed = [root.join(MANIFEST), root.join(CORPUS)].into_iter().filter(|path| path.exists());
    for path in listed.chain(old_images(images)?) {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    file_io::sync_folder(root).map_err(Error::io("write", root))
}

/// Whether the folder `root` holds this corpus whole.
///
/// # Errors
/// When its manifest cannot be read.
pub fn is_drawn(root: &Path, spec: &Spec) -> Result<bool> {
    Ok(read_manifest(root)?.is_some_and(|found| found == Manifest { version: VERSION, spec: *spec }))
}

/// Refuses to replace a captions file that does not begin like one of scenes, and, in a folder that dsi has not marked,
/// pictures with the names of scenes.
fn refuse_foreign(root: &Path, images: &Path) -> Result<()> {
    let corpus = root.join(CORPUS);
    let is_marked = read_manifest(root)?.is_some() || FolderMarker::read(root)?.is_some();
    let pictures = || old_images(images).map(|images| images.into_iter().next());
    let foreign = match corpus.exists() && !(is_marked && begins_like_scenes(&corpus)?) {
        true => Some(corpus),
        false if is_marked || !images.exists() => None,
        false => pictures()?,
    };
    foreign.map_or(Ok(()), |path| {
        let what = "was not written by dsi and is not overwritten; choose another folder (data.root)";
        Err(Error::file(path, what))
    })
}

fn begins_like_scenes(corpus: &Path) -> Result<bool> {
    let head = format!("{{\"image\":\"{}\"", image_name(0));
    let mut found = Vec::new();
    let file = fs::File::open(corpus).map_err(Error::io("read", corpus))?;
    file.take(head.len() as u64).read_to_end(&mut found).map_err(Error::io("read", corpus))?;
    Ok(found == head.as_bytes())
}

fn spec_id(spec: &Spec) -> String {
    blake3::hash(format!("{spec:?}").as_bytes()).to_hex()[..16].to_owned()
}

/// The pictures of an earlier corpus.
fn old_images(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let paths = entries.map_err(Error::io("list", folder))?.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| is_scene(path)).collect())
}

/// Whether a file has the name of a scene: `scene-000000.png`.
fn is_scene(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let digits = name.and_then(|name| name.strip_prefix("scene-")?.strip_suffix(".png"));
    digits.is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SPEC: Spec = Spec { seed: 7, train: 3, val: 1, test: 2, side: 16 };

    /// Writes and returns the number of images drawn.
    fn drawn(root: &Path, spec: &Spec) -> usize {
        let count = AtomicUsize::new(0);
        let add = || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        write(root, spec, &add).unwrap();
        count.into_inner()
    }

    /// Every file below a folder with its content, by name.
    fn content(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let folders = [root.to_path_buf(), root.join("images")];
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let read = |path: PathBuf| (path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
        let mut content: Vec<_> = files.map(read).collect();
        content.sort();
        content
    }

    #[test]
    fn a_corpus_has_its_splits_captions_and_pictures() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(drawn(root.path(), &SPEC), 6);
        let text = fs::read_to_string(root.path().join(CORPUS)).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let splits: Vec<_> = lines.iter().map(|line| line["split"].as_str().unwrap()).collect();
        assert_eq!(splits, ["train", "train", "train", "val", "test", "test"]);
        for (index, line) in lines.iter().enumerate() {
            let (scene, captions) = sample(SPEC.seed, index as u64);
            assert_eq!(line["captions"], serde_json::json!(captions));
            let picture = image::open(root.path().join(line["image"].as_str().unwrap())).unwrap();
            assert_eq!(picture.into_rgb8(), render(&scene, SPEC.side));
        }
    }

    #[test]
    fn a_complete_corpus_is_kept_and_any_other_is_replaced() {
        let (root, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = root.path();
        assert_eq!((drawn(root, &SPEC), drawn(root, &SPEC)), (6, 0));
        let smaller = Spec { test: 1, ..SPEC };
        assert_eq!((drawn(root, &smaller), drawn(fresh.path(), &smaller)), (5, 5));
        assert_eq!(content(root), content(fresh.path()));
        // As a crash leaves it: pictures, perhaps cut short, and no manifest.
        fs::remove_file(root.join(MANIFEST)).unwrap();
        fs::write(root.join("images/scene-000001.png"), b"half").unwrap();
        assert_eq!(drawn(root, &smaller), 5);
        assert_eq!(content(root), content(fresh.path()));
    }

    #[test]
    fn foreign_files_stay() {
        let root = tempfile::tempdir().unwrap();
        let (photo, corpus) = (root.path().join("images/scene-mine.png"), root.path().join(CORPUS));
        fs::create_dir(root.path().join("images")).unwrap();
        fs::write(&photo, b"photo").unwrap();
        drawn(root.path(), &SPEC);
        assert_eq!(fs::read(&photo).unwrap(), b"photo");
        fs::remove_file(root.path().join(MANIFEST)).unwrap();
        fs::write(&corpus, b"{\"image\": \"cat.jpg\"}").unwrap();
        let refused = write(root.path(), &SPEC, &|| ()).unwrap_err().to_string();
        assert!(refused.contains("choose another folder"), "{refused}");
        assert_eq!(fs::read(&corpus).unwrap(), b"{\"image\": \"cat.jpg\"}");
    }

    #[test]
    fn threads_do_not_change_a_byte() {
        let by = |threads| {
            let root = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| drawn(root.path(), &SPEC));
            content(root.path())
        };
        assert_eq!(by(1), by(3));
    }
}
