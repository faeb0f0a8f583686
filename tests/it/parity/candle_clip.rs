//! This project's CLIP against that of candle-transformers, on the same random weights.
//!
//! (Forward pass only: most tensors of candle-transformers' CLIP get no gradient.)

use std::collections::HashMap;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip as theirs;
use dsi::encoder::clip::config::{TextConfig, VisionConfig};
use dsi::encoder::clip::{Clip, ClipConfig, TokenBatch};
use dsi::nn::params::Builder;

tests! {
    candle_transformers_gives_the_same_embeddings,
}

const WIDTH: usize = 32;

fn shape() -> ClipConfig {
    ClipConfig {
        projection_dim: 24,
        text_config: TextConfig {
            vocab_size: 50,
            hidden_size: WIDTH,
            intermediate_size: 64,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            max_position_embeddings: 16,
            ..Default::default()
        },
        vision_config: VisionConfig {
            hidden_size: WIDTH,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            image_size: 48,
            patch_size: 16,
            ..Default::default()
        },
        ..Default::default()
    }
}

fn their_shape() -> theirs::ClipConfig {
    theirs::ClipConfig {
        text_config: theirs::text_model::ClipTextConfig {
            vocab_size: 50,
            embed_dim: WIDTH,
            activation: theirs::text_model::Activation::QuickGelu,
            intermediate_size: 64,
            max_position_embeddings: 16,
            pad_with: None,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            projection_dim: 24,
        },
        vision_config: theirs::vision_model::ClipVisionConfig {
            embed_dim: WIDTH,
            activation: theirs::text_model::Activation::QuickGelu,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            projection_dim: 24,
            num_channels: 3,
            image_size: 48,
            patch_size: 16,
        },
        logit_scale_init_value: 2.6592,
        image_size: 48,
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

fn candle_transformers_gives_the_same_embeddings() {
    let device = Device::Cpu;
    let builder = Builder::fresh(7, &device);
    let ours = Clip::new(&builder.root(), &shape()).unwrap();
    let params = builder.finish("x".as_ref()).unwrap();
    let weights: HashMap<String, Tensor> = params.iter().map(|(n, t)| (n.to_owned(), t.detach())).collect();
    let stock =
        theirs::ClipModel::new(VarBuilder::from_tensors(weights, DType::F32, &device), &their_shape())
            .unwrap();

    let pixels: Vec<f32> = (0..2 * 3 * 48 * 48).map(|i| ((i * 7919 % 1000) as f32) / 500.0 - 1.0).collect();
    let pixels = Tensor::from_vec(pixels, (2, 3, 48, 48), &device).unwrap();
    let images = (ours.embed_images(&pixels).unwrap(), stock.get_image_features(&pixels).unwrap());
    assert!(largest_difference(&images.0, &images.1) < 2e-5);

    // The end token, 49, is the highest id: candle-transformers pools at the largest id. This project embeds
    // captions of unequal length in one batch, candle-transformers one by one.
    let captions: [&[u32]; 3] = [&[48, 3, 4, 5, 49], &[48, 49], &[48, 9, 8, 7, 6, 5, 4, 49]];
    let texts = ours.embed_text(&TokenBatch::new(captions.into_iter())).unwrap();
    for (row, ids) in captions.iter().enumerate() {
        let alone =
            stock.get_text_features(&Tensor::new(*ids, &device).unwrap().unsqueeze(0).unwrap()).unwrap();
        assert!(largest_difference(&texts.i(row).unwrap(), &alone.i(0).unwrap()) < 2e-5, "caption {row}");
    }
}
