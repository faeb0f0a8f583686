//! Converts CLIP's older tokenizer files, `vocab.json` and `merges.txt`, to a `tokenizer.json`, as Hugging
//! Face's converter does.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::super::bpe_trainer::END_OF_WORD;
use super::MAX_BYTES;
use crate::error::{Error, Result};
use crate::{file_io, known_heads};

/// The token that begins every text.
pub(super) const START: &str = "<|startoftext|>";
/// The token that ends every text; it also replaces a symbol that is not in the vocabulary.
pub(super) const END: &str = "<|endoftext|>";

/// Reads `merges.txt`: two symbols a line, separated by a space, most important first.
pub(super) fn read_merges(path: &Path) -> Result<Vec<(String, String)>> {
    let text = file_io::read_text(path, MAX_BYTES)?;
    // Lines of such files can look like merges.
    if let Some(what) = known_heads::describe(text.as_bytes()) {
        return Err(Error::file(path, what));
    }
    let lines =
        (1..).zip(text.lines()).filter(|(n, line)| !(line.is_empty() || *n == 1 && line.starts_with('#')));
    lines.map(|(n, line)| parse_merge(line).map_err(|what| Error::line(path, n, what))).collect()
}

fn parse_merge(line: &str) -> Result<(String, String), String> {
    match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(format!("is `{line}`; expected two symbols and one space between")),
    }
}

/// The `tokenizer.json` that Hugging Face's converter makes of CLIP's two files.
pub(super) fn tokenizer_json(
    vocabulary: &BTreeMap<String, u32>,
    merges: &[(String, String)],
) -> Result<Value, String> {
    let id = |token: &str| vocabulary.get(token).ok_or_else(|| format!("lacks the token {token}"));
    let (start, end) = (id(START)?, id(END)?);
    let special = |id: &u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let bytes = |spaced: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": spaced,
               "trim_offsets": true, "use_regex": true})
    };
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(start, START), special(end, END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": true},
            bytes(false)]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, end], "cls": [START, start],
                           "trim_offsets": false, "add_prefix_space": false},
        "decoder": bytes(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
                  "end_of_word_suffix": END_OF_WORD, "fuse_unk": false, "byte_fallback": false,
                  "vocab": vocabulary, "merges": merges},
    }))
}
