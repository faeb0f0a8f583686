//! From files on disk to checked values: everything a run learns from or is measured on enters here.
//!
//! A **corpus** ([`corpus`]) is a list of images with splits and captions. It is read from Karpathy's JSON
//! ([`karpathy`]), from one JSON object a line ([`jsonl`]) or from tar archives ([`webdataset`]); the default one is drawn by [`scenes`]. Its
//! **photos** are decoded ([`photos`]) and made the size the encoder wants ([`preprocess`]); its captions
//! become **tokens** ([`tokens`], whose vocabulary [`bpe`] can learn). Where an encoder made elsewhere has
//! already done that work, its **embeddings** ([`embeddings`]) come from `.npy` files ([`npy`]).
//!
//! Before any training, [`leaks`] says what the held-out splits share with the train split.
//!
//! Datasets are [`fetch`]ed from their publishers, a CLIP from the [`hub`], both over [`http`]; [`verify`] tells what
//! a corpus lacks.
//!
//! All of these files are outside data: none may panic, exhaust the memory or name a path outside its folder.

pub mod bpe_trainer;
pub mod clip_files;
pub mod corpus;
#[cfg(feature = "fetch")]
pub mod disk_space;
pub mod embeddings;
pub mod encoder_folder;
pub mod epochs;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "fetch")]
pub mod http;
#[cfg(feature = "fetch")]
pub mod hub;
pub mod jsonl;
pub mod karpathy;
pub mod leaks;
pub mod npy;
pub mod open_corpus;
pub mod photos;
pub mod preprocess;
pub mod published_splits;
#[cfg(feature = "scenes")]
pub mod scenes;
pub mod second_view;
pub mod tokenizer;
pub mod verify;
pub mod webdataset;

#[cfg(test)]
mod tests {
    /// What a crash, a bad disk or an enemy makes of a file: some bytes flipped, then the end cut off.
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
