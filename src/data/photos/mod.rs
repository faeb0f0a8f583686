//! Decodes photo files safely: any file becomes RGB pixels or an error that names it.
//!
//! The content decides the format (JPEG, PNG, WebP, GIF, BMP), never the extension. Grey, palette, 16-bit and
//! CMYK photos become 8-bit RGB. An alpha channel is dropped, as Pillow's `convert("RGB")` does, because CLIP
//! was trained on such photos; of an animation the first frame counts. The orientation in the EXIF data is
//! applied, as transformers' `load_image` does. 16-bit grey is scaled to 8 bits; Pillow clips it to white.
//!
//! Limits on bytes, sides, memory and scans are checked before anything is allocated. All threads together stay
//! within one budget of memory: a thread that finds no room waits. Only regular files are opened; a
//! photo that the user names may also be a pipe ([`Photo::Given`]).

use std::borrow::Borrow;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use self::budget::{Budget, Room};
use self::fault::{Fault, Size};
use super::preprocess::Preprocess;
use super::second_view::second_view;
use crate::error::{Error, Result};
use crate::escape::shown;
use crate::file_io;
use crate::process_memory::ReturnAtOnce;
use crate::rng::Rng;

mod budget;
mod canvas;
mod decode;
mod exif;
mod fault;
mod from_image;
mod gif;
mod jpeg;
mod jpeg_markers;
mod png;
mod png_chunks;
#[cfg(test)]
mod tests;
mod webp;

const MAX_BYTES: u64 = 256 << 20;
/// The memory of all photos that are being decoded, their files included.
const MAX_MEMORY: u64 = 512 << 20;

/// A photo that needs this much gives it back to the system when it is dropped.
const LARGE: u64 = 64 << 20;

static BUDGET: Budget = Budget::new(MAX_MEMORY);

/// The location of a photo's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Photo {
    /// A file that a corpus names: a regular one.
    File(PathBuf),
    /// What the user names: a file, or a pipe that can be read once.
    Given(PathBuf),
    /// A part of an uncompressed archive.
    Slice {
        /// The archive.
        archive: Arc<Path>,
        /// The photo's name in the archive.
        name: String,
        /// Its first byte in the archive.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
}

impl Photo {
    /// The path for messages; that of a [`Photo::Slice`] cannot be opened.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) | Self::Given(path) => path.clone(),
            Self::Slice { archive, name, .. } => archive.join(name),
        }
    }

    /// Whether the file or the archive exists.
    pub fn is_there(&self) -> bool {
        match self {
            Self::File(path) | Self::Given(path) => path.exists(),
            Self::Slice { archive, .. } => archive.exists(),
        }
    }

    /// The bytes, undecoded.
    ///
    /// # Errors
    /// When they cannot be read, or are more than the 256 MiB that are allowed.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => file_io::read(path, MAX_BYTES),
            Self::Given(path) => file_io::read_any(path, MAX_BYTES),
            Self::Slice { archive, length, .. } => {
                let mut bytes = Vec::with_capacity((*length).min(MAX_BYTES) as usize);
                self.open()?.take(*length).read_to_end(&mut bytes).map_err(Error::io("read", archive))?;
                self.check_length(bytes.len() as u64)?;
                Ok(bytes)
            }
        }
    }

    /// The file at the photo's first byte.
    fn open(&self) -> Result<File> {
        match self {
            Self::File(path) | Self::Given(path) => file_io::open_regular(path),
            Self::Slice { archive, offset, length, .. } => {
                if *length > MAX_BYTES {
                    return Err(self.too_large());
                }
                let mut file = file_io::open_regular(archive)?;
                file.seek(SeekFrom::Start(*offset)).map_err(Error::io("read", archive))?;
                Ok(file)
            }
        }
    }

    /// Refuses a number of bytes that is not the photo's.
    fn check_length(&self, read: u64) -> Result<()> {
        match self {
            Self::Slice { length, .. } if read != *length => {
                let what = "is cut short: the archive has changed since it was opened";
                Err(Error::file(self.path(), what))
            }
            _ if read > MAX_BYTES => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    fn too_large(&self) -> Error {
        Error::file(self.path(), format!("is larger than the {MAX_BYTES} bytes allowed here"))
    }

    /// BLAKE3 of the bytes, which are not all in memory at once.
    fn hash(&self) -> Result<PhotoHash> {
        let mut hasher = blake3::Hasher::new();
        let most = if let Self::Slice { length, .. } = self { *length } else { MAX_BYTES + 1 };
        hasher.update_reader(self.open()?.take(most)).map_err(Error::io("read", self.path()))?;
        self.check_length(hasher.count())?;
        Ok(*hasher.finalize().as_bytes())
    }

    /// The memory that its bytes take; all of the budget for a pipe, which cannot be read a second time.
    fn memory(&self) -> u64 {
        match self {
            Self::File(path) => path.metadata().map_or(0, |file| file.len()),
            Self::Given(_) => MAX_MEMORY,
            Self::Slice { length, .. } => *length,
        }
    }
}

impl fmt::Display for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.path()))
    }
}

/// A decoded photo and its room in the budget: drop it as soon as it has been used.
#[derive(Debug)]
pub struct DecodedPhoto {
    pixels: RgbImage,
    _returned: Option<ReturnAtOnce>,
    _room: Room<'static>,
}

impl DecodedPhoto {
    /// The pixels, to be kept; they no longer count in the budget.
    pub fn into_pixels(self) -> RgbImage {
        self.pixels
    }
}

impl Deref for DecodedPhoto {
    type Target = RgbImage;

    fn deref(&self) -> &RgbImage {
        &self.pixels
    }
}

/// Reads and decodes one photo. Waits while other threads use the memory that it needs, so a thread must not
/// keep one photo while it reads the next.
///
/// # Errors
/// When it cannot be read, is no regular file, is empty, no image, cut short or larger than allowed: the message
/// names it.
pub fn read(photo: &Photo) -> Result<DecodedPhoto> {
    read_within(&BUDGET, photo, 0)
}

/// As [`read`], with room for this many copies of the pixels too, as far as the budget has it.
fn read_within(budget: &'static Budget, photo: &Photo, copies: u64) -> Result<DecodedPhoto> {
    let pixels = |(width, height): Size| 3 * u64::from(width) * u64::from(height);
    let mut room = budget.reserve(photo.memory());
    loop {
        let mut returned = (photo.memory() >= LARGE).then(ReturnAtOnce::start);
        let bytes = photo.bytes()?;
        let mut grow = |needed: u64, size: Size| {
            let needed = (needed + copies * pixels(size)).min(budget.total());
            if !room.resize(needed) {
                return Err(needed);
            }
            if needed >= LARGE {
                returned.get_or_insert_with(ReturnAtOnce::start);
            }
            Ok(())
        };
        let decoded = decode::decode(&bytes, &mut grow);
        drop(bytes);
        match decoded {
            Ok(photo) => {
                room.resize(((1 + copies) * pixels(photo.dimensions())).min(budget.total()));
                return Ok(DecodedPhoto { pixels: photo, _returned: returned, _room: room });
            }
            Err(Fault::Refused(what)) => return Err(Error::file(photo.path(), what)),
            // Gives all room back before it waits.
            Err(Fault::NoRoom(needed)) => {
                drop(room);
                room = budget.reserve(needed);
            }
        }
    }
}

/// Reads, decodes and [preprocesses](Preprocess::apply) photos in parallel; the results are in the photos'
/// order.
pub fn decode_batch<P: Borrow<Photo> + Sync>(photos: &[P], preprocess: &Preprocess) -> Vec<Result<Vec<u8>>> {
    photos.par_iter().map(|photo| read(photo.borrow()).map(|photo| preprocess.apply(&photo))).collect()
}

/// As [`decode_batch`], but with a [`second_view`] of each photo; `draw(n)` makes the random stream of the
/// n-th.
pub fn view_batch<P: Borrow<Photo> + Sync>(
    photos: &[P],
    preprocess: &Preprocess,
    draw: &(dyn Fn(usize) -> Rng + Sync),
) -> Vec<Result<Vec<u8>>> {
    let view = |(place, photo): (usize, &P)| {
        // A view is cropped, and recompressed: two copies.
        let photo = read_within(&BUDGET, photo.borrow(), 2)?;
        Ok(preprocess.apply(&second_view(&photo, &mut draw(place))))
    };
    photos.par_iter().enumerate().map(view).collect()
}

/// Whether a file that begins with these bytes is a photo that can be decoded, unless it is damaged.
pub fn is_photo(head: &[u8]) -> bool {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    matches!(image::guess_format(head), Ok(Bmp | Gif | Jpeg | Png | WebP))
}

/// BLAKE3 of the bytes of a photo.
pub type PhotoHash = [u8; 32];

/// The hashes of photos, read in parallel; `None` for an unreadable photo.
pub fn hashes<P: Borrow<Photo> + Sync>(photos: &[P]) -> Vec<Option<PhotoHash>> {
    photos.par_iter().map(|photo| photo.borrow().hash().ok()).collect()
}
