//! Learns a byte-pair vocabulary (Sennrich et al. 2016, in the form of GPT-2 and CLIP). Pure: no I/O.
//!
//! Words start as sequences of byte symbols; the last symbol of a word carries `</w>`. In each round the most
//! frequent pair of neighbours becomes one new symbol. The trainer of the `tokenizers` crate iterates over
//! randomly seeded hash maps, so which of two equally frequent pairs wins differs from run to run. Here the
//! pair with the lowest symbol ids wins.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The suffix of the last symbol of a word.
pub const END_OF_WORD: &str = "</w>";

/// Number of symbols in every vocabulary: each byte inside a word and each byte at its end, enough to spell
/// any text.
pub const BYTE_SYMBOLS: usize = 512;

/// Two neighbouring symbols.
type Pair = (u32, u32);

/// A learned vocabulary: the content of `vocab.json` and `merges.txt` without the special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merges {
    /// All symbols; a symbol's id is its position.
    pub symbols: Vec<String>,
    /// The pairs that were joined, most important first.
    pub merges: Vec<(String, String)>,
}

/// Learns at most `size` symbols (at least [`BYTE_SYMBOLS`]) from words and their counts. Words are written
/// in [`byte_characters`]. Pairs that occur once are not joined, so a small text gives fewer symbols than
/// `size`.
pub fn learn(words: &BTreeMap<String, u64>, size: usize) -> Merges {
    let bytes = byte_characters();
    let plain = bytes.iter().map(char::to_string);
    let mut symbols: Vec<String> = plain.clone().chain(plain.map(|c| c + END_OF_WORD)).collect();
    let ids: HashMap<char, u32> = bytes.into_iter().zip(0..).collect();
    let mut text = Text::new(words.iter().map(|(word, &count)| (spell(word, &ids), count)));
    let mut merges = Vec::new();
    while symbols.len() < size
        && let Some(pair) = text.most_frequent()
    {
        let [left, right] = [pair.0, pair.1].map(|id| symbols[id as usize].clone());
        text.join(pair, symbols.len() as u32);
        symbols.push(format!("{left}{right}"));
        merges.push((left, right));
    }
    Merges { symbols, merges }
}

/// A printable character for each byte, in the order of CLIP's vocabulary: first the printable bytes, then
/// the others as characters from U+0100 on (GPT-2's `bytes_to_unicode`).
pub fn byte_characters() -> Vec<char> {
    let printable = (b'!'..=b'~').chain(0xa1..=0xac).chain(0xae..=0xff).map(char::from);
    printable.chain('\u{100}'..'\u{144}').collect()
}

/// The symbol ids of a word; the last one is the end-of-word symbol of its byte.
fn spell(word: &str, ids: &HashMap<char, u32>) -> Vec<u32> {
    let mut spelled: Vec<u32> = word.chars().filter_map(|c| ids.get(&c).copied()).collect();
    if let Some(last) = spelled.last_mut() {
        *last += 256;
    }
    spelled
}

/// The words in their current symbols, and the words that contain each pair of neighbours.
struct Text {
    words: Vec<(Vec<u32>, u64)>,
    pairs: HashMap<Pair, Occurrences>,
}

#[derive(Default)]
struct Occurrences {
    count: u64,
    /// Positions of the words that contain, or contained, the pair.
    words: BTreeSet<usize>,
}

impl Text {
    fn new(words: impl Iterator<Item = (Vec<u32>, u64)>) -> Self {
        let mut text = Self { words: Vec::new(), pairs: HashMap::new() };
        for (word, (spelled, count)) in words.enumerate() {
            text.words.push((spelled, count));
            text.add_pairs(word);
        }
        text
    }

    /// The most frequent pair that occurs at least twice; of equally frequent ones the one with the lowest
    /// ids.
    fn most_frequent(&self) -> Option<Pair> {
        let often = self.pairs.iter().filter(|(_, seen)| seen.count > 1);
        often.max_by_key(|(pair, seen)| (seen.count, Reverse(**pair))).map(|(pair, _)| *pair)
    }

    /// Replaces `pair` by `symbol` in every word, from the left.
    fn join(&mut self, pair: Pair, symbol: u32) {
        let seen = self.pairs.get(&pair).map(|seen| seen.words.clone()).unwrap_or_default();
        for word in seen {
            self.remove_pairs(word);
            let old = std::mem::take(&mut self.words[word].0);
            let mut rest = old.as_slice();
            let spelled = &mut self.words[word].0;
            while let [first, tail @ ..] = rest {
                let joins = tail.first().is_some_and(|second| (*first, *second) == pair);
                spelled.push(if joins { symbol } else { *first });
                rest = if joins { &tail[1..] } else { tail };
            }
            self.add_pairs(word);
        }
        self.pairs.remove(&pair);
    }

    fn add_pairs(&mut self, word: usize) {
        let (spelled, count) = &self.words[word];
        for pair in spelled.windows(2) {
            let seen = self.pairs.entry((pair[0], pair[1])).or_default();
            seen.count += count;
            seen.words.insert(word);
        }
    }

    fn remove_pairs(&mut self, word: usize) {
        let (spelled, count) = &self.words[word];
        for pair in spelled.windows(2) {
            if let Some(seen) = self.pairs.get_mut(&(pair[0], pair[1])) {
                seen.count -= count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|&(word, count)| (word.to_owned(), count)).collect()
    }

    #[test]
    fn joins_the_most_frequent_pair_first_and_the_lowest_among_equals() {
        // aab×3, ab×2, xy×2: "a b</w>" 5 times, then "a ab</w>" 3, then "x y</w>" 2; seen once is not joined.
        let learned = learn(&words(&[("aab", 3), ("ab", 2), ("xy", 2), ("uv", 1)]), 600);
        let pairs: Vec<_> = learned.merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
        assert_eq!(pairs, ["a b</w>", "a ab</w>", "x y</w>"]);
        assert_eq!(learned.symbols[BYTE_SYMBOLS..], ["ab</w>", "aab</w>", "xy</w>"]);
        let tie = learn(&words(&[("yz", 2), ("cd", 2)]), BYTE_SYMBOLS + 1);
        assert_eq!(tie.merges, [("c".into(), "d</w>".into())]);
    }

    #[test]
    fn runs_of_one_letter_are_joined_from_the_left() {
        let learned = learn(&words(&[("aaaaa", 2)]), 600);
        let pairs: Vec<_> = learned.merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
        // a a a a a</w> → aa aa a</w>; both pairs left are as frequent, and (aa, aa) has the higher ids.
        assert_eq!(pairs[0], "a a");
        assert_eq!(learned.symbols.last().unwrap(), "aaaaa</w>");
    }

    #[test]
    fn the_byte_symbols_stand_in_the_order_of_clip() {
        let bytes = byte_characters();
        assert_eq!((bytes.len(), bytes[0], bytes[94], bytes[188], bytes[255]), (256, '!', '¡', 'Ā', 'Ń'));
    }
}
