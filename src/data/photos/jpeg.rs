//! Decodes JPEG to the bit as Pillow does, whose libjpeg-turbo CLIP's training photos went through.
//!
//! The decoder of the `image` crate rounds differently: at 224 pixels a side it is off by up to 4 levels,
//! 0.33 on average.

use std::panic::{self, AssertUnwindSafe};

use image::RgbImage;
use mozjpeg::decompress::DecompressStarted;
use mozjpeg::{ColorSpace, CompInfo, Decompress};

use super::canvas::Canvas;
use super::fault::{Admit, Fault, Size};
use super::jpeg_markers::Header;

/// The most scans of one photo. An ordinary progressive photo has ten.
const MOST_SCANS: u64 = 500;
/// A large photo may have this many in any case, and no more than the next constant allows.
const ALLOWED_SCANS: u64 = 24;
/// The most pixels times scans: a decoder goes through all pixels for each scan, even for an empty one.
const MOST_WORK: u64 = 1 << 32;

/// Bytes of a block of 8 × 8 coefficients.
const BLOCK_BYTES: u64 = 128;
/// Rows of each component that the decoder keeps for a photo of one scan, as bytes for a pixel of width.
const ROW_BYTES: u64 = 256;

/// The pixels of a JPEG.
pub(super) fn decode(bytes: &[u8], admit: Admit) -> Result<RgbImage, Fault> {
    let header = Header::read(bytes);
    if let Some(what) = header.unsupported() {
        return Err(Fault::Refused(what));
    }
    // libjpeg reports errors by unwinding; no panic hook runs.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode_unwinding(bytes, &header, admit)));
    decoded.unwrap_or_else(|_| Err(Fault::damaged("JPEG")))
}

fn decode_unwinding(bytes: &[u8], header: &Header, admit: Admit) -> Result<RgbImage, Fault> {
    let damaged = |_| Fault::damaged("JPEG");
    let decoder = Decompress::new_mem(bytes).map_err(damaged)?;
    let (width, height) = decoder.size();
    let size = (width as u32, height as u32);
    let coefficients = if header.has_many_scans() { coefficient_bytes(decoder.components()) } else { 0 };
    admit(size, 3 * width as u64 * height as u64 + coefficients + ROW_BYTES * width as u64)?;
    if header.has_many_scans() {
        check_scans(header.count_scans(), size)?;
    }
    let is_cmyk = matches!(decoder.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let colours = if is_cmyk { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut rows = decoder.to_colorspace(colours).map_err(damaged)?;
    let mut canvas = Canvas::new(size, header.orientation());
    fill(&mut canvas, &mut rows, size, is_cmyk).map_err(damaged)?;
    Ok(canvas.finish())
}

/// Reads all rows.
fn fill(
    canvas: &mut Canvas,
    rows: &mut DecompressStarted<&[u8]>,
    (width, height): Size,
    is_cmyk: bool,
) -> std::io::Result<()> {
    if let (false, Some(bytes)) = (is_cmyk, canvas.untouched()) {
        return rows.read_scanlines_into(bytes).map(drop);
    }
    let mut row = vec![0u8; width as usize * if is_cmyk { 4 } else { 3 }];
    for y in 0..height as usize {
        rows.read_scanlines_into(&mut row)?;
        if is_cmyk {
            canvas.put(y, &row.chunks_exact(4).flat_map(rgb).collect::<Vec<u8>>());
        } else {
            canvas.put(y, &row);
        }
    }
    Ok(())
}

/// Red, green and blue of a pixel of inverted cyan, magenta, yellow and black, as Pillow computes them: it takes
/// every JPEG of four channels to be inverted.
fn rgb(inverted: &[u8]) -> [u8; 3] {
    let black = u32::from(*inverted.last().unwrap_or(&0));
    std::array::from_fn(|channel| {
        let product = u32::from(255 - inverted.get(channel).unwrap_or(&0)) * black + 128;
        black.saturating_sub(((product >> 8) + product) >> 8) as u8
    })
}

/// The bytes of all coefficients, which the decoder keeps until it has read the last scan.
fn coefficient_bytes(components: &[CompInfo]) -> u64 {
    let blocks = |component: &CompInfo| {
        let padded = |blocks: u32, factor: i32| u64::from(blocks).next_multiple_of(factor.max(1) as u64);
        padded(component.width_in_blocks, component.h_samp_factor)
            * padded(component.height_in_blocks, component.v_samp_factor)
    };
    components.iter().map(blocks).sum::<u64>() * BLOCK_BYTES
}

/// Refuses a photo whose scans would take minutes.
fn check_scans(scans: usize, (width, height): Size) -> Result<(), Fault> {
    let by_work = MOST_WORK / (u64::from(width) * u64::from(height)).max(1);
    let most = by_work.clamp(ALLOWED_SCANS, MOST_SCANS);
    if scans as u64 <= most {
        return Ok(());
    }
    Err(Fault::Refused(format!(
        "is a progressive JPEG of {scans} scans; at most {most} are allowed for {width} x {height} pixels; save it \
         again as an ordinary JPEG"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_scans_depends_on_the_pixels() {
        assert!(check_scans(500, (640, 480)).is_ok());
        assert!(check_scans(501, (1, 1)).is_err());
        assert!(check_scans(64, (8192, 8192)).is_ok() && check_scans(65, (8192, 8192)).is_err());
        assert!(check_scans(24, (16_384, 10_000)).is_ok());
    }

    #[test]
    fn four_channels_become_three_as_in_pillow() {
        // Image.new("CMYK", (1, 1), (c, m, y, k)).convert("RGB"), of inverted bytes
        assert_eq!(rgb(&[255, 255, 255, 255]), [255; 3]);
        assert_eq!(rgb(&[0, 128, 255, 255]), [0, 128, 255]);
        assert_eq!(rgb(&[200, 100, 50, 128]), [100, 50, 25]);
    }
}
