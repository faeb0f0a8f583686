//! Turns captions into CLIP's token ids, and learns a vocabulary from captions.
//!
//! The `tokenizers` crate reads `tokenizer.json`; the older pair `vocab.json` + `merges.txt` is converted to
//! one. Text is lower-cased, its whitespace unified, split into words by CLIP's pattern, and encoded as byte
//! pairs. Truncation and the start and end tokens are done here, whatever the file says. The text
//! `<|endoftext|>` in a query becomes ordinary tokens, because CLIP takes its text embedding at the first end
//! token.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

use self::convert_vocab_merges::{END, START};
use super::bpe_trainer::{self, BYTE_SYMBOLS};
use super::json;
use crate::error::{Error, Result};
use crate::{file_io, known_heads};

mod convert_vocab_merges;
mod quiet_panic;

const FILE: &str = "tokenizer.json";
const MAX_BYTES: u64 = 64 << 20;
const MAX_WORD_CHARACTERS: usize = 512;

/// A CLIP tokenizer.
#[derive(Debug, Clone)]
pub struct Tokens {
    tokenizer: Tokenizer,
    start: u32,
    end: u32,
}

impl Tokens {
    /// Loads the tokenizer of an encoder's folder: `tokenizer.json`, else `vocab.json` with `merges.txt`.
    ///
    /// # Errors
    /// When a file is missing, cannot be read, or is no CLIP tokenizer.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if fs::exists(&path).map_err(Error::io("read", &path))? {
            let bytes = file_io::read(&path, MAX_BYTES)?;
            return Self::from_json(&bytes)
                .map_err(|what| known_heads::explain(&path, &bytes, Error::file(&path, what)));
        }
        let path = folder.join("vocab.json");
        let bytes = file_io::read(&path, MAX_BYTES)?;
        let vocabulary: BTreeMap<String, u32> = json::read(&bytes).map_err(|e| {
            let error = Error::file(&path, format!("is not a table of tokens and ids: {e}"));
            known_heads::explain(&path, &bytes, error)
        })?;
        let merges = convert_vocab_merges::read_merges(&folder.join("merges.txt"))?;
        Self::from_parts(&vocabulary, &merges).map_err(|what| Error::file(&path, what))
    }

    /// Learns a vocabulary of at most `size` tokens from captions: every byte (256 inside a word, 256 at its
    /// end), joined pairs, and the start and end tokens. As in CLIP, the end token has the highest id. Few
    /// captions may give fewer tokens: see [`vocab_size`](Self::vocab_size).
    ///
    /// # Errors
    /// When `size` is too small for the bytes and the two special tokens.
    pub fn train<'a>(captions: impl IntoIterator<Item = &'a str>, size: usize) -> Result<Self> {
        let least = BYTE_SYMBOLS + 2;
        if size < least {
            let what =
                format!("a vocabulary of {size} tokens is too small: {least} are needed to spell any text");
            return Err(Error::input(what));
        }
        let invariant = "invariant: the pipeline made here is valid";
        let splitter =
            Self::from_parts(&BTreeMap::from([(START.into(), 0), (END.into(), 1)]), &[]).expect(invariant);
        let mut words = BTreeMap::new();
        for caption in captions {
            for word in splitter.words(caption).map_err(Error::Input)? {
                *words.entry(word).or_default() += 1;
            }
        }
        let learned = bpe_trainer::learn(&words, size - 2);
        let symbols = learned.symbols.into_iter().chain([START.into(), END.into()]);
        Ok(Self::from_parts(&symbols.zip(0..).collect(), &learned.merges).expect(invariant))
    }

    /// Writes `tokenizer.json` into `folder`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text =
            self.tokenizer.to_string(true).expect("invariant: a tokenizer that was read can be written");
        file_io::write_atomic(&folder.join(FILE), |out| out.write_all(text.as_bytes()))
    }

    /// The ids of a text: start token, at most `context - 2` tokens, end token. Not padded.
    ///
    /// # Errors
    /// When the text is blank or `context` is below three.
    pub fn encode(&self, text: &str, context: usize) -> Result<Vec<u32>> {
        self.encode_whole_or_cut(text, context).map(|(ids, _)| ids)
    }

    /// As [`encode`](Self::encode), and whether the text was cut.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_whole_or_cut(&self, text: &str, context: usize) -> Result<(Vec<u32>, bool)> {
        if context < 3 {
            return Err(Error::input(format!(
                "a context of {context} tokens is too short; at least 3 are needed"
            )));
        }
        // Each word is at least one token, so words beyond the context are cut here, before a long text costs
        // time.
        let words: Vec<&str> = text.split_whitespace().take(context).collect();
        let shortened: Vec<&str> = words.iter().map(|word| first_characters(word)).collect();
        let has_cut_word = shortened.iter().zip(&words).any(|(short, word)| short.len() < word.len());
        let text = shortened.join(" ");
        let encoded =
            self.tokenizer.encode_fast(text, false).map_err(|e| Error::Input(format!("the text: {e}")))?;
        if encoded.is_empty() {
            return Err(Error::input("the text is blank; it needs at least one word"));
        }
        let inner = encoded.get_ids().iter().copied().take(context - 2);
        let ids = [self.start].into_iter().chain(inner).chain([self.end]).collect();
        Ok((ids, has_cut_word || encoded.len() > context - 2))
    }

    /// Id of the token that ends every text; CLIP takes its text embedding there.
    pub fn end_id(&self) -> u32 {
        self.end
    }

    /// Number of ids: one more than the highest.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// CLIP's tokenizer with a vocabulary and its merges.
    fn from_parts(vocabulary: &BTreeMap<String, u32>, merges: &[(String, String)]) -> Result<Self, String> {
        if let Some((left, right)) = merges.iter().find(|(a, b)| !vocabulary.contains_key(&format!("{a}{b}")))
        {
            return Err(format!(
                "lacks the token `{left}{right}` that merges.txt makes of `{left}` and `{right}`"
            ));
        }
        Self::from_json(convert_vocab_merges::tokenizer_json(vocabulary, merges)?.to_string().as_bytes())
    }

    fn from_json(bytes: &[u8]) -> Result<Self, String> {
        // The parser of the `tokenizers` crate panics on some damaged files (a merge longer than any token).
        let parsed = quiet_panic::or_none(|| Tokenizer::from_bytes(json::without_bom(bytes)));
        let parsed = parsed.ok_or_else(|| "is a damaged tokenizer file; fetch it again".to_owned())?;
        let mut tokenizer = parsed.map_err(|e| format!("is not a tokenizer.json that can be used: {e}"))?;
        let start = special_id(&tokenizer, START)?;
        let end = special_id(&tokenizer, END)?;
        let count = tokenizer.get_vocab_size(true);
        if tokenizer.get_vocab(true).values().any(|&id| id as usize >= count) {
            return Err(format!("has ids beyond its {count} tokens; they must be 0, 1, 2, …"));
        }
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { tokenizer, start, end })
    }

    /// The words of a caption, with each byte as its printable character.
    fn words(&self, caption: &str) -> Result<Vec<String>, String> {
        self.split_words(caption)
            .map_err(|e| format!("the caption `{caption}` cannot be split into words: {e}"))
    }

    fn split_words(&self, caption: &str) -> tokenizers::Result<Vec<String>> {
        let mut text = NormalizedString::from(caption);
        if let Some(normalizer) = self.tokenizer.get_normalizer() {
            normalizer.normalize(&mut text)?;
        }
        let mut words = PreTokenizedString::from(text);
        if let Some(splitter) = self.tokenizer.get_pre_tokenizer() {
            splitter.pre_tokenize(&mut words)?;
        }
        let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
        Ok(words.into_iter().map(|(word, ..)| word.to_owned()).collect())
    }
}

/// The first characters of a word, as many as are considered.
fn first_characters(word: &str) -> &str {
    &word[..word.char_indices().nth(MAX_WORD_CHARACTERS).map_or(word.len(), |(end, _)| end)]
}

fn special_id(tokenizer: &Tokenizer, token: &str) -> Result<u32, String> {
    tokenizer
        .token_to_id(token)
        .ok_or_else(|| format!("lacks the token {token}; only CLIP's tokenizers are allowed"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::damaged;
    use super::*;

    const CAPTIONS: [&str; 3] =
        ["Two red cubes left of a ball.", "a red ball", "The BALL is  red, isn't it?"];

    fn small() -> Tokens {
        Tokens::train(CAPTIONS, 530).unwrap()
    }

    #[test]
    fn a_learned_vocabulary_ends_with_the_end_token_and_spells_anything() {
        let tokens = small();
        let (end, text) = (tokens.end_id(), "a red dragon, 日本 <|endoftext|>");
        assert_eq!(end as usize, tokens.vocab_size() - 1);
        let ids = tokens.encode(text, 77).unwrap();
        assert_eq!((ids[0], ids.iter().position(|&id| id == end)), (end - 1, Some(ids.len() - 1)));
        let red = tokens.encode("red", 77).unwrap();
        assert_eq!(red.len(), 3, "{red:?}");
        assert!(Tokens::train(CAPTIONS, 513).unwrap_err().to_string().contains("514"));
    }

    #[test]
    fn training_repeats_and_survives_the_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        small().save(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        for _ in 0..3 {
            small().save(folder.path()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
        let read = Tokens::load(folder.path()).unwrap();
        assert_eq!(read.encode(CAPTIONS[2], 40).unwrap(), small().encode(CAPTIONS[2], 40).unwrap());
    }

    #[test]
    fn settings_of_the_file_do_not_pad_or_truncate() {
        let folder = tempfile::tempdir().unwrap();
        small().save(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let mut file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        file["truncation"] =
            json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
        file["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                                 "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
        fs::write(&path, file.to_string()).unwrap();
        let ids = Tokens::load(folder.path()).unwrap().encode("red red", 40).unwrap();
        assert_eq!(ids, small().encode("red red", 40).unwrap());
    }

    #[test]
    fn blank_texts_are_refused_and_long_ones_cut() {
        let tokens = small();
        for blank in ["", " \t\n"] {
            assert!(tokens.encode(blank, 77).unwrap_err().to_string().contains("blank"));
        }
        assert!(tokens.encode("a", 2).is_err());
        for long in ["word ".repeat(10_000), "a".repeat(1_000_000), "日".repeat(100_000)] {
            let (ids, is_cut) = tokens.encode_whole_or_cut(&long, 77).unwrap();
            assert_eq!((ids.len(), ids[76], is_cut), (77, tokens.end_id(), true));
        }
        let whole = |context| tokens.encode_whole_or_cut("red red red", context).unwrap().1;
        assert_eq!([4, 5, 6].map(whole), [true, false, false]);
    }

    #[test]
    fn damaged_vocabularies_are_refused_by_name() {
        let refusal = |vocabulary: &str, merges: &str| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("vocab.json"), vocabulary).unwrap();
            fs::write(folder.path().join("merges.txt"), merges).unwrap();
            Tokens::load(folder.path()).unwrap_err().to_string()
        };
        let vocabulary = r#"{"a": 0, "b": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}"#;
        assert!(refusal(vocabulary, "#version: 0.2\na b\n").contains("lacks the token `ab`"));
        assert!(refusal(vocabulary, "#version: 0.2\nab\n").contains("merges.txt, line 2"));
        assert!(refusal(r#"{"a": 0}"#, "").contains("<|startoftext|>"));
        assert!(refusal(&vocabulary.replace(": 1", ": 7"), "").contains("ids beyond"));
        assert!(refusal("[]", "").contains("vocab.json"));
        let missing = Tokens::load(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(missing.contains("vocab.json"), "{missing}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn damaged_files_never_panic(
            flips in prop::collection::vec((any::<usize>(), 1u8..32), 0..3),
            cut in 0usize..2,
        ) {
            let bytes = small().tokenizer.to_string(false).unwrap().into_bytes();
            if let Ok(tokens) = Tokens::from_json(&damaged(&bytes, &flips, cut)) {
                let _ = tokens.encode("a red ball", 20);
            }
        }
    }
}
