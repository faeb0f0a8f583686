//! Photo files, decoded safely: any file a user points at becomes RGB pixels or an error that names it.
//!
//! The format is read from the content (JPEG, PNG, WebP, GIF, BMP), never from the extension. Grey, palette,
//! 16-bit and CMYK photos become 8-bit RGB; an alpha channel is dropped, as Pillow's `convert("RGB")` does,
//! because that is what CLIP was trained on; of an animation the first frame is taken. The orientation that a
//! camera noted (EXIF) is applied, as transformers' `load_image` does. 16-bit grey is scaled to 8 bits, where
//! Pillow would clip it to white. Bounds on bytes, sides and memory hold before anything is allocated.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use rayon::prelude::*;

use super::preprocess::Preprocess;
use crate::error::{Error, Result};
use crate::file;

mod jpeg;

const MAX_BYTES: u64 = 256 << 20;
const MAX_SIDE: u32 = 16_384;
const MAX_DECODED_BYTES: u64 = 512 << 20;

/// Reads and decodes one photo.
///
/// # Errors
/// When the file cannot be read, is empty, no image, cut short or larger than allowed: the message names it.
pub fn read(path: &Path) -> Result<RgbImage> {
    decode(&file::read(path, MAX_BYTES)?).map_err(|what| Error::file(path, what))
}

/// Reads, decodes and preprocesses photos in parallel: for each file in order its [`Preprocess::apply`]d
/// bytes, or what is wrong with it.
pub fn decode_batch<P: AsRef<Path> + Sync>(files: &[P], preprocess: &Preprocess) -> Vec<Result<Vec<u8>>> {
    files.par_iter().map(|path| read(path.as_ref()).map(|photo| preprocess.apply(&photo))).collect()
}

/// Decodes the content of a photo file; the error is a clause without the name of the file.
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
    let exact = if is_jpeg { jpeg::decode(bytes) } else { None };
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
