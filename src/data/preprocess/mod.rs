//! Turns a photo into the encoder's square input, as Hugging Face's `CLIPImageProcessor` does.
//!
//! Resizes the shortest edge to `size` (bicubic with antialiasing, as Pillow does), crops the centre, scales
//! to 0..1, subtracts the mean and divides by the standard deviation of each channel. The settings come from
//! `preprocessor_config.json`. The crop is kept as bytes, a quarter of the memory; [`Preprocess::normalize`]
//! turns it into the encoder's numbers when a batch is built.

use std::path::Path;

use image::RgbImage;

use self::resize::{Edge, Filter};
use self::settings::{Exact, Processor, Settings, Shortest, Size};
use super::json;
use crate::error::{Error, Result};
use crate::file_io;

mod resize;
mod settings;

const MAX_BYTES: u64 = 1 << 20;

/// The version of decoding and preprocessing. Raise it when the same photo gives other bytes than before: then
/// cached embeddings no longer count. Version 2 decodes JPEG and resamples exactly as Pillow does.
const VERSION: u32 = 2;

/// Pillow's number and name of each resampling filter.
const FILTERS: [(u8, &str, Filter); 3] =
    [(1, "lanczos", Filter::Lanczos), (2, "bilinear", Filter::Bilinear), (3, "bicubic", Filter::Bicubic)];

/// The conversion of a photo to the encoder's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    settings: Settings,
    crop: u32,
    filter: Filter,
    /// The normalised number of each byte value: (channel, byte).
    levels: Vec<[f32; 256]>,
}

impl Preprocess {
    /// CLIP's settings for a square of `side` pixels (1..=4096).
    ///
    /// # Errors
    /// When `side` is out of that range.
    pub fn clip(side: u32) -> Result<Self> {
        Self::normalizing(side, None, None)
    }

    /// CLIP's settings for a square of `side` pixels, with another mean or standard deviation of the channels
    /// (in 0..1) if given.
    ///
    /// # Errors
    /// When `side` is out of 1..=4096, a mean is not finite or a deviation not above zero.
    pub fn normalizing(side: u32, mean: Option<[f64; 3]>, std: Option<[f64; 3]>) -> Result<Self> {
        let clip = Settings::default();
        Self::new(Settings {
            size: Size::Shortest(Shortest { shortest_edge: side }),
            crop_size: Size::Exact(Exact { height: side, width: side }),
            image_mean: mean.unwrap_or(clip.image_mean),
            image_std: std.unwrap_or(clip.image_std),
            ..clip
        })
        .map_err(Error::input)
    }

    /// Reads a `preprocessor_config.json`.
    ///
    /// # Errors
    /// When it cannot be read, is not JSON of the right types, or has an unsupported setting: the message
    /// names the key, its value and what is allowed.
    pub fn from_json(path: &Path) -> Result<Self> {
        let settings = json::read_file(&file_io::read(path, MAX_BYTES)?, "is not a configuration of photos");
        Self::new(settings.map_err(|what| Error::file(path, what))?).map_err(|what| Error::file(path, what))
    }

    /// Reads the `image_processor` of a `processor_config.json`, which transformers 5 writes in place of a
    /// `preprocessor_config.json`.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), and when it has no such key.
    pub fn from_processor_json(path: &Path) -> Result<Self> {
        let processor = json::read_file(&file_io::read(path, MAX_BYTES)?, "is not a configuration of photos");
        let Processor { image_processor } = processor.map_err(|what| Error::file(path, what))?;
        let settings = image_processor.ok_or_else(|| {
            "has no image_processor, and there is no preprocessor_config.json: save the image processor of the model too"
                .to_owned()
        });
        settings.and_then(Self::new).map_err(|what| Error::file(path, what))
    }

    /// The settings as the text of a `preprocessor_config.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.settings).expect("invariant: plain finite settings")
    }

    /// BLAKE3 (hex) of all settings and the version of this code: equal fingerprints mean equal results.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&VERSION.to_le_bytes()).update(self.to_json().as_bytes());
        hasher.finalize().to_hex().to_string()
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
        // Only the cropped part is computed: a photo of 16,000 × 1 pixels would take gigabytes otherwise.
        let across = self.edge(width, self.resized(width, height, |exact| exact.width));
        let down = self.edge(height, self.resized(height, width, |exact| exact.height));
        resize::resize(photo, self.filter, across, down)
    }

    /// The resized length of an edge of `edge` pixels, when the other edge has `other`.
    fn resized(&self, edge: u32, other: u32, exact: impl Fn(Exact) -> u32) -> u64 {
        match self.settings.size {
            Size::Exact(size) => exact(size).into(),
            Size::Side(side) | Size::Shortest(Shortest { shortest_edge: side }) => {
                // As Python's int(side * long / short); the shorter edge becomes `side`.
                u64::from(side) * u64::from(edge) / u64::from(edge.min(other))
            }
        }
    }

    /// The centre crop of `from` pixels resized to `to`.
    fn edge(&self, from: u32, to: u64) -> Edge {
        Edge { from, to, start: (to - u64::from(self.crop)) / 2, count: self.crop }
    }

    /// Turns the bytes of [`apply`](Self::apply) (row, column, channel) into the encoder's numbers (channel,
    /// row, column); both slices have length `3 · side²`.
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
    fn transformers_5_keeps_the_settings_under_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("processor_config.json");
        let made = Preprocess::clip(64).unwrap();
        let text = format!(
            "\u{feff}{{\"image_processor\": {}, \"processor_class\": \"CLIPProcessor\"}}",
            made.to_json()
        );
        std::fs::write(&path, text).unwrap();
        assert_eq!(Preprocess::from_processor_json(&path).unwrap().fingerprint(), made.fingerprint());
        std::fs::write(&path, r#"{"processor_class": "CLIPProcessor"}"#).unwrap();
        let refused = Preprocess::from_processor_json(&path).unwrap_err().to_string();
        assert!(refused.contains("has no image_processor"), "{refused}");
    }

    #[test]
    fn unsupported_settings_are_refused_by_key() {
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
