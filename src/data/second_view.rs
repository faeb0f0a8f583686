//! Second views of photos: cropped, mirrored, recoloured and recompressed, like a copy of the photo on the
//! web.
//!
//! IRGen (2023) queries with such views: the photo itself is in the gallery, and the view must find it.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage, imageops};
use rand::Rng as _;

use crate::rng::Rng;

/// A crop keeps at least this share of each side.
const LEAST_SIDE: f32 = 0.8;
/// Brightness, contrast and saturation are multiplied by at most 1 ± this.
const MOST_COLOUR: f32 = 0.2;
/// JPEG qualities.
const QUALITY: std::ops::RangeInclusive<u8> = 40..=90;

/// A random view of a photo.
pub fn second_view(photo: &RgbImage, rng: &mut Rng) -> RgbImage {
    let (x, width) = crop(photo.width(), rng);
    let (y, height) = crop(photo.height(), rng);
    let mut view = imageops::crop_imm(photo, x, y, width, height).to_image();
    if rng.random_bool(0.5) {
        imageops::flip_horizontal_in_place(&mut view);
    }
    let [brightness, contrast, saturation] =
        [(); 3].map(|()| rng.random_range(1.0 - MOST_COLOUR..1.0 + MOST_COLOUR));
    recolour(&mut view, brightness, contrast, saturation);
    compressed(view, rng.random_range(QUALITY))
}

/// The start and the length of a random crop of a side.
fn crop(length: u32, rng: &mut Rng) -> (u32, u32) {
    let kept = (length as f32 * rng.random_range(LEAST_SIDE..1.0)).ceil() as u32;
    (rng.random_range(0..=length - kept), kept)
}

/// Scales brightness, contrast (around mid-grey) and saturation (around the pixel's grey).
fn recolour(photo: &mut RgbImage, brightness: f32, contrast: f32, saturation: f32) {
    for pixel in photo.pixels_mut() {
        let [r, g, b] = pixel.0.map(f32::from);
        let grey = 0.299 * r + 0.587 * g + 0.114 * b; // ITU-R 601
        pixel.0 = [r, g, b].map(|x| {
            let lit = (grey + saturation * (x - grey)) * brightness;
            (127.5 + contrast * (lit - 127.5)).round().clamp(0.0, 255.0) as u8
        });
    }
}

/// The photo after JPEG compression at this quality; unchanged if it cannot be encoded.
fn compressed(photo: RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Cursor::new(Vec::new());
    let encoded = JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&photo);
    let again =
        encoded.and_then(|()| image::load_from_memory_with_format(bytes.get_ref(), ImageFormat::Jpeg));
    again.map_or(photo, |again| again.into_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn a_view_shows_most_of_the_photo_and_is_the_same_for_one_seed() {
        let photo = RgbImage::from_fn(64, 48, |x, y| image::Rgb([4 * x as u8, 5 * y as u8, 128]));
        let view = |index| second_view(&photo, &mut rng::stream(3, "view", index));
        assert_eq!(view(0), view(0));
        assert_ne!(view(0), view(1));
        for view in (0..20).map(view) {
            assert!(view.width() >= 51 && view.height() >= 38, "{:?}", view.dimensions());
        }
        assert_eq!(second_view(&RgbImage::new(1, 1), &mut rng::stream(0, "view", 0)).dimensions(), (1, 1));
    }
}
