//! From the bytes of a photo to its pixels: finds the format.

use image::{ImageFormat, RgbImage};

use super::fault::{Fault, Grow, Size, admit};
use super::from_image::bmp;
use super::jpeg_markers::is_cut_short;
use super::{gif, jpeg, png, webp};
use crate::known_heads;

/// What a decoder needs beside the photo's rows: tables and buffers.
const FIXED_BYTES: u64 = 2 << 20;

/// Decodes the content of a photo file within the memory that `grow` allows.
pub(super) fn decode(bytes: &[u8], grow: Grow) -> Result<RgbImage, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Refused("is empty (0 bytes)".into()));
    }
    if is_cut_short(bytes) {
        return Err(Fault::Refused("is cut short: the end of the JPEG is missing".into()));
    }
    let mut admit = |size: Size, needed: u64| admit(size, bytes.len() as u64 + needed + FIXED_BYTES, grow);
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes, &mut admit),
        Ok(ImageFormat::Png) => png::decode(bytes, &mut admit),
        Ok(ImageFormat::WebP) => webp::decode(bytes, &mut admit),
        Ok(ImageFormat::Gif) => gif::decode(bytes, &mut admit),
        Ok(ImageFormat::Bmp) => bmp(bytes, &mut admit),
        _ => Err(Fault::Refused(not_a_photo(bytes))),
    }
}

fn not_a_photo(bytes: &[u8]) -> String {
    let unknown = "is not a JPEG, PNG, WebP, GIF or BMP photo; convert it to one of these";
    known_heads::describe(bytes).unwrap_or(unknown).into()
}
