//! The keys of Hugging Face's `preprocessor_config.json`, and the values that are supported.

use serde::{Deserialize, Serialize};

const MAX_SIDE: u32 = 4096;

/// Side lengths in pixels, in Hugging Face's three notations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected n, {\"shortest_edge\": n} or {\"height\": n, \"width\": n}")]
pub(super) enum Size {
    Side(u32),
    Shortest(Shortest),
    Exact(Exact),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shortest {
    pub(super) shortest_edge: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exact {
    pub(super) height: u32,
    pub(super) width: u32,
}

/// `processor_config.json` of transformers 5; other keys are not read.
#[derive(Debug, Deserialize)]
pub(super) struct Processor {
    pub(super) image_processor: Option<Settings>,
}

/// `preprocessor_config.json`; a missing key has CLIP's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) image_processor_type: String,
    pub(super) do_convert_rgb: bool,
    pub(super) do_resize: bool,
    pub(super) size: Size,
    pub(super) resample: u8,
    pub(super) do_center_crop: bool,
    pub(super) crop_size: Size,
    pub(super) do_rescale: bool,
    pub(super) rescale_factor: f64,
    pub(super) do_normalize: bool,
    pub(super) image_mean: [f64; 3],
    pub(super) image_std: [f64; 3],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image_processor_type: "CLIPImageProcessor".into(),
            do_convert_rgb: true,
            do_resize: true,
            size: Size::Shortest(Shortest { shortest_edge: 224 }),
            resample: 3,
            do_center_crop: true,
            crop_size: Size::Exact(Exact { height: 224, width: 224 }),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.26130258, 0.27577711],
        }
    }
}

impl Settings {
    /// The side of the final square; an error names the first unsupported setting.
    pub(super) fn crop_side(&self) -> Result<u32, String> {
        let needed = [
            ("do_convert_rgb", self.do_convert_rgb),
            ("do_resize", self.do_resize),
            ("do_rescale", self.do_rescale),
        ];
        if let Some((key, _)) = needed.iter().find(|(_, value)| !value) {
            return Err(format!("{key} is false; only true is allowed"));
        }
        if (self.rescale_factor * 255.0 - 1.0).abs() > 1e-6 {
            return Err(format!("rescale_factor is {}; only 1/255 is allowed", self.rescale_factor));
        }
        let resized = match self.size {
            Size::Side(side) | Size::Shortest(Shortest { shortest_edge: side }) => [side, side],
            Size::Exact(Exact { height, width }) => [height, width],
        };
        let is_exact = matches!(self.size, Size::Exact(_));
        let crop = match self.crop_size {
            _ if !self.do_center_crop && is_exact => resized,
            _ if !self.do_center_crop => {
                return Err("do_center_crop is false; size needs height and width".into());
            }
            Size::Side(side) => [side, side],
            Size::Exact(Exact { height, width }) => [height, width],
            Size::Shortest(_) => {
                return Err("crop_size has a shortest_edge; it needs height and width".into());
            }
        };
        match crop {
            [height, width] if height != width => {
                Err(format!("crop_size is {height} × {width}; it must be a square"))
            }
            [side, _] if side == 0 || resized.into_iter().any(|edge| edge < side || edge > MAX_SIDE) => {
                Err(format!(
                    "size {resized:?} and crop_size {side}: 1 ≤ crop_size ≤ size ≤ {MAX_SIDE} is allowed"
                ))
            }
            [side, _] => Ok(side),
        }
    }
}
