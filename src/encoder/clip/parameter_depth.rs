//! Which tower a parameter of a CLIP belongs to, how many blocks lie between it and the output, and whether
//! it is trained.

use super::ClipConfig;
use crate::encoder::trainable_dual_encoder::{Placement, TowerSide, TrainableTowers};
use crate::encoder::trainable_layers::TrainableLayers;
use crate::error::{Error, Result};

/// A tower, by the names of its parameters.
struct Tower {
    body: &'static str,
    projection: &'static str,
    /// The configuration key that says how much of it is trained.
    key: &'static str,
}

const TEXT: Tower = Tower { body: "text_model.", projection: "text_projection.", key: "tune.text" };
const IMAGE: Tower = Tower { body: "vision_model.", projection: "visual_projection.", key: "tune.image" };

/// Checks that both towers have as many blocks as are to be trained.
///
/// # Errors
/// When one has fewer: its key is named.
pub fn check_depth(trained: TrainableTowers, shape: &ClipConfig) -> Result<()> {
    for (tower, layers) in [(TEXT, trained.text), (IMAGE, trained.image)] {
        let blocks = tower.blocks(shape);
        if let TrainableLayers::Last(wanted) = layers
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

/// Whether the parameter of this name is trained. The temperature is trained when any layer of a tower is.
pub fn is_trained(trained: TrainableTowers, name: &str, shape: &ClipConfig) -> bool {
    let layers = match tower(name) {
        Some(TowerSide::Text) => trained.text,
        Some(TowerSide::Image) => trained.image,
        None => return trained != TrainableTowers::NOTHING,
    };
    match layers {
        TrainableLayers::None => false,
        TrainableLayers::Last(blocks) => blocks_above(name, shape) < blocks,
        TrainableLayers::All => true,
    }
}

/// Where the parameter of this name lies.
pub fn placement(name: &str, shape: &ClipConfig) -> Placement {
    Placement { tower: tower(name), blocks_above: blocks_above(name, shape), decays: decays(name) }
}

/// The tower of the parameter of this name; `None` for the temperature.
pub fn tower(name: &str) -> Option<TowerSide> {
    if TEXT.has(name) {
        return Some(TowerSide::Text);
    }
    IMAGE.has(name).then_some(TowerSide::Image)
}

/// Whether weight decay applies to the parameter of this name: not to norms, biases, embeddings and the
/// temperature.
fn decays(name: &str) -> bool {
    name.ends_with(".weight") && !name.contains("norm") && !name.contains("embedding")
}

/// Blocks of its tower between a parameter and the output.
fn blocks_above(name: &str, shape: &ClipConfig) -> usize {
    match tower(name) {
        Some(TowerSide::Text) => TEXT.blocks_above(name, shape),
        Some(TowerSide::Image) => IMAGE.blocks_above(name, shape),
        None => 0,
    }
}

impl Tower {
    fn has(&self, parameter: &str) -> bool {
        parameter.starts_with(self.body) || parameter.starts_with(self.projection)
    }

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
    fn the_last_blocks_are_trained_with_the_layers_after_them() {
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
            assert_eq!(placement(name, &shape).blocks_above, above, "{name}");
        }
        let trained = TrainableTowers { text: TrainableLayers::Last(2), image: TrainableLayers::None };
        let included: Vec<&str> =
            cases.iter().map(|(name, _)| *name).filter(|name| is_trained(trained, name, &shape)).collect();
        let text = ["text_projection.weight", "text_model.final_layer_norm.bias"];
        assert_eq!(
            included,
            [&text[..], &["text_model.encoder.layers.11.mlp.fc1.weight", "logit_scale"]].concat()
        );
        assert!(cases.iter().all(|(name, _)| is_trained(TrainableTowers::EVERYTHING, name, &shape)));
        assert!(!cases.iter().any(|(name, _)| is_trained(TrainableTowers::NOTHING, name, &shape)));
        let check_image =
            |blocks| check_depth(TrainableTowers { image: TrainableLayers::Last(blocks), ..trained }, &shape);
        assert!(check_image(12).is_ok());
        let refused = check_image(13).unwrap_err().to_string();
        assert!(refused.contains("tune.image = 13") && refused.contains("12 blocks"), "{refused}");
    }
}
