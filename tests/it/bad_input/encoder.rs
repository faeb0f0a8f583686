//! Folders that are no encoder, and encoder files that do not match.

use std::fs;

use serde_json::{Value, json};

use super::trained;
use crate::fixture::{SMALL, Space, copy, repository};

tests! {
    a_folder_without_an_encoder_is_refused,
    weights_in_other_forms_are_refused_by_name,
    files_that_do_not_belong_together_are_refused,
    files_as_other_tools_write_them_are_read,
    captions_and_queries_beyond_the_context_are_counted,
}

/// A description, the changed files (`None`: deleted), and parts of the error.
type Row<'a> = (&'a str, &'a [(&'a str, Option<&'a [u8]>)], &'a [&'a str]);

const HTML: &[u8] = b"<!DOCTYPE html><html><body>Sign in to download</body></html>";
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
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
            ("HTML for weights", &[(WEIGHTS, Some(HTML))], &[WEIGHTS, "web page", "download"]),
            ("an LFS pointer for weights", &[(WEIGHTS, Some(LFS))], &[WEIGHTS, "git lfs pull"]),
            (
                "PyTorch weights for safetensors",
                &[(WEIGHTS, Some(b"PK\x03\x04"))],
                &[WEIGHTS, "pytorch_model.bin"],
            ),
            ("truncated weights", &[(WEIGHTS, Some(cut))], &[WEIGHTS]),
            ("no weights", &[(WEIGHTS, None)], &[WEIGHTS, "cannot read"]),
            ("HTML for the shape", &[("config.json", Some(HTML))], &["config.json", "web page"]),
            ("an LFS pointer for the shape", &[("config.json", Some(LFS))], &["config.json", "git lfs pull"]),
            ("no shape", &[("config.json", None)], &["config.json", "cannot read"]),
            ("HTML for the tokenizer", &[(tokenizer, Some(HTML))], &[tokenizer, "web page"]),
            ("an LFS pointer for the tokenizer", &[(tokenizer, Some(LFS))], &[tokenizer, "git lfs pull"]),
            ("no tokenizer", &[(tokenizer, None)], &["vocab.json"]),
            ("no preprocessing", &[(preprocessor, None)], &[preprocessor, "cannot read"]),
            ("HTML for the preprocessing", &[(preprocessor, Some(HTML))], &[preprocessor, "web page"]),
            (
                "UTF-16 for the preprocessing",
                &[(preprocessor, Some(b"\xff\xfe{\0"))],
                &[preprocessor, "UTF-16"],
            ),
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
            ("HTML for a pickle", &[gone, (bin, Some(HTML))], &[bin, "web page", "download"]),
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
            ("HTML for an index", &[gone, (index, Some(HTML))], &[index, "web page", "download"]),
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

/// The preprocessing as transformers 5 writes it, and byte-order marks.
fn files_as_other_tools_write_them_are_read() {
    let space = space();
    let read = |name: &str| fs::read(space.path("good").join(name)).unwrap();
    let marked = |name: &str| [b"\xef\xbb\xbf", read(name).as_slice()].concat();
    let preprocessor: Value = serde_json::from_slice(&read("preprocessor_config.json")).unwrap();
    let processor = json!({"image_processor": preprocessor, "processor_class": "CLIPProcessor"}).to_string();
    let config = marked("config.json");
    let tokenizer = marked("tokenizer.json");
    for (name, content) in [
        ("processor_config.json", processor.as_bytes()),
        ("config.json", &config),
        ("tokenizer.json", &tokenizer),
    ] {
        fs::write(space.path("good").join(name), content).unwrap();
    }
    fs::remove_file(space.path("good/preprocessor_config.json")).unwrap();
    let encoder = format!("encoder.path={}", space.path("good").display());
    trained().dsi("index", std::slice::from_ref(&encoder)).out(space.path("run")).output().succeeded();
    fs::write(space.path("good/processor_config.json"), "{\"processor_class\": \"CLIPProcessor\"}").unwrap();
    let refused = trained().dsi("index", &[encoder]).out(space.path("other")).output();
    refused.refused(&["processor_config.json", "has no image_processor"]);
}

fn captions_and_queries_beyond_the_context_are_counted() {
    let space = Space::new();
    copy(&trained().path("corpus/images"), &space.path("corpus/images"));
    let lines = fs::read_to_string(trained().path("corpus/corpus.jsonl")).unwrap();
    let long = format!("\"captions\":[\"{}\",", "red ball ".repeat(50));
    let lines: Vec<String> =
        lines.lines().take(3).map(|line| line.replacen("\"captions\":[", &long, 1)).collect();
    let all = fs::read_to_string(trained().path("corpus/corpus.jsonl")).unwrap();
    let rest: Vec<&str> = all.lines().skip(3).collect();
    space.write("corpus/corpus.jsonl", format!("{}\n{}\n", lines.join("\n"), rest.join("\n")));
    let config = space.write("own.toml", "[data]\nkind = \"jsonl\"\n");
    let index = || space.run("index").config(&config).sets(SMALL).sets(&space.folders());
    let outcome = index().out("run").output().succeeded();
    assert!(outcome.stderr.contains("3 of 403 captions were cut at 40 tokens"), "{outcome}");
    let query = "a red ball ".repeat(20);
    let found = trained().run("search").of("run").args([query.as_str(), "-k", "2"]).output().succeeded();
    assert!(found.stderr.contains("the query was cut: the encoder reads 40 tokens"), "{found}");
    let found = trained().run("search").of("run").args(["a red ball", "-k", "2"]).output().succeeded();
    assert!(!found.stderr.contains("cut"), "{found}");
}
