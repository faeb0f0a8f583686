//! From a photo to the encoder's square: the preprocessing of Hugging Face's `CLIPImageProcessor`.
//!
//! Resize the shortest edge to `size` (bicubic with antialiasing, as Pillow does it), crop the centre, scale
//! to 0..1, subtract the mean and divide by the standard deviation of each channel. The settings are those of
//! `preprocessor_config.json`. The crop is kept in bytes, a quarter of the memory; [`Preprocess::normalize`]
//! makes the encoder's numbers from it when a batch is built.

use std::path::Path;

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use self::settings::{Exact, Settings, Shortest, Size};
use crate::error::{Error, Result};
use crate::file;

mod settings;

const MAX_BYTES: u64 = 1 << 20;

/// Pillow's number for a resampling filter, its name, and the same filter here.
const FILTERS: [(u8, &str, FilterType); 3] = [
    (1, "lanczos", FilterType::Lanczos3),
    (2, "bilinear", FilterType::Bilinear),
    // Pillow's bicubic has a = -0.5, which is Catmull and Rom's spline.
    (3, "bicubic", FilterType::CatmullRom),
];

/// How a photo becomes the encoder's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    settings: Settings,
    crop: u32,
    filter: FilterType,
    /// Per channel, the number that each byte stands for: (channel, byte).
    levels: Vec<[f32; 256]>,
}

impl Preprocess {
    /// CLIP's own settings for a square of `side` pixels (1..=4096).
    ///
    /// # Errors
    /// When `side` is out of that range.
    pub fn clip(side: u32) -> Result<Self> {
        let size = Size::Shortest(Shortest { shortest_edge: side });
        let crop_size = Size::Exact(Exact { height: side, width: side });
        Self::new(Settings { size, crop_size, ..Settings::default() }).map_err(Error::input)
    }

    /// Reads a `preprocessor_config.json`.
    ///
    /// # Errors
    /// When it cannot be read, is not JSON of the right types, or asks for something that is not done here:
    /// the message names the key, its value and what is allowed.
    pub fn from_json(path: &Path) -> Result<Self> {
        let text = file::read_text(path, MAX_BYTES)?;
        let settings = serde_json::from_str(&text).map_err(|e| Error::file(path, e.to_string()))?;
        Self::new(settings).map_err(|what| Error::file(path, what))
    }

    /// The settings as the text of a `preprocessor_config.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.settings).expect("invariant: plain finite settings")
    }

    /// Blake3 (hex) of all settings: two preprocessings with equal fingerprints give equal results.
    pub fn fingerprint(&self) -> String {
        blake3::hash(self.to_json().as_bytes()).to_hex().to_string()
    }

    /// Side of the square in pixels.
    pub fn side(&self) -> usize {
        self.crop as usize
    }

    fn new(settings: Settings) -> Result<Self, String> {
        let filter = FILTERS.iter().find(|(number, ..)| *number == settings.resample).ok_or_else(|| {
            let allowed = FILTERS.map(|(number, name, _)| format!("{number} ({name})")).join(", ");
            format!("resample is {}; allowed are {allowed}", settings.resample)
        })?;
        let crop = settings.crop_side()?;
        let [mean, std] = if settings.do_normalize {
            [settings.image_mean, settings.image_std]
        } else {
            [[0.0; 3], [1.0; 3]]
        }
        .map(|channels| channels.map(|x: f64| x as f32));
        if !mean.iter().all(|x| x.is_finite()) || !std.iter().all(|x| x.is_normal() && *x > 0.0) {
            return Err(format!("image_mean {mean:?} must be finite and image_std {std:?} above zero"));
        }
        let level = |(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std);
        let levels = mean.into_iter().zip(std).map(level).collect();
        Ok(Self { crop, filter: filter.2, levels, settings })
    }

    /// Resizes and crops a photo: `side × side` pixels of red, green and blue bytes, row by row.
    pub fn apply(&self, photo: &RgbImage) -> Vec<u8> {
        let [width, height] = [photo.width(), photo.height()];
        if width == 0 || height == 0 {
            return vec![0; 3 * self.side() * self.side()];
        }
        // Only what the crop shows is resized: a photo of 16,000 × 1 pixels would be gigabytes otherwise.
        let (left, shown_width) = self.shown(width, self.resized(width, height, |exact| exact.width));
        let (top, shown_height) = self.shown(height, self.resized(height, width, |exact| exact.height));
        // Rows first and columns second, with bytes in between, because Pillow does so: in one call the
        // resizer takes the other order, and overshoots that are clipped in between differ by up to 11
        // levels.
        let columns = self.resample(photo, [self.crop, height], [left, 0.0, shown_width, height.into()]);
        let square = self.resample(&columns, [self.crop; 2], [0.0, top, self.crop.into(), shown_height]);
        square.into_raw()
    }

    /// The part `[left, top, width, height]` of a photo, resized to `[width, height]`.
    fn resample(&self, photo: &RgbImage, to: [u32; 2], part: [f64; 4]) -> RgbImage {
        let mut resized = RgbImage::new(to[0], to[1]);
        let filter = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(self.filter));
        let done =
            Resizer::new().resize(photo, &mut resized, &filter.crop(part[0], part[1], part[2], part[3]));
        done.expect("invariant: both images are RGB and the part lies inside the photo");
        resized
    }

    /// Length in pixels of the resized photo along an edge of `edge` pixels, the other being `other`.
    fn resized(&self, edge: u32, other: u32, exact: impl Fn(Exact) -> u32) -> u64 {
        match self.settings.size {
            Size::Exact(size) => exact(size).into(),
            Size::Side(side) | Size::Shortest(Shortest { shortest_edge: side }) => {
                // Python's int(side * long / short); the shorter edge becomes `side`.
                u64::from(side) * u64::from(edge) / u64::from(edge.min(other))
            }
        }
    }

    /// Start and length, in source pixels, of what the centre crop shows of `edge` pixels resized to
    /// `resized`.
    fn shown(&self, edge: u32, resized: u64) -> (f64, f64) {
        let pixels = |n: u64| n as f64 * f64::from(edge) / resized as f64;
        (pixels((resized - u64::from(self.crop)) / 2), pixels(self.crop.into()))
    }

    /// Turns the bytes of [`apply`](Self::apply) (row, column, channel) into the encoder's numbers
    /// (channel, row, column); both hold `3 · side²`.
    pub fn normalize(&self, pixels: &[u8], out: &mut [f32]) {
        let area = self.side() * self.side();
        assert!(
            pixels.len() == 3 * area && out.len() == 3 * area,
            "invariant: squares of {} pixels",
            self.crop
        );
        for ((channel, plane), levels) in out.chunks_exact_mut(area).enumerate().zip(&self.levels) {
            for (number, pixel) in plane.iter_mut().zip(pixels.chunks_exact(3)) {
                *number = levels[usize::from(pixel[channel])];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn parse(text: &str) -> Result<Preprocess> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preprocessor_config.json");
        std::fs::write(&path, text).unwrap();
        Preprocess::from_json(&path)
    }

    #[test]
    fn agrees_with_pillow() {
        // a = (np.mgrid[0:4, 0:6].sum(0)[..., None] * [1, 49, 529] % 256).astype('uint8') r =
        // np.array(Image.fromarray(a).resize((int(side * 6 / 4), side), resample=3)); centre crop of side²
        let photo = RgbImage::from_fn(6, 4, |x, y| Rgb([1, 49, 529].map(|k| ((x + y) * k % 256) as u8)));
        let two = Preprocess::clip(2).unwrap().apply(&photo);
        assert_eq!(two, [2, 56, 19, 4, 158, 53, 3, 153, 50, 5, 174, 84]);
        let five = Preprocess::clip(5).unwrap().apply(&photo);
        let blue: Vec<_> = five.chunks(3).map(|pixel| pixel[2]).take(10).collect();
        assert_eq!(blue, [12, 27, 42, 56, 71, 24, 39, 54, 68, 83]);
    }

    #[test]
    fn numbers_are_normalized_by_channel_and_laid_out_in_planes() {
        let text = r#"{"size": 1, "crop_size": 1, "image_mean": [0, 0.2, 0.5], "image_std": [1, 0.4, 0.5]}"#;
        let mut out = [9.0; 3];
        parse(text).unwrap().normalize(&[255, 51, 0], &mut out);
        assert_eq!(out, [1.0, 0.0, -1.0]);
    }

    #[test]
    fn settings_survive_the_round_trip() {
        let made = Preprocess::clip(64).unwrap();
        let read = parse(&made.to_json()).unwrap();
        assert_eq!((read.fingerprint(), read.side()), (made.fingerprint(), 64));
        assert_ne!(read.fingerprint(), Preprocess::clip(96).unwrap().fingerprint());
        let old =
            parse(r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224}"#);
        assert_eq!(old.unwrap().side(), 224);
    }

    #[test]
    fn what_is_not_done_is_refused_by_key() {
        let mistake = |text| parse(text).unwrap_err().to_string();
        assert!(mistake(r#"{"resample": 0}"#).contains("3 (bicubic)"));
        assert!(mistake(r#"{"do_resize": false}"#).contains("do_resize"));
        assert!(mistake(r#"{"rescale_factor": 1}"#).contains("1/255"));
        assert!(mistake(r#"{"do_center_crop": false}"#).contains("do_center_crop"));
        assert!(mistake(r#"{"crop_size": {"height": 8, "width": 9}}"#).contains("square"));
        assert!(mistake(r#"{"crop_size": 225}"#).contains("225"));
        assert!(mistake(r#"{"size": 100000, "crop_size": 100000}"#).contains("4096"));
        assert!(mistake(r#"{"crop_size": 0}"#).contains("crop_size 0"));
        assert!(mistake(r#"{"image_std": [1, 0, 1]}"#).contains("image_std"));
        assert!(mistake(r#"{"size": {"longest_edge": 9}}"#).contains("shortest_edge"));
    }

    #[test]
    fn a_photo_of_extreme_shape_costs_little() {
        for (width, height) in [(16_384, 1), (1, 16_384), (1, 1)] {
            let photo = RgbImage::from_pixel(width, height, Rgb([9, 99, 199]));
            assert!(Preprocess::clip(32).unwrap().apply(&photo).chunks(3).all(|pixel| pixel == [9, 99, 199]));
        }
    }
}
