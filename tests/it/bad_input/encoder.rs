//! Folders that are no encoder, and encoder files that do not match.

use std::fs;

use serde_json::{Value, json};

use super::trained;
use crate::fixture::{Space, copy, repository};

tests! {
    a_folder_without_an_encoder_is_refused,
    weights_in_other_forms_are_refused_by_name,
    files_that_do_not_belong_together_are_refused,
}

/// A description, the changed files (`None`: deleted), and parts of the error.
type Row<'a> = (&'a str, &'a [(&'a str, Option<&'a [u8]>)], &'a [&'a str]);

const HTML: &[u8] = b"<!DOCTYPE html><html><body>Sign in to download</body></html>";
const WEIGHTS: &str = "model.safetensors";

/// Asserts that `dsi index` refuses each damaged copy of the encoder in `good`.
fn refused(space: &Space, table: &[Row]) {
    for (what, files, parts) in table {
        let folder = space.path("clip");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        copy(&space.path("good"), &folder);
        for (file, content) in *files {
            match content {
                Some(bytes) => fs::write(folder.join(file), bytes).unwrap(),
                None => fs::remove_file(folder.join(file)).unwrap(),
            }
        }
        let encoder = format!("encoder.path={}", folder.display());
        trained().dsi("index", &[encoder]).out(space.path("run")).output().about(what).refused(parts);
    }
}

fn space() -> Space {
    let space = Space::new();
    copy(&repository("data/scenes-clip"), &space.path("good"));
    space
}

fn a_folder_without_an_encoder_is_refused() {
    let space = space();
    let weights = fs::read(space.path("good").join(WEIGHTS)).unwrap();
    let cut = &weights[..weights.len() - 9];
    let (tokenizer, preprocessor) = ("tokenizer.json", "preprocessor_config.json");
    refused(
        &space,
        &[
            ("HTML for weights", &[(WEIGHTS, Some(HTML))], &[WEIGHTS, "safetensors file", "fetch"]),
            ("truncated weights", &[(WEIGHTS, Some(cut))], &[WEIGHTS]),
            ("no weights", &[(WEIGHTS, None)], &[WEIGHTS, "cannot read"]),
            ("HTML for the shape", &[("config.json", Some(HTML))], &["config.json"]),
            ("no shape", &[("config.json", None)], &["config.json", "cannot read"]),
            ("HTML for the tokenizer", &[(tokenizer, Some(HTML))], &[tokenizer, "tokenizer"]),
            ("no tokenizer", &[(tokenizer, None)], &["vocab.json"]),
            ("no preprocessing", &[(preprocessor, None)], &[preprocessor, "cannot read"]),
            ("HTML for the preprocessing", &[(preprocessor, Some(HTML))], &[preprocessor]),
        ],
    );
    let nowhere = trained().dsi("index", &["encoder.path=no/such/clip"]).out(space.path("run")).output();
    nowhere.refused(&["`no/such/clip`", "neither a local folder nor a hub id"]);
}

fn weights_in_other_forms_are_refused_by_name() {
    let space = space();
    let (bin, index) = ("pytorch_model.bin", "model.safetensors.index.json");
    let shard = |name: &str| json!({"weight_map": {"logit_scale": name}}).to_string().into_bytes();
    let (outside, missing) = (shard("../secret.safetensors"), shard("model-1.safetensors"));
    // Files that `torch.save` wrote before PyTorch 1.6 begin with this pickled number.
    let old = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";
    let pickled =
        fs::read(repository("tests/fixture/parity/argmax-pickled/encoder/pytorch_model.bin")).unwrap();
    let cut = &pickled[..pickled.len() / 2];
    let gone = (WEIGHTS, None);
    refused(
        &space,
        &[
            ("HTML for a pickle", &[gone, (bin, Some(HTML))], &[bin, "PyTorch file", "fetch"]),
            ("an old pickle", &[gone, (bin, Some(old))], &[bin, "PyTorch file", "1.6"]),
            (
                "half of OpenAI's file",
                &[gone, ("config.json", None), ("ViT-B-32.pt", Some(cut))],
                &["ViT-B-32.pt", "PyTorch file"],
            ),
            (
                "a narrower model than any under OpenAI's name",
                &[gone, ("config.json", None), ("ViT-B-32.pt", Some(&pickled))],
                &["ViT-B-32.pt", "num_attention_heads is 0"],
            ),
            ("half a pickle", &[gone, (bin, Some(cut))], &[bin, "PyTorch file"]),
            ("HTML for an index", &[gone, (index, Some(HTML))], &[index, "index of shards", "fetch"]),
            (
                "a shard outside",
                &[gone, (index, Some(&outside))],
                &[index, "`../secret.safetensors`", "plain"],
            ),
            ("a missing shard", &[gone, (index, Some(&missing))], &["model-1.safetensors", "cannot read"]),
            ("no shards", &[gone, (index, Some(b"{\"weight_map\": {}}"))], &[index, "0 shards"]),
        ],
    );
}

fn files_that_do_not_belong_together_are_refused() {
    let space = space();
    let config: Value = serde_json::from_slice(&fs::read(space.path("good/config.json")).unwrap()).unwrap();
    let with = |section: &str, key: &str, value: Value| {
        let mut config = config.clone();
        let object = if section.is_empty() { &mut config } else { &mut config[section] };
        object[key] = value;
        config.to_string().into_bytes()
    };
    let wider = with("", "projection_dim", json!(96));
    let deeper = with("vision_config", "num_hidden_layers", json!(5));
    let larger = with("text_config", "vocab_size", json!(49408));
    let ended = with("text_config", "eos_token_id", json!(49407));
    let other = with("", "model_type", json!("siglip"));
    let odd = with("text_config", "hidden_act", json!("relu"));
    let words = fs::read(repository("tests/fixture/parity/tokenizer/tokenizer.json")).unwrap();
    let mut words: Value = serde_json::from_slice(&words).unwrap();
    let fewer = words["model"]["merges"].as_array_mut().unwrap().pop().unwrap();
    let fewer: String = fewer.as_array().map_or_else(
        || fewer.as_str().unwrap().replace(' ', ""),
        |pair| pair.iter().map(|part| part.as_str().unwrap()).collect(),
    );
    let id = words["model"]["vocab"].as_object_mut().unwrap().remove(&fewer).unwrap();
    for token in words["model"]["vocab"].as_object_mut().unwrap().values_mut() {
        *token = json!(token.as_u64().unwrap() - u64::from(token.as_u64() > id.as_u64()));
    }
    for token in words["added_tokens"].as_array_mut().unwrap() {
        token["id"] = json!(token["id"].as_u64().unwrap() - 1);
    }
    let words = words.to_string().into_bytes();
    let shape = "config.json";
    refused(
        &space,
        &[
            (
                "weights of a narrower model",
                &[(shape, Some(&wider))],
                &[WEIGHTS, "text_projection.weight", "[64, 128]", "[96, 128] expected"],
            ),
            (
                "weights of a shallower model",
                &[(shape, Some(&deeper))],
                &[WEIGHTS, "vision_model.encoder.layers.4.", "is missing"],
            ),
            (
                "weights of another vocabulary",
                &[(shape, Some(&larger))],
                &["token_embedding.weight", "[640, 128]", "[49408, 128] expected"],
            ),
            (
                "a tokenizer of another vocabulary",
                &[("tokenizer.json", Some(&words))],
                &["639 tokens", "640", "tokenizer"],
            ),
            ("another end token", &[(shape, Some(&ended))], &["49407", "639", "eos_token_id"]),
            ("another kind of model", &[(shape, Some(&other))], &[shape, "`siglip`", "`clip`"]),
            ("another activation", &[(shape, Some(&odd))], &[shape, "`relu`", "`quick_gelu`"]),
        ],
    );
}
