//! The files of the datasets that `dsi data fetch` knows: locations, lengths and checksums.
//!
//! Lengths and checksums come from the pages named in the comments; an unpublished length is `None` and
//! announced as unknown. All locations of a file have the same content; the checksum proves it.

use crate::data::http::Checksum;

/// A dataset.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its name on the command line.
    pub name: &'static str,
    /// The terms of use of its photos, logged before the download.
    pub terms: &'static str,
    /// Its files, in download order.
    pub files: Vec<DatasetFile>,
}

/// An archive of a dataset, and its unpacked output.
#[derive(Debug, Clone)]
pub struct DatasetFile {
    /// The archive's name in the dataset's folder. If the user puts it there, it is not downloaded.
    pub name: &'static str,
    /// Names of other archives with the same content that the user may put there instead.
    pub alternatives: &'static [&'static str],
    /// The locations, tried in order.
    pub locations: Vec<Location>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// The part to unpack.
    pub output: Output,
    /// The web page for a manual download.
    pub page: &'static str,
}

/// The location of a file.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file of a dataset repository of the hub: repository, revision, file.
    Hub(&'static str, &'static str, &'static str),
    /// A URL.
    Web(&'static str),
}

/// The part of an archive to unpack, and its path in the dataset's folder.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// One file.
    File(&'static str),
    /// All photos, from any folder of the archive into one folder.
    Photos(&'static str),
}

impl Output {
    /// The path in the dataset's folder.
    pub fn path(self) -> &'static str {
        let (Self::File(path) | Self::Photos(path)) = self;
        path
    }
}

const FLICKR_TERMS: &str = "the photos belong to Flickr's users, under Flickr's terms of use; the datasets are given \
                            for non-commercial research and education";

/// The datasets.
pub fn all() -> Vec<Dataset> {
    vec![flickr8k(), flickr30k(), coco()]
}

/// Karpathy's splits: one archive for all three datasets; one file of it is unpacked.
///
/// Address, length and checksum: github.com/tensorflow/datasets, tensorflow_datasets/url_checksums/
/// coco_captions.txt. The copy on the hub: huggingface.co/datasets/gpantaz/karpathy_split.
fn splits(file: &'static str) -> DatasetFile {
    DatasetFile {
        name: "caption_datasets.zip",
        alternatives: &[],
        locations: vec![
            Location::Web("https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"),
            Location::Hub("gpantaz/karpathy_split", "main", "caption_datasets.zip"),
        ],
        size: Some(36_745_453),
        checksum: sha256("4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817"),
        output: Output::File(file),
        page: "https://cs.stanford.edu/people/karpathy/deepimagesent/",
    }
}

/// URL and checksum of the photos: github.com/mlverse/torchvision, R/dataset-flickr.R (MD5; no other checksum
/// is published). The archive has a folder `Flicker8k_Dataset/`, spelt like this, and a `__MACOSX/`.
fn flickr8k() -> Dataset {
    let photos = DatasetFile {
        name: "Flickr8k_Dataset.zip",
        alternatives: &[],
        locations: vec![Location::Web(
            "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_Dataset.zip",
        )],
        size: None,
        checksum: Some(Checksum::Md5("f18a1e2920de5bd84dae7cf08ec78978".into())),
        output: Output::Photos("images"),
        page: "https://github.com/jbrownlee/Datasets/releases/tag/Flickr8k",
    };
    Dataset { name: "flickr8k", terms: FLICKR_TERMS, files: vec![splits("dataset_flickr8k.json"), photos] }
}

/// Repository, revision and file name of the photos: huggingface.co/datasets/nlphuji/flickr30k/tree/main
/// (4.39 GB at commit 2b239be, the latest). Length and checksum are the hub's for this file; its large-file
/// storage is addressed by SHA-256.
fn flickr30k() -> Dataset {
    let photos = DatasetFile {
        name: "flickr30k-images.zip",
        alternatives: &["flickr30k-images.tar.gz", "flickr30k-images.tar"],
        locations: vec![Location::Hub(
            "nlphuji/flickr30k",
            "2b239befc81b6e3f035ce6bd52f5f4d60f5625f7",
            "flickr30k-images.zip",
        )],
        size: Some(4_390_240_817),
        checksum: sha256("f78a015e45ea38d4367367223b2bb63cec0d549d5da13c6211663e5439a93216"),
        output: Output::Photos("images"),
        page: "https://shannon.cs.illinois.edu/DenotationGraph/ (a form; it gives flickr30k-images.tar.gz)",
    };
    Dataset { name: "flickr30k", terms: FLICKR_TERMS, files: vec![splits("dataset_flickr30k.json"), photos] }
}

/// The photos, from COCO's own bucket. Names, lengths and checksums: github.com/tensorflow/datasets,
/// tensorflow_datasets/url_checksums/coco.txt. The host images.cocodataset.org has no valid certificate, so
/// the URL is that of the bucket's provider.
fn coco() -> Dataset {
    let photos = |name, url, size, hex, folder| DatasetFile {
        name,
        alternatives: &[],
        locations: vec![Location::Web(url)],
        size: Some(size),
        checksum: sha256(hex),
        output: Output::Photos(folder),
        page: "https://cocodataset.org/#download",
    };
    let train = photos(
        "train2014.zip",
        "https://s3.amazonaws.com/images.cocodataset.org/zips/train2014.zip",
        13_510_573_713,
        "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        "images/train2014",
    );
    let val = photos(
        "val2014.zip",
        "https://s3.amazonaws.com/images.cocodataset.org/zips/val2014.zip",
        6_645_013_297,
        "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        "images/val2014",
    );
    let terms = "the photos belong to Flickr's users, under Flickr's terms of use; the captions are under CC BY 4.0 \
                 (https://cocodataset.org/#termsofuse)";
    Dataset { name: "coco", terms, files: vec![splits("dataset_coco.json"), val, train] }
}

fn sha256(hex: &'static str) -> Option<Checksum> {
    Some(Checksum::Sha256(hex.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for dataset in all() {
            let mut made: Vec<_> = dataset.files.iter().map(|file| file.output.path()).collect();
            made.dedup();
            assert_eq!(made.len(), dataset.files.len(), "{}", dataset.name);
            for file in dataset.files {
                let hex = match file.checksum.as_ref().unwrap() {
                    Checksum::Sha256(hex) => (hex, 64),
                    Checksum::Md5(hex) => (hex, 32),
                };
                assert_eq!(hex.0.len(), hex.1, "{}", file.name);
                assert!(!file.name.contains('/') && !file.locations.is_empty());
                assert!(file.locations.iter().all(|place| match place {
                    Location::Web(url) => url.starts_with("https://") && url.ends_with(file.name),
                    Location::Hub(_, _, name) => *name == file.name,
                }));
            }
        }
    }
}
