//! Reads and checks everything that a run learns from or is measured on.
//!
//! A **corpus** ([`corpus`]) is a list of images with splits and captions. [`open_corpus`] reads it from
//! Karpathy's JSON ([`karpathy`]), from a file with one JSON object a line ([`jsonl`]) or from tar archives
//! ([`webdataset`]), or draws the built-in one (`scenes`). [`photos`] decodes its photos and [`preprocess`]
//! resizes them for the encoder. [`tokenizer`] turns captions into token ids; [`bpe_trainer`] learns its
//! vocabulary. With ready-made features, [`corpus_embeddings`] reads the vectors of images and captions from
//! `.npy` files ([`npy`]) instead.
//!
//! Before any training, [`leaks`] reports what the held-out splits share with the train split, and [`verify`]
//! reports missing photos. With the feature `fetch`, `fetch` downloads datasets and `hub` downloads CLIPs,
//! both through `http`.
//!
//! All of these files are outside data: no content of a file makes the program panic, exhausts the memory or
//! names a path outside the file's folder. Errors name the file, the value and what is allowed.

pub mod bpe_trainer;
pub mod clip_files;
pub mod corpus;
pub mod corpus_embeddings;
#[cfg(feature = "fetch")]
pub mod disk_space;
pub mod encoder_folder;
pub mod epochs;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "fetch")]
pub mod http;
#[cfg(feature = "fetch")]
pub mod hub;
pub mod json;
pub mod jsonl;
pub mod karpathy;
pub mod leaks;
pub mod npy;
pub mod open_corpus;
pub mod photo_list;
pub mod photo_record;
pub mod photos;
pub mod preprocess;
pub mod published_splits;
#[cfg(feature = "scenes")]
pub mod scenes;
pub mod second_view;
pub mod settings;
pub mod tokenizer;
pub mod verify;
pub mod webdataset;

#[cfg(test)]
mod tests {
    /// The file after damage: some bytes flipped, then the end cut off.
    pub fn damaged(bytes: &[u8], flips: &[(usize, u8)], cut: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for &(at, mask) in flips {
            let at = at % bytes.len();
            bytes[at] ^= mask;
        }
        bytes.truncate(bytes.len() - cut % bytes.len());
        bytes
    }
}
