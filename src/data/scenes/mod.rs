//! The built-in corpus: captioned scenes, drawn from a seed, so that everything runs without a download.
//!
//! ```text
//! seed, index ─ scene ─┬─ render (background, shape_outlines, colours) ─→ images/scene-000000.png
//!                      └─ choose_facts → caption_facts → caption_text ──→ corpus.jsonl   (write_folder)
//! ```
//!
//! It is a corpus like CLEVR (Johnson et al. 2017): image files and free captions, read by the same reader as
//! any other corpus. Objects often share attributes and captions omit much, so retrieval is neither trivial
//! nor perfect.

mod background;
mod caption_facts;
mod caption_text;
pub mod choose_facts;
mod colours;
pub mod render;
pub mod scene;
mod shape_outlines;
mod write_folder;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rng;
use scene::Scene;
pub use write_folder::{is_drawn, write};

/// The parameters of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The seed of all scenes and captions.
    pub seed: u64,
    /// Images of the train split: the first scenes.
    pub train: usize,
    /// Images of the val split: the scenes after those.
    pub val: usize,
    /// Images of the test split: the last scenes.
    pub test: usize,
    /// Width and height of each image in pixels.
    pub side: u32,
}

/// The largest number of images: their names have six digits.
const MOST: usize = 1_000_000;
/// Allowed sides in pixels; smaller ones do not show the textures.
const SIDES: std::ops::RangeInclusive<u32> = 16..=1024;

impl Spec {
    /// The number of images.
    fn count(&self) -> usize {
        self.train.saturating_add(self.val).saturating_add(self.test)
    }

    /// The split of a scene.
    fn split(&self, index: usize) -> &'static str {
        match index {
            i if i < self.train => "train",
            i if i < self.train + self.val => "val",
            _ => "test",
        }
    }

    /// Checks the ranges of the parameters.
    fn check(&self) -> Result<()> {
        if !(1..=MOST).contains(&self.count()) {
            let count = self.count();
            return Err(Error::input(format!("scenes: {count} images; 1 to {MOST} are allowed")));
        }
        if !SIDES.contains(&self.side) {
            let (side, least, most) = (self.side, SIDES.start(), SIDES.end());
            return Err(Error::input(format!("scenes: side = {side} pixels, {least} to {most} are allowed")));
        }
        Ok(())
    }
}

/// The scene at `index` of a seed, with its captions; both depend on nothing else.
pub fn sample(seed: u64, index: u64) -> (Scene, [String; 5]) {
    let mut rng = rng::stream(seed, "scene", index);
    let scene = Scene::sample(&mut rng);
    let captions = choose_facts::captions(&scene, &mut rng);
    (scene, captions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_specs_are_refused_with_the_figure() {
        let spec = Spec { seed: 0, train: 8, val: 1, test: 1, side: 64 };
        assert!(spec.check().is_ok());
        for (spec, figure) in [
            (Spec { train: 0, val: 0, test: 0, ..spec }, "0 images"),
            (Spec { train: usize::MAX, ..spec }, "images; 1 to"),
            (Spec { side: 0, ..spec }, "side = 0"),
            (Spec { side: 5_000, ..spec }, "side = 5000"),
        ] {
            let refused = spec.check().unwrap_err().to_string();
            assert!(refused.contains(figure), "{refused}");
        }
    }

    /// A change here changes everyone's corpus: then raise the version in `write_folder`.
    #[test]
    fn the_first_scene_stays_as_it_is() {
        let (scene, captions) = sample(0, 0);
        let expected = [
            "two little plain blue cones on the grass",
            "we see two blue cones on the grass",
            "there is a blue cone behind another blue cone on the grass",
            "two objects: two small blue cones on the grass",
            "a picture of a small plain blue cone on the right, on the grass",
        ];
        assert_eq!(captions, expected);
        let pixels = blake3::hash(&render::render(&scene, 64)).to_hex();
        // On other architectures the rasteriser's vector instructions may round differently.
        if cfg!(target_arch = "x86_64") {
            assert_eq!(pixels.as_str(), "f004491d9c6a3d7a242d2f318b064acd995ba265a3b2f477576a3931ce3c8e3d");
        }
    }
}
