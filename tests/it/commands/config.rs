//! `dsi config`.

use serde_json::json;

use crate::fixture::{Outcome, Space};

tests! {
    the_reference_has_every_section_and_key,
    one_key_is_explained,
    wrong_names_are_refused_with_the_nearest,
}

fn config(arguments: &[&str]) -> Outcome {
    Space::new().run("config").args(arguments).output()
}

fn the_reference_has_every_section_and_key() {
    let text = config(&[]).succeeded().stdout;
    assert!(text.contains("\n[pretrain]\n") && text.contains("\nmargin = \"0\"\n"), "{text}");
    let sections = config(&["--json"]).succeeded().json();
    let keys = sections.as_array().unwrap().iter().map(|section| section["keys"].as_array().unwrap().len());
    assert!(keys.sum::<usize>() > 150);
    let section = config(&["--section", "decoder", "--json"]).succeeded().json();
    assert_eq!(
        (&section["section"], &section["keys"][0]["key"]),
        (&json!("decoder"), &json!("decoder.width"))
    );
}

fn one_key_is_explained() {
    let text = config(&["--explain", "decoder.width"]).succeeded().stdout;
    assert!(text.starts_with("decoder.width = 128\n") && text.contains("from 8 to 8192"), "{text}");
    let key = config(&["--explain", "decoder.width", "--json"]).succeeded().json();
    assert_eq!((&key["type"], &key["default"]), (&json!("integer"), &json!(128)));
    assert_eq!((&key["range"], &key["affects"]), (&json!([8, 8192]), &json!(["weights", "settings"])));
}

fn wrong_names_are_refused_with_the_nearest() {
    config(&["--explain", "train.margn"]).refused(&["train.margn", "did you mean train.margin?"]);
    config(&["--explain", "train"]).refused(&["train is a section", "--section train"]);
    config(&["--section", "trian"]).refused(&["trian", "did you mean train?"]);
    config(&["--section", "train", "--explain", "train.lr"]).refused_with(2, &["--explain"]);
}
