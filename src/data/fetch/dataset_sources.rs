//! Every file of every dataset that `dsi data fetch` knows: where it is, how long it is, what it hashes to.
//!
//! Lengths and checksums are not ours: each stands beside the page it was looked up on. What nobody publishes is
//! `None`, and announced as unknown. A file with several places is the same in all of them: the checksum decides.

use crate::data::http::Checksum;

/// A dataset: its files, in the order in which they are fetched.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The name on the command line.
    pub name: &'static str,
    /// Under what terms its photos may be used; said before anything is fetched.
    pub terms: &'static str,
    /// Its files.
    pub files: Vec<Source>,
}

/// A file of a dataset: where to get it, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the dataset's folder while it is there. Put there by hand, it is not fetched.
    pub name: &'static str,
    /// Other archives of the same content, as their publishers call them, that may be put there instead.
    pub instead: &'static [&'static str],
    /// Where it is; the first place that gives it is taken.
    pub places: Vec<Place>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// What becomes of it.
    pub makes: Makes,
    /// Where people can get it, should no place give it.
    pub page: &'static str,
}

/// Where a file is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A dataset repository of the hub, at a revision.
    Hub(&'static str, &'static str, &'static str),
    /// An address.
    Web(&'static str),
}

/// What an archive has for us, and where that goes below the dataset's folder.
#[derive(Debug, Clone, Copy)]
pub enum Makes {
    /// One file of it.
    File(&'static str),
    /// Its photos, whatever folders they lie in, in one folder.
    Photos(&'static str),
}

impl Makes {
    /// The path it makes below the dataset's folder.
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

/// Karpathy's splits of all three datasets in one archive, of which one file is wanted.
///
/// Address, length and checksum: github.com/tensorflow/datasets, tensorflow_datasets/url_checksums/
/// coco_captions.txt. The copy on the hub: huggingface.co/datasets/gpantaz/karpathy_split.
fn splits(file: &'static str) -> Source {
    Source {
        name: "caption_datasets.zip",
        instead: &[],
        places: vec![
            Place::Web("https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"),
            Place::Hub("gpantaz/karpathy_split", "main", "caption_datasets.zip"),
        ],
        size: Some(36_745_453),
        checksum: sha256("4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817"),
        makes: Makes::File(file),
        page: "https://cs.stanford.edu/people/karpathy/deepimagesent/",
    }
}

/// The photos. Address and checksum: github.com/mlverse/torchvision, R/dataset-flickr.R (MD5; nobody publishes
/// more). The archive has them in `Flicker8k_Dataset/`, so spelt, beside a `__MACOSX/`.
fn flickr8k() -> Dataset {
    let photos = Source {
        name: "Flickr8k_Dataset.zip",
        instead: &[],
        places: vec![Place::Web(
            "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_Dataset.zip",
        )],
        size: None,
        checksum: Some(Checksum::Md5("f18a1e2920de5bd84dae7cf08ec78978".into())),
        makes: Makes::Photos("images"),
        page: "https://github.com/jbrownlee/Datasets/releases/tag/Flickr8k",
    };
    Dataset { name: "flickr8k", terms: FLICKR_TERMS, files: vec![splits("dataset_flickr8k.json"), photos] }
}

/// The photos. Repository, revision and file name: huggingface.co/datasets/nlphuji/flickr30k/tree/main (4.39 GB at
/// commit 2b239be, its last). Length and checksum of exactly this: what the hub tells of the file, which is kept in
/// its large-file storage under its SHA-256.
fn flickr30k() -> Dataset {
    let photos = Source {
        name: "flickr30k-images.zip",
        instead: &["flickr30k-images.tar.gz", "flickr30k-images.tar"],
        places: vec![Place::Hub(
            "nlphuji/flickr30k",
            "2b239befc81b6e3f035ce6bd52f5f4d60f5625f7",
            "flickr30k-images.zip",
        )],
        size: Some(4_390_240_817),
        checksum: sha256("f78a015e45ea38d4367367223b2bb63cec0d549d5da13c6211663e5439a93216"),
        makes: Makes::Photos("images"),
        page: "https://shannon.cs.illinois.edu/DenotationGraph/ (a form; it gives flickr30k-images.tar.gz)",
    };
    Dataset { name: "flickr30k", terms: FLICKR_TERMS, files: vec![splits("dataset_flickr30k.json"), photos] }
}

/// The photos, from COCO's own bucket. Names, lengths and checksums: github.com/tensorflow/datasets,
/// tensorflow_datasets/url_checksums/coco.txt. Its own name, images.cocodataset.org, has no valid certificate, so
/// the bucket is addressed as its host does it.
fn coco() -> Dataset {
    let photos = |name, url, size, hex, folder| Source {
        name,
        instead: &[],
        places: vec![Place::Web(url)],
        size: Some(size),
        checksum: sha256(hex),
        makes: Makes::Photos(folder),
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
            let mut made: Vec<_> = dataset.files.iter().map(|file| file.makes.path()).collect();
            made.dedup();
            assert_eq!(made.len(), dataset.files.len(), "{}", dataset.name);
            for file in dataset.files {
                let hex = match file.checksum.as_ref().unwrap() {
                    Checksum::Sha256(hex) => (hex, 64),
                    Checksum::Md5(hex) => (hex, 32),
                };
                assert_eq!(hex.0.len(), hex.1, "{}", file.name);
                assert!(!file.name.contains('/') && !file.places.is_empty());
                assert!(file.places.iter().all(|place| match place {
                    Place::Web(url) => url.starts_with("https://") && url.ends_with(file.name),
                    Place::Hub(_, _, name) => *name == file.name,
                }));
            }
        }
    }
}
