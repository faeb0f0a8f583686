//! The opened images of a store.

use std::path::Path;

use super::name_pattern::NamePattern;
use crate::error::{Error, Result};
use crate::store::generation::{Generation, SegmentRef};
use crate::store::scan::{ImageSet, Lists, Scanned};
use crate::store::segment::Segment;

/// An image: the number of its segment, and its number there.
pub type ImagePlace = (usize, usize);

/// The images of a store.
pub struct Store {
    /// What is searched.
    pub generation: Generation,
    /// Its segments.
    pub parts: Vec<StorePart>,
}

/// A segment with what was removed from it.
pub struct StorePart {
    /// The segment.
    pub segment: Segment,
    /// Images that are not found.
    pub removed: ImageSet,
    lists: Lists,
}

impl Store {
    /// Opens the segments of a generation in this folder.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn open(folder: &Path, generation: Generation) -> Result<Self> {
        let parts =
            generation.segments.iter().map(|part| StorePart::open(folder, part)).collect::<Result<_>>()?;
        Ok(Self { generation, parts })
    }

    /// Number of images that can be found.
    pub fn images(&self) -> usize {
        self.parts.iter().map(|part| part.segment.head().images - part.removed.len()).sum()
    }

    /// Whether some images have two docids.
    pub fn has_extra_docids(&self) -> bool {
        self.parts.iter().map(|part| part.segment.head()).any(|head| head.docids > head.images)
    }

    /// Bytes of all docids: codes, constants and scales.
    pub fn docid_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.segment.docid_bytes()).sum()
    }

    /// The sets of images that are not found because they were removed or their name does not fit the pattern, one a
    /// segment.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn excluded_by(&self, pattern: &NamePattern) -> Result<Vec<ImageSet>> {
        let of_part = |part: &StorePart| {
            let mut excluded = part.removed.clone();
            for image in 0..part.segment.head().images {
                if !pattern.matches(part.segment.name(image)?) {
                    excluded.insert(image);
                }
            }
            Ok(excluded)
        };
        self.parts.iter().map(of_part).collect()
    }

    /// All segments as a search sees them. `excluded`: the images that are not found; those that were removed, if it is
    /// not given.
    pub fn scanned<'a>(&'a self, excluded: Option<&'a [ImageSet]>) -> impl Iterator<Item = Scanned<'a>> {
        self.parts.iter().enumerate().map(move |(number, part)| Scanned {
            number,
            segment: &part.segment,
            lists: &part.lists,
            excluded: excluded.map_or(&part.removed, |excluded| &excluded[number]),
        })
    }

    /// All images that can be found.
    pub fn living(&self) -> impl Iterator<Item = ImagePlace> {
        self.parts.iter().enumerate().flat_map(|(number, part)| {
            let images = (0..part.segment.head().images).filter(|&image| !part.removed.contains(image));
            images.map(move |image| (number, image))
        })
    }

    /// A segment by its number.
    pub fn segment(&self, number: usize) -> &Segment {
        &self.parts[number].segment
    }

    /// The name of an image.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn name(&self, (segment, image): ImagePlace) -> Result<&str> {
        self.segment(segment).name(image)
    }

    /// The image of this name.
    ///
    /// # Errors
    /// When there is none, or a file is damaged.
    pub fn find(&self, name: &str) -> Result<ImagePlace> {
        for place in self.living() {
            if self.name(place)? == name {
                return Ok(place);
            }
        }
        Err(Error::input(format!("the store has no image {name}")))
    }

    /// The docids of an image.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn docids_of(&self, (segment, image): ImagePlace) -> Result<Vec<usize>> {
        let segment = self.segment(segment);
        let mut docids = Vec::new();
        for docid in 0..segment.head().docids {
            if segment.owner(docid)? == image {
                docids.push(docid);
            }
        }
        Ok(docids)
    }
}

impl StorePart {
    fn open(folder: &Path, part: &SegmentRef) -> Result<Self> {
        let path = part.file.path(folder);
        let segment = Segment::open(&path, &part.file.hash(folder)?)?;
        let images = segment.head().images;
        let removed = match &part.removed {
            None => ImageSet::of(images, |_| false),
            Some(file) => {
                let set = ImageSet::from_bytes(images, &file.read(folder, images as u64 / 8 + 8)?);
                let what = "does not fit its segment; make the search store again";
                set.ok_or_else(|| Error::file(file.path(folder), what))?
            }
        };
        Ok(Self { lists: Lists::of(&segment)?, segment, removed })
    }
}
