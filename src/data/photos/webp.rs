//! Decodes WebP; of an animation the first frame.

use std::io::Cursor;

use image::RgbImage;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;

use super::exif;
use super::fault::{Admit, Fault};
use super::from_image::from_image;

/// Flags of an extended file.
const ALPHA: u8 = 0x10;
const EXIF: u8 = 0x08;
const XMP: u8 = 0x04;
const ANIMATION: u8 = 0x02;

/// The pixels of a WebP.
pub(super) fn decode(bytes: &[u8], admit: Admit) -> Result<RgbImage, Fault> {
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|error| Fault::of(error, "WebP"))?;
    from_image(decoder, "WebP", bytes_a_pixel(bytes), orientation(bytes), admit)
}

/// What the decoder needs for a pixel at most: its planes or its colours, a frame and a canvas of an animation, a
/// plane of alpha, and the pixels that it gives.
fn bytes_a_pixel(bytes: &[u8]) -> u64 {
    match (flags(bytes), chunk(bytes, b"VP8L")) {
        (Some(flags), _) if flags & ANIMATION != 0 => 16,
        (Some(flags), None) if flags & ALPHA != 0 => 11,
        (_, Some(_)) => 8,
        (_, None) => 5,
    }
}

fn orientation(bytes: &[u8]) -> Orientation {
    let flags = flags(bytes).unwrap_or(0);
    let flagged = |flag, name| chunk(bytes, name).filter(|_| flags & flag != 0);
    exif::orientation(flagged(EXIF, b"EXIF"), flagged(XMP, b"XMP "))
}

/// The flags of an extended file.
fn flags(bytes: &[u8]) -> Option<u8> {
    chunk(bytes, b"VP8X")?.first().copied()
}

/// The content of the first chunk of this name, as far as the file has it: the decoder begins with a chunk that is cut
/// short.
fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (found, after) = rest.split_first_chunk::<4>()?;
        let (length, content) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if found == name {
            return Some(&content[..length.min(content.len())]);
        }
        rest = content.get(length.checked_next_multiple_of(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lossless_photo_that_is_cut_short_is_estimated_as_one() {
        let whole = [b"RIFF\x10\0\0\0WEBPVP8L\x05\0\0\0".as_slice(), &[0x2f, 1, 2, 3, 4]].concat();
        let cut = [b"RIFF\xff\0\0\0WEBPVP8L\xff\0\0\0".as_slice(), &[0x2f, 1, 2, 3, 4]].concat();
        assert_eq!([bytes_a_pixel(&whole), bytes_a_pixel(&cut)], [8, 8]);
    }
}
