//! Encoders that are none.

use std::fs;

use crate::fixture::{Space, copy, repository};
use crate::trained;

#[test]
fn an_encoder_that_is_none_is_refused() {
    let space = Space::new();
    copy(&repository("data/scenes-clip"), &space.path("good"));
    let html = b"<!DOCTYPE html><html><body>Sign in to download</body></html>";
    let with = |file: &str, content: Option<&[u8]>| {
        let folder = space.path("clip");
        copy(&space.path("good"), &folder);
        match content {
            Some(bytes) => fs::write(folder.join(file), bytes).unwrap(),
            None => fs::remove_file(folder.join(file)).unwrap(),
        }
        trained().dsi("index", &[format!("encoder.path={}", folder.display())]).out(space.path("run"))
    };
    let weights = fs::read(space.path("good/model.safetensors")).unwrap();
    for (what, file, content, parts) in [
        (
            "HTML for weights",
            "model.safetensors",
            Some(&html[..]),
            &["model.safetensors", "safetensors file"][..],
        ),
        (
            "truncated weights",
            "model.safetensors",
            Some(&weights[..weights.len() - 9]),
            &["model.safetensors"],
        ),
        ("no weights", "model.safetensors", None, &["model.safetensors", "cannot read"]),
        ("HTML for the shape", "config.json", Some(html), &["config.json"]),
        ("no shape", "config.json", None, &["config.json", "cannot read"]),
        ("HTML for the tokenizer", "tokenizer.json", Some(html), &["tokenizer.json", "tokenizer"]),
        ("no tokenizer", "tokenizer.json", None, &["vocab.json"]),
        ("no preprocessing", "preprocessor_config.json", None, &["preprocessor_config.json", "cannot read"]),
        ("HTML for the preprocessing", "preprocessor_config.json", Some(html), &["preprocessor_config.json"]),
    ] {
        println!("{what}");
        with(file, content).output().refused(parts);
    }
    let nowhere = trained().dsi("index", &["encoder.path=no/such/clip"]).out(space.path("run")).output();
    nowhere.refused(&["`no/such/clip`", "neither a local folder nor a hub id"]);
}
