//! Adding images to a store, removing some, and putting its segments together.
//!
//! Each change writes new files and then one new generation. A crash before that leaves the generation as it was.
//! Added images get their docids from the codebooks as they are; nothing is trained.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::index_photos::{EmbeddedPhotos, files_unless_in, hashes_of};
use super::name_pattern::NamePattern;
use super::opened_store::ImagePlace;
use super::photo_quantiser::projected;
use super::stored_model::StoredModel;
use super::write_store::{OwnedSegment, constants_of, short_hash, short_hashes};
use super::{Searcher, Store, no_store};
use crate::context::Context;
use crate::data::photo_list::NamedPhoto;
use crate::docid::Code;
use crate::docid::rq::Codebooks;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::run_lock::RunLock;
use crate::store::generation::{FileRef, Generation, SegmentRef};
use crate::store::rows::RowKind;

/// Beam of the quantiser for added images.
const ENCODE_BEAM: usize = 8;
/// Names that a message gives before it counts the rest.
const NAMED: usize = 5;

/// What an addition did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// Images that are new.
    pub added: usize,
    /// Images whose photo was another one before.
    pub replaced: usize,
    /// Images that were there already.
    pub unchanged: usize,
    /// Photos that could not be read.
    pub unreadable: usize,
}

/// A store that is being changed; nobody else changes it meanwhile.
pub struct StoreChange {
    run: RunFolder,
    searcher: Searcher,
    _lock: RunLock,
}

impl StoreChange {
    /// Locks and opens the store of a run. `what` is the command that changes it.
    ///
    /// # Errors
    /// When there is no store, it is damaged, or another process changes the run.
    pub fn begin(run: &RunFolder, what: &str) -> Result<Self> {
        if !Generation::exists(&run.search()) {
            return Err(no_store(run));
        }
        let lock = RunLock::acquire(run.path(), what)?;
        Ok(Self { searcher: Searcher::open(run.path())?, run: run.clone(), _lock: lock })
    }

    /// The folder that the names of the store's photos are meant in, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.store().parts.first().and_then(|part| part.segment.head().folder.as_deref())
    }

    fn store(&self) -> &Store {
        &self.searcher.store
    }

    fn model(&self) -> &StoredModel {
        &self.searcher.model
    }

    /// Adds photos by name. A photo that is there already changes nothing; one with the name of another photo takes its
    /// place if it is the same file.
    ///
    /// # Errors
    /// When new images cannot get docids here, two photos have one name, or the disk refuses.
    pub fn add(&self, photos: Vec<NamedPhoto>, progress: Progress) -> Result<Added> {
        let books = self.frozen_codebooks()?;
        let found = photos.len();
        let hashes = hashes_of(&photos);
        let Sorted { new, replaced, unchanged } = self.sort(photos, &hashes)?;
        let (photos, hashes): (Vec<NamedPhoto>, Vec<_>) = new.into_iter().unzip();
        if photos.is_empty() {
            return Ok(Added { unchanged, unreadable: found - unchanged, ..Added::default() });
        }
        let encoder = self.model().file.encoder.open(&self.run, progress)?;
        let ctx = Context { progress, ..Context::default() };
        let embedded = EmbeddedPhotos::embed(photos, &hashes, &*encoder, &self.run, &ctx)?;
        let kept: HashSet<&str> = embedded.photos.iter().map(|photo| photo.name.as_str()).collect();
        let replaced = replaced.into_iter().filter(|(name, _)| kept.contains(name.as_str()));
        let replaced: Vec<ImagePlace> = replaced.map(|(_, place)| place).collect();
        let counts = Added {
            added: embedded.photos.len() - replaced.len(),
            replaced: replaced.len(),
            unchanged,
            unreadable: found - unchanged - embedded.photos.len(),
        };
        if !embedded.photos.is_empty() {
            self.publish(&replaced, Some(&self.segment_of(&embedded, books)?))?;
        }
        Ok(counts)
    }

    /// The codebooks that new images get their docids from.
    fn frozen_codebooks(&self) -> Result<&Codebooks> {
        let model = self.model();
        let books = model.codebooks.as_ref().ok_or_else(|| {
            Error::input(
                "the docids of this run are not made from embeddings, so no image can be added; index with index.family = \
                 \"rq\"",
            )
        })?;
        if model.file.score.needs_beam() {
            return Err(Error::input(
                "images cannot be added to a run that is searched by a beam (cross-entropy, search.wildcard below 1, or a \
                 decoder with neither decoder.grounded nor decoder.plan)",
            ));
        }
        Ok(books)
    }

    /// New images with docids by these codebooks.
    fn segment_of(&self, embedded: &EmbeddedPhotos, books: &Codebooks) -> Result<OwnedSegment> {
        let model = self.model();
        let (levels, count) = (model.file.codes_per_level.len(), embedded.photos.len());
        let images = model.align.apply(Modality::Image, &embedded.rows);
        let mut codes: Vec<Code> = Vec::with_capacity(levels * count);
        for mut docid in books.encode_all(&projected(model.basis.as_ref(), &images), ENCODE_BEAM) {
            // A level without a codebook tells equal docids apart; an added image takes its first code.
            docid.resize(levels, 0);
            codes.extend(docid);
        }
        let (mut constants, scales) = constants_of(model, &codes)?;
        // The prior of a new image is not measured: it gets the mean of the others'.
        let bonus = self.mean_bonus()?;
        constants.iter_mut().for_each(|constant| *constant += bonus);
        Ok(OwnedSegment {
            codes_per_level: model.file.codes_per_level.clone(),
            owners: (0..count).collect(),
            bonuses: if bonus == 0.0 { Vec::new() } else { vec![bonus; count] },
            names: embedded.photos.iter().map(|photo| photo.name.clone()).collect(),
            files: files_unless_in(self.folder(), &embedded.photos),
            hashes: short_hashes(&embedded.hashes),
            rows: (images, self.row_kind()),
            folder: self.folder().map(Path::to_owned),
            codes,
            constants,
            scales,
        })
    }

    /// The mean of what the images of the store get on top of their docid's score.
    fn mean_bonus(&self) -> Result<f32> {
        let (mut sum, mut count) = (0.0, 0.0f32);
        for (segment, image) in self.store().living() {
            sum += self.store().segment(segment).bonus(image)?;
            count += 1.0;
        }
        Ok(sum / count.max(1.0))
    }

    /// How the store keeps rows.
    fn row_kind(&self) -> RowKind {
        self.store().parts.first().map_or(RowKind::None, |part| part.segment.head().rows.0)
    }

    /// Which photos are new, which replace one of the store, and how many are there already. Unreadable ones are dropped.
    fn sort(&self, photos: Vec<NamedPhoto>, hashes: &[Option<[u8; 32]>]) -> Result<Sorted> {
        let mut known: HashMap<&str, ImagePlace> = HashMap::new();
        for (segment, image) in self.store().living() {
            known.insert(self.store().segment(segment).name(image)?, (segment, image));
        }
        let mut sorted = Sorted { new: Vec::new(), replaced: Vec::new(), unchanged: 0 };
        let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (photo, hash) in photos.into_iter().zip(hashes) {
            if let Some(other) = seen.insert(photo.name.clone(), photo.file.clone()) {
                return Err(two_photos(&photo.name, &other, &photo.file));
            }
            let Some(hash) = hash else {
                tracing::warn!("left out: {} cannot be read", photo.file.display());
                continue;
            };
            let Some(&(segment, image)) = known.get(photo.name.as_str()) else {
                sorted.new.push((photo, Some(*hash)));
                continue;
            };
            let before = self.store().segment(segment);
            if before.hash(image)? == Some(short_hash(hash)) {
                sorted.unchanged += 1;
                continue;
            }
            if let Some(file) = before.file(image)?.filter(|file| !is_same_file(file, &photo.file)) {
                return Err(two_photos(&photo.name, &file, &photo.file));
            }
            sorted.replaced.push((photo.name.clone(), (segment, image)));
            sorted.new.push((photo, Some(*hash)));
        }
        Ok(sorted)
    }

    /// Removes images by name. A name that no image has is a pattern ([`NamePattern`]). Returns how many were removed.
    ///
    /// # Errors
    /// When no image fits a name, or the disk refuses.
    pub fn remove(&self, names: &[String]) -> Result<usize> {
        let mut used = vec![false; names.len()];
        let exact: HashMap<&str, usize> =
            (0..).zip(names).map(|(number, name)| (name.as_str(), number)).collect();
        let mut removed = BTreeSet::new();
        for place in self.store().living() {
            if let Some(&number) = exact.get(self.store().name(place)?) {
                used[number] = true;
                removed.insert(place);
            }
        }
        let patterns = (0..).zip(names).filter(|(number, _)| !used[*number]);
        let patterns: Vec<(usize, NamePattern)> =
            patterns.map(|(number, name)| (number, NamePattern::new(name))).collect();
        for place in self.store().living() {
            let name = self.store().name(place)?;
            for (number, _) in patterns.iter().filter(|(_, pattern)| pattern.matches(name)) {
                used[*number] = true;
                removed.insert(place);
            }
        }
        let removed: Vec<ImagePlace> = removed.into_iter().collect();
        let missing: Vec<&str> =
            names.iter().zip(&used).filter(|(_, used)| !**used).map(|(name, _)| name.as_str()).collect();
        if !missing.is_empty() {
            let more = missing.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = missing.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
            return Err(Error::input(format!("the store has no image {named}{more}; nothing was removed")));
        }
        self.publish(&removed, None)?;
        Ok(removed.len())
    }

    /// Writes one segment of all images, without those that were removed. Returns how many segments there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn compact(&self) -> Result<usize> {
        let segment = self.merged()?;
        let (folder, old) = (self.run.search(), &self.store().generation);
        let file = segment.write(&folder, format!("segment-{}-0.bin", old.number + 1))?;
        old.next(vec![SegmentRef { file, removed: None }]).publish(&folder)?;
        Ok(old.segments.len())
    }

    /// The next generation: some images less, and one segment more.
    fn publish(&self, removed: &[ImagePlace], added: Option<&OwnedSegment>) -> Result<()> {
        let (folder, old) = (self.run.search(), &self.store().generation);
        let number = old.number + 1;
        let mut segments = old.segments.clone();
        for (place, segment) in segments.iter_mut().enumerate() {
            let images: Vec<usize> =
                removed.iter().filter(|(s, _)| *s == place).map(|(_, image)| *image).collect();
            if !images.is_empty() {
                let mut all = self.store().parts[place].removed.clone();
                images.into_iter().for_each(|image| all.insert(image));
                segment.removed =
                    Some(FileRef::write(&folder, format!("removed-{number}-{place}.bin"), &all.to_bytes())?);
            }
        }
        if let Some(added) = added {
            let file = added.write(&folder, format!("segment-{number}-{}.bin", segments.len()))?;
            segments.push(SegmentRef { file, removed: None });
        }
        old.next(segments).publish(&folder)
    }

    /// All living images in one segment.
    fn merged(&self) -> Result<OwnedSegment> {
        let model = self.model();
        let mut merged = OwnedSegment {
            codes_per_level: model.file.codes_per_level.clone(),
            codes: Vec::new(),
            owners: Vec::new(),
            constants: Vec::new(),
            scales: Vec::new(),
            bonuses: Vec::new(),
            names: Vec::new(),
            files: Vec::new(),
            folder: None,
            hashes: Vec::new(),
            rows: (Matrix::default(), self.row_kind()),
        };
        let mut rows = Vec::new();
        for part in &self.store().parts {
            let (segment, images) = (&part.segment, part.segment.head().images);
            let mut places = vec![None; images];
            for image in (0..images).filter(|&image| !part.removed.contains(image)) {
                places[image] = Some(merged.names.len());
                merged.names.push(segment.name(image)?.to_owned());
                merged.files.push(segment.file(image)?);
                merged.hashes.extend(segment.hash(image)?);
                merged.bonuses.push(segment.bonus(image)?);
                rows.extend(segment.row(image)?.unwrap_or_default());
            }
            for docid in 0..segment.head().docids {
                if let Some(place) = places[segment.owner(docid)?] {
                    merged.owners.push(place);
                    merged.codes.extend(segment.docid(docid)?);
                    merged.constants.push(segment.constants(docid..docid + 1)?.map_or(0.0, |c| c[0]));
                    merged.scales.extend(segment.scales(docid..docid + 1)?.map(|scales| scales[0]));
                }
            }
        }
        if merged.bonuses.iter().all(|bonus| *bonus == 0.0) {
            merged.bonuses.clear();
        }
        if merged.hashes.len() != merged.names.len() {
            merged.hashes.clear();
        }
        merged.rows.0 = if rows.is_empty() { Matrix::default() } else { Matrix::new(model.file.width, rows) };
        let named = merged.names.iter().zip(&merged.files);
        let folder = self.folder().map(Path::to_owned);
        if let Some(folder) = folder
            && named
                .into_iter()
                .all(|(name, file)| file.as_ref().is_some_and(|file| *file == folder.join(name)))
        {
            merged.files.clear();
            merged.folder = Some(folder);
        }
        Ok(merged)
    }
}

/// Photos by what they are to the store.
struct Sorted {
    new: Vec<(NamedPhoto, Option<[u8; 32]>)>,
    replaced: Vec<(String, ImagePlace)>,
    unchanged: usize,
}

/// Whether two paths lead to one file, links followed; a file that is gone is known by its path.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    matches!((real(one), real(other)), (Ok(one), Ok(other)) if one == other)
}

fn two_photos(name: &str, one: &Path, other: &Path) -> Error {
    Error::input(format!(
        "two photos would be called {name}: {} and {}; give the folder above both, so that their names differ",
        one.display(),
        other.display()
    ))
}
