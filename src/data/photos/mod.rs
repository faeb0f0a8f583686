//! Decodes photo files safely: any file becomes RGB pixels or an error that names it.
//!
//! The content decides the format (JPEG, PNG, WebP, GIF, BMP), never the extension. Grey, palette, 16-bit and
//! CMYK photos become 8-bit RGB. An alpha channel is dropped, as Pillow's `convert("RGB")` does, because CLIP
//! was trained on such photos; of an animation the first frame counts. The orientation in the EXIF data is
//! applied, as transformers' `load_image` does. 16-bit grey is scaled to 8 bits; Pillow clips it to white.
//! Limits on bytes, sides and memory are checked before anything is allocated.

use std::borrow::Borrow;
use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use rayon::prelude::*;

use super::preprocess::Preprocess;
use super::second_view::second_view;
use crate::error::{Error, Result};
use crate::file_io;
use crate::rng::Rng;

mod jpeg;

const MAX_BYTES: u64 = 256 << 20;
const MAX_SIDE: u32 = 16_384;
const MAX_DECODED_BYTES: u64 = 512 << 20;

/// The location of a photo's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Photo {
    /// A file.
    File(PathBuf),
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
    /// The path for messages; only that of a [`Photo::File`] can be opened.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Slice { archive, name, .. } => archive.join(name),
        }
    }

    /// Whether the file or the archive exists.
    pub fn is_there(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Slice { archive, .. } => archive.exists(),
        }
    }

    /// The bytes, undecoded.
    ///
    /// # Errors
    /// When they cannot be read, or are more than the 256 MiB that are allowed.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let Self::Slice { archive, offset, length, .. } = self else {
            return file_io::read(&self.path(), MAX_BYTES);
        };
        if *length > MAX_BYTES {
            return Err(Error::file(
                self.path(),
                format!("is larger than the {MAX_BYTES} bytes allowed here"),
            ));
        }
        let bytes = read_slice(archive, *offset, *length).map_err(Error::io("read", archive))?;
        if bytes.len() as u64 != *length {
            return Err(Error::file(
                self.path(),
                "is cut short: the archive has changed since it was opened",
            ));
        }
        Ok(bytes)
    }
}

fn read_slice(archive: &Path, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(archive)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Display for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

/// Reads and decodes one photo.
///
/// # Errors
/// When it cannot be read, is empty, no image, cut short or larger than allowed: the message names it.
pub fn read(photo: &Photo) -> Result<RgbImage> {
    decode(&photo.bytes()?).map_err(|what| Error::file(photo.path(), what))
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
        read(photo.borrow()).map(|photo| preprocess.apply(&second_view(&photo, &mut draw(place))))
    };
    photos.par_iter().enumerate().map(view).collect()
}

/// BLAKE3 of the bytes of a photo.
pub type PhotoHash = [u8; 32];

/// The hashes of photos, read in parallel, one photo per thread in memory; `None` for an unreadable photo.
pub fn hashes<P: Borrow<Photo> + Sync>(photos: &[P]) -> Vec<Option<PhotoHash>> {
    let hash = |photo: &P| Some(*blake3::hash(&photo.borrow().bytes().ok()?).as_bytes());
    photos.par_iter().map(hash).collect()
}

/// Decodes the content of a photo file; the error text lacks the file's name.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    if bytes.is_empty() {
        return Err("is empty (0 bytes)".into());
    }
    if jpeg::is_cut_short(bytes) {
        return Err("is cut short: the end of the JPEG is missing".into());
    }
    decode_oriented(bytes).map(DynamicImage::into_rgb8).map_err(|e| match e {
        ImageError::Unsupported(_) => format!("is not a JPEG, PNG, WebP, GIF or BMP that can be read ({e})"),
        ImageError::Limits(_) => format!("is larger than {MAX_SIDE} pixels a side or 512 MiB decoded ({e})"),
        e => format!("cannot be decoded ({e})"),
    })
}

fn decode_oriented(bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(ImageError::IoError)?;
    reader.limits(limits.clone());
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    let exact = if is_jpeg { jpeg::decode(bytes, decoder.dimensions()) } else { None };
    let mut photo = exact.map_or_else(|| DynamicImage::from_decoder(decoder), |rgb| Ok(rgb.into()))?;
    photo.apply_orientation(orientation);
    Ok(photo)
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, Rgba, RgbaImage};
    use proptest::prelude::*;

    use super::super::tests::damaged;
    use super::*;

    fn encoded(photo: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        photo.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn red_then_blue(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { [250, 0, 0] } else { [0, 0, 250] }))
    }

    #[test]
    fn every_kind_becomes_rgb() {
        let photo = red_then_blue(16, 8);
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP] {
            assert_eq!(decode(&encoded(photo.clone(), format)).unwrap(), photo, "{format:?}");
        }
        let alpha = RgbaImage::from_pixel(2, 2, Rgba([10, 20, 30, 0]));
        assert_eq!(decode(&encoded(alpha, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [10, 20, 30]);
        let deep = image::ImageBuffer::from_pixel(2, 2, image::Luma([0x8080u16]));
        assert_eq!(decode(&encoded(deep, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [128; 3]);
    }

    #[test]
    fn the_orientation_of_the_camera_is_applied() {
        let jpeg = encoded(red_then_blue(16, 8), ImageFormat::Jpeg);
        // APP1: "Exif", big-endian TIFF, one entry: tag 0x112 (orientation), type short, count 1, value 6
        // (turn right)
        let exif =
            b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = decode(&[&jpeg[..2], exif, &jpeg[2..]].concat()).unwrap();
        assert_eq!(turned.dimensions(), (8, 16));
        assert!(turned.get_pixel(4, 1)[0] > 200 && turned.get_pixel(4, 14)[2] > 200);
    }

    #[test]
    fn the_bad_photo_is_named_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let jpeg = encoded(red_then_blue(64, 64), ImageFormat::Jpeg);
        let png = encoded(red_then_blue(64, 64), ImageFormat::Png);
        let mut huge = png.clone();
        huge[16..20].copy_from_slice(&40_000u32.to_be_bytes());
        let contents: [(&str, &[u8], &str); 7] = [
            ("png-called.jpg", &png, ""),
            ("empty.jpg", b"", "empty (0 bytes)"),
            ("cut.jpg", &jpeg[..jpeg.len() / 2], "cut short"),
            ("head.jpg", &jpeg[..30], "cut short"),
            ("cut.png", &png[..png.len() / 2], "cannot be decoded"),
            ("text.jpg", b"<html>not found</html>", "is not a JPEG"),
            ("huge.png", &huge, "cannot be decoded"),
        ];
        let mut files: Vec<_> = contents.iter().map(|(name, ..)| folder.path().join(name)).collect();
        for (file, (_, bytes, _)) in files.iter().zip(&contents) {
            std::fs::write(file, bytes).unwrap();
        }
        files.push(folder.path().join("missing.jpg"));
        let files: Vec<_> = files.into_iter().map(Photo::File).collect();
        let results = decode_batch(&files, &Preprocess::clip(8).unwrap());
        assert_eq!(results[0].as_ref().unwrap().len(), 8 * 8 * 3);
        for (result, (name, _, expected)) in results.iter().zip(&contents).skip(1) {
            let text = result.as_ref().unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(expected), "{text}");
        }
        assert!(results[7].as_ref().unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_thumbnail_does_not_hide_that_the_end_is_missing() {
        let jpeg = encoded(red_then_blue(64, 64), ImageFormat::Jpeg);
        let segment = [b"\xff\xe1", &(jpeg.len() as u16 + 2).to_be_bytes()[..], &jpeg].concat();
        let whole = [&jpeg[..2], &segment, &jpeg[2..]].concat();
        assert!(decode(&whole).is_ok());
        assert!(decode(&whole[..whole.len() - 9]).unwrap_err().contains("cut short"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn damaged_photos_never_panic(
            kind in 0usize..5,
            flips in prop::collection::vec(any::<(usize, u8)>(), 0..5),
            cut in 0usize..40,
        ) {
            use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
            let bytes = encoded(red_then_blue(16, 16), [Jpeg, Png, WebP, Gif, Bmp][kind]);
            let _ = decode(&damaged(&bytes, &flips, cut));
        }
    }
}
