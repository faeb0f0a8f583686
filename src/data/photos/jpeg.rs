//! Decodes JPEG to the bit as libjpeg-turbo does, which Pillow uses and CLIP's training photos went through.
//!
//! The decoder of the `image` crate rounds differently: at 224 pixels a side it is off by up to 4 levels,
//! 0.33 on average.

use std::panic;

use image::RgbImage;
use mozjpeg::{ColorSpace, Decompress};

/// The pixels of a grey or colour JPEG of this width and height. `None` if libjpeg reads another size (which
/// was not checked against the limits), cannot convert to RGB (CMYK) or finds the file damaged: the caller
/// then uses another decoder, which also words the error.
pub(super) fn decode(bytes: &[u8], (width, height): (u32, u32)) -> Option<RgbImage> {
    // libjpeg reports errors by unwinding; no panic hook runs.
    panic::catch_unwind(|| {
        let header = Decompress::new_mem(bytes).ok()?;
        let is_cmyk = matches!(header.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
        if is_cmyk || header.size() != (width as usize, height as usize) {
            return None;
        }
        let mut rows = header.rgb().ok()?;
        RgbImage::from_raw(width, height, rows.read_scanlines().ok()?)
    })
    .ok()
    .flatten()
}

/// Whether this is a JPEG without its end marker. The decoder silently fills the missing part with grey, so
/// half a download would be indexed as if it were the photo.
pub(super) fn is_cut_short(bytes: &[u8]) -> bool {
    const START: [u8; 2] = [0xff, 0xd8];
    const SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    let Some(mut rest) = bytes.strip_prefix(&START) else { return false };
    // Skips the segments before the first scan by their length: a thumbnail in them has an end marker too.
    loop {
        match rest {
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, SCAN, scan @ ..] => return !scan.windows(2).any(|pair| pair == END),
            [0xff, _, high, low, ..] => {
                let length = 2 + usize::from(u16::from_be_bytes([*high, *low]));
                rest = rest.get(length..).unwrap_or_default();
            }
            [] | [_] | [_, _] | [_, _, _] => return true,
            // Not a marker: the decoder decides.
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_size_that_was_not_checked_is_not_decoded() {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(64, 48).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        let bytes = bytes.into_inner();
        assert_eq!(decode(&bytes, (64, 48)).unwrap().dimensions(), (64, 48));
        assert_eq!(decode(&bytes, (64, 47)), None);
    }
}
