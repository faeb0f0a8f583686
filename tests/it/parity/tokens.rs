//! Token ids of real captions against those of transformers' CLIP tokenizer, which `scripts/parity/tokens.py`
//! wrote.

use std::fs;
use std::path::Path;

use dsi::data::tokenizer::Tokens;

use crate::harness::{Need::Parity, parity};

tests! {
    real_captions_become_the_ids_of_transformers if Parity("tokens"),
    odd_captions_become_the_ids_of_transformers,
}

const CONTEXT: usize = 77;

/// Compares all captions of a case with each form of its tokenizer.
fn compare(case: &Path, tokenizer: &Path) {
    let captions: Vec<String> =
        serde_json::from_slice(&fs::read(case.join("captions.json")).unwrap()).unwrap();
    let bytes = fs::read(case.join("ids.bin")).unwrap();
    let numbers: Vec<u32> =
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]).into()).collect();
    let older = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(tokenizer.join(name), older.path().join(name)).unwrap();
    }
    for (form, folder) in [("tokenizer.json", tokenizer), ("vocab.json + merges.txt", older.path())] {
        let tokens = Tokens::load(folder).unwrap();
        let (mut rest, mut cut) = (numbers.as_slice(), 0);
        let mut differ = Vec::new();
        for caption in &captions {
            let (row, after) = rest[1..].split_at(rest[0] as usize);
            rest = after;
            let ids = tokens.encode(caption, CONTEXT).unwrap();
            cut += usize::from(ids.len() == CONTEXT);
            assert_eq!(ids.last(), Some(&tokens.end_id()), "{caption}");
            if ids != row {
                differ.push(caption);
            }
        }
        assert!(rest.is_empty());
        println!(
            "{form}: {} captions, {cut} of them fill the context, {} differ",
            captions.len(),
            differ.len()
        );
        assert!(differ.is_empty(), "{differ:#?}");
    }
}

fn real_captions_become_the_ids_of_transformers() {
    let case = parity("tokens");
    compare(&case, &case.join("tokenizer"));
}

fn odd_captions_become_the_ids_of_transformers() {
    compare(&super::fixture("tokens"), &super::fixture("tokenizer"));
}
