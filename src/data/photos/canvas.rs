//! A photo that is filled row by row and turned upright on the way: a turn afterwards would need a second copy.

use image::RgbImage;
use image::metadata::Orientation::{self, *};

use super::fault::Size;

/// Bytes of a pixel.
const PIXEL: usize = 3;

/// The pixels so far; black where no row has been put.
pub(super) struct Canvas {
    photo: RgbImage,
    /// As the file has it, before the turn.
    width: usize,
    height: usize,
    orientation: Orientation,
}

impl Canvas {
    /// For rows of `width` pixels of a photo that is to be turned so.
    pub(super) fn new((width, height): Size, orientation: Orientation) -> Self {
        let photo = if is_quarter_turn(orientation) {
            RgbImage::new(height, width)
        } else {
            RgbImage::new(width, height)
        };
        Self { photo, width: width as usize, height: height as usize, orientation }
    }

    /// Puts row `y` of the file: red, green and blue bytes. A row that is too long, or beyond the last one, is cut.
    pub(super) fn put(&mut self, y: usize, row: &[u8]) {
        if y >= self.height {
            return;
        }
        let (start, step) = self.places(y);
        let pixels = row.chunks_exact(PIXEL).take(self.width);
        let all: &mut [u8] = &mut self.photo;
        if step == 1 {
            let length = pixels.len() * PIXEL;
            all[start * PIXEL..][..length].copy_from_slice(&row[..length]);
            return;
        }
        for (x, pixel) in pixels.enumerate() {
            let place = start.wrapping_add_signed(step * x as isize) * PIXEL;
            all[place..place + PIXEL].copy_from_slice(pixel);
        }
    }

    /// Where the first pixel of row `y` goes, and how far the next one is from it.
    fn places(&self, y: usize) -> (usize, isize) {
        let (width, height) = (self.width, self.height);
        let below = height - 1 - y;
        match self.orientation {
            NoTransforms => (y * width, 1),
            FlipHorizontal => (y * width + width - 1, -1),
            Rotate180 => (below * width + width - 1, -1),
            FlipVertical => (below * width, 1),
            Rotate90 => (below, height as isize),
            Rotate90FlipH => (y, height as isize),
            Rotate270 => ((width - 1) * height + y, -(height as isize)),
            Rotate270FlipH => ((width - 1) * height + below, -(height as isize)),
        }
    }

    /// All bytes, if they lie as in the file: for a decoder that fills them at once.
    pub(super) fn untouched(&mut self) -> Option<&mut [u8]> {
        (self.orientation == NoTransforms).then_some(&mut *self.photo)
    }

    pub(super) fn finish(self) -> RgbImage {
        self.photo
    }
}

/// Whether width and height change places.
pub(super) fn is_quarter_turn(orientation: Orientation) -> bool {
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgb};

    use super::*;

    #[test]
    fn rows_are_turned_as_a_whole_photo_is() {
        let photo = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8, y as u8, 7]));
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number).unwrap();
            let mut expected = DynamicImage::from(photo.clone());
            expected.apply_orientation(orientation);
            let mut canvas = Canvas::new(photo.dimensions(), orientation);
            (0..4).for_each(|y| canvas.put(y, &photo.as_raw()[(15 * y).min(30)..]));
            assert_eq!(canvas.finish(), expected.into_rgb8(), "{number}");
        }
    }
}
