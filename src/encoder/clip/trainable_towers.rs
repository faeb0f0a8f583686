//! Which parameters of a CLIP are trained, and how near to the output each lies.

use super::ClipConfig;
use crate::config::TrainableLayers;
use crate::error::{Error, Result};

/// The trained part of each tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainableTowers {
    /// Of the text tower.
    pub text: TrainableLayers,
    /// Of the image tower.
    pub image: TrainableLayers,
}

/// A tower, by the names of its parameters.
struct Tower {
    body: &'static str,
    projection: &'static str,
    /// The key that says how much of it is trained.
    key: &'static str,
}

const TEXT: Tower = Tower { body: "text_model.", projection: "text_projection.", key: "tune.text" };
const IMAGE: Tower = Tower { body: "vision_model.", projection: "visual_projection.", key: "tune.image" };

impl TrainableTowers {
    /// No parameter.
    pub const NOTHING: Self = Self { text: TrainableLayers::None, image: TrainableLayers::None };
    /// Every parameter.
    pub const EVERYTHING: Self = Self { text: TrainableLayers::All, image: TrainableLayers::All };

    /// Whether the towers have as many blocks as are to be trained.
    ///
    /// # Errors
    /// When one has fewer: the key is named.
    pub fn check(self, shape: &ClipConfig) -> Result<()> {
        for (tower, depth) in [(TEXT, self.text), (IMAGE, self.image)] {
            let blocks = tower.blocks(shape);
            if let TrainableLayers::Last(wanted) = depth
                && wanted > blocks
            {
                return Err(Error::input(format!(
                    "{} = {wanted}: that tower of the encoder has {blocks} blocks; set at most that, or \"all\"",
                    tower.key
                )));
            }
        }
        Ok(())
    }

    /// Whether the parameter of this name is trained. The temperature is wherever a tower is.
    pub fn includes(self, name: &str, shape: &ClipConfig) -> bool {
        let (depth, tower) = match side(name) {
            Some(TowerSide::Text) => (self.text, TEXT),
            Some(TowerSide::Image) => (self.image, IMAGE),
            None => return self != Self::NOTHING,
        };
        match depth {
            TrainableLayers::None => false,
            TrainableLayers::Last(blocks) => tower.blocks_above(name, shape) < blocks,
            TrainableLayers::All => true,
        }
    }
}

/// Whether the parameter of this name is drawn to zero: norms, biases, embeddings and the temperature are not.
pub fn decays(name: &str) -> bool {
    name.ends_with(".weight") && !name.contains("norm") && !name.contains("embedding")
}

/// The tower that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TowerSide {
    /// Captions'.
    Text,
    /// Photos'.
    Image,
}

/// The tower of the parameter of this name; none for the temperature.
pub fn side(name: &str) -> Option<TowerSide> {
    let of = |tower: Tower| name.starts_with(tower.body) || name.starts_with(tower.projection);
    if of(TEXT) { Some(TowerSide::Text) } else { of(IMAGE).then_some(TowerSide::Image) }
}

/// The part of a CLIP that a parameter belongs to, for logs.
pub fn part(name: &str) -> &'static str {
    match side(name) {
        Some(TowerSide::Text) => "text",
        Some(TowerSide::Image) => "image",
        None => "temperature",
    }
}

/// Blocks of its tower between a parameter and the output: none for the last block and what follows it, all of them for
/// the embeddings.
pub fn blocks_above(name: &str, shape: &ClipConfig) -> usize {
    match side(name) {
        Some(TowerSide::Text) => TEXT.blocks_above(name, shape),
        Some(TowerSide::Image) => IMAGE.blocks_above(name, shape),
        None => 0,
    }
}

impl Tower {
    fn blocks(&self, shape: &ClipConfig) -> usize {
        if self.body == TEXT.body {
            shape.text_config.num_hidden_layers
        } else {
            shape.vision_config.num_hidden_layers
        }
    }

    fn blocks_above(&self, name: &str, shape: &ClipConfig) -> usize {
        let blocks = self.blocks(shape);
        let Some(inside) = name.strip_prefix(self.body) else { return 0 };
        if let Some(block) = inside.strip_prefix("encoder.layers.") {
            let number = block.split('.').next().and_then(|number| number.parse::<usize>().ok());
            return blocks.saturating_sub(1 + number.unwrap_or(0));
        }
        let before = ["embeddings.", "pre_layrnorm."].iter().any(|part| inside.starts_with(part));
        if before { blocks } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_blocks_go_with_what_follows_them() {
        let shape = ClipConfig::default(); // 12 blocks a tower
        let cases = [
            ("text_projection.weight", 0),
            ("text_model.final_layer_norm.bias", 0),
            ("text_model.encoder.layers.11.mlp.fc1.weight", 0),
            ("text_model.encoder.layers.9.mlp.fc1.weight", 2),
            ("vision_model.post_layernorm.bias", 0),
            ("vision_model.encoder.layers.0.layer_norm1.bias", 11),
            ("vision_model.pre_layrnorm.weight", 12),
            ("vision_model.embeddings.class_embedding", 12),
            ("logit_scale", 0),
        ];
        for (name, above) in cases {
            assert_eq!(blocks_above(name, &shape), above, "{name}");
        }
        let trained = TrainableTowers { text: TrainableLayers::Last(2), image: TrainableLayers::None };
        let included: Vec<&str> =
            cases.iter().map(|(name, _)| *name).filter(|name| trained.includes(name, &shape)).collect();
        let text = ["text_projection.weight", "text_model.final_layer_norm.bias"];
        assert_eq!(
            included,
            [&text[..], &["text_model.encoder.layers.11.mlp.fc1.weight", "logit_scale"]].concat()
        );
        assert!(cases.iter().all(|(name, _)| TrainableTowers::EVERYTHING.includes(name, &shape)));
        assert!(!cases.iter().any(|(name, _)| TrainableTowers::NOTHING.includes(name, &shape)));
        assert!(TrainableTowers { image: TrainableLayers::Last(12), ..trained }.check(&shape).is_ok());
        let refused = TrainableTowers { image: TrainableLayers::Last(13), ..trained }
            .check(&shape)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("tune.image = 13") && refused.contains("12 blocks"), "{refused}");
    }
}
