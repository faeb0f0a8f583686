//! Decodes with decoders of the `image` crate, which give a photo as a whole.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, RgbImage};

use super::canvas::is_quarter_turn;
use super::fault::{Admit, Fault};

/// The pixels of a BMP.
pub(super) fn bmp(bytes: &[u8], admit: Admit) -> Result<RgbImage, Fault> {
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(|error| Fault::of(error, "BMP"))?;
    from_image(decoder, "BMP", 4, Orientation::NoTransforms, admit)
}

/// Decodes with a decoder of the `image` crate, which needs this many bytes for each pixel.
pub(super) fn from_image(
    decoder: impl ImageDecoder,
    format: &str,
    bytes_a_pixel: u64,
    orientation: Orientation,
    admit: Admit,
) -> Result<RgbImage, Fault> {
    let size = decoder.dimensions();
    let bytes_a_pixel = if is_quarter_turn(orientation) { bytes_a_pixel.max(7) } else { bytes_a_pixel };
    admit(size, bytes_a_pixel * u64::from(size.0) * u64::from(size.1))?;
    let photo = DynamicImage::from_decoder(decoder).map_err(|error| Fault::of(error, format))?;
    let mut photo = DynamicImage::from(without_alpha(photo));
    photo.apply_orientation(orientation);
    Ok(photo.into_rgb8())
}

/// Drops alpha in place: a copy would cost memory.
fn without_alpha(photo: DynamicImage) -> RgbImage {
    let DynamicImage::ImageRgba8(photo) = photo else { return photo.into_rgb8() };
    let (width, height) = photo.dimensions();
    let mut bytes = photo.into_raw();
    let pixels = bytes.len() / 4;
    for pixel in 0..pixels {
        bytes.copy_within(4 * pixel..4 * pixel + 3, 3 * pixel);
    }
    bytes.truncate(3 * pixels);
    RgbImage::from_raw(width, height, bytes).expect("invariant: three bytes for each pixel")
}
