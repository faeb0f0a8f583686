//! `[data]` and the words that describe a corpus: its splits, its kind, what to do with bad images and leaks.

use std::path::{Path, PathBuf};

use crate::config_schema::shared_limits::{NAME, PATH, SEED, SOME_PATH};
use crate::config_schema::{choice, section};

choice! {
    /// A part of a corpus. `restval` counts as train.
    Split {
        /// Images and captions that the model learns from.
        Train = "train" | "restval",
        /// Images and captions that models and settings are chosen with.
        Val = "val",
        /// Images and captions that results are reported for.
        Test = "test",
    }
}

choice! {
    /// The images whose image→docid pairs the decoder is trained on.
    Regime {
        /// Those of every split: the gallery is known when training starts. No val or test caption is used.
        Transductive = "transductive",
        /// Those of the train split only. Other images get their docids from the frozen codebooks.
        Inductive = "inductive",
    }
}

choice! {
    /// Where a corpus comes from.
    DataKind {
        /// The built-in corpus, drawn from a seed.
        Scenes = "scenes",
        /// Photos, and captions in Karpathy's JSON format (Flickr8k, Flickr30k, COCO).
        Karpathy = "karpathy",
        /// Photos, and a captions file with one JSON object a line for each image.
        Jsonl = "jsonl",
        /// Tar archives in which a photo and its captions have one name (`a.jpg`, `a.txt` or `a.json`). They
        /// are not unpacked.
        Webdataset = "webdataset",
        /// Ready-made embeddings (`.npy`) and a `jsonl` captions file; no photos are needed.
        Features = "features",
    }
}

choice! {
    /// What to do with an image whose photo or captions are missing or cannot be read.
    OnBadImage {
        /// Stop and name the file.
        Error = "error",
        /// Leave the image out of the corpus and warn.
        Skip = "skip",
    }
}

choice! {
    /// Which items that the train split shares with val or test stop a training before it starts.
    OnLeak {
        /// Nothing: shared photos and captions are only reported.
        Warn = "warn",
        /// Photos, compared by the hash of their bytes. Shared captions are only reported: short ones occur
        /// twice in honest data.
        Photo = "photo",
        /// Photos and captions.
        Any = "any",
    }
}

section! {
    /// The corpus. `train`, `val`, `test`, `scenes_seed` and `side` are for `kind = "scenes"` alone.
    Data affects(embeddings, clip) {
        /// The dataset's name in reports and file names.
        name: String = "scenes" in NAME, affects(embeddings, settings, clip);
        /// Where the corpus comes from.
        kind: DataKind = Scenes, affects(embeddings, settings, clip);
        /// The folder of the corpus.
        root: String = "runs/data/scenes" in SOME_PATH;
        /// The captions file, relative to `root` unless absolute. Empty: `corpus.jsonl`. `karpathy` needs it,
        /// because those files have another name for each dataset.
        captions: String = "" in PATH;
        /// The folder of the photos, or of the archives of a `webdataset`, relative to `root` unless
        /// absolute. Empty: `root` itself.
        images: String = "" in PATH;
        /// Number of images that are kept, taken from each split in proportion. 0: all.
        limit: usize = 0 in 0..=100_000_000, affects(embeddings, settings, clip);
        /// What to do with an image whose photo or captions are missing or cannot be read.
        on_bad_image: OnBadImage = Error;
        /// Which items that the train split shares with val or test stop a training. All are reported in any
        /// case.
        on_leak: OnLeak = Photo;
        /// Number of scenes in the train split.
        train: usize = 800 in 1..=1_000_000, affects(embeddings, settings, clip);
        /// Number of scenes in the val split.
        val: usize = 100 in 1..=1_000_000, affects(embeddings, settings, clip);
        /// Number of scenes in the test split.
        test: usize = 100 in 1..=1_000_000, affects(embeddings, settings, clip);
        /// The seed of the scenes: another seed draws another corpus.
        scenes_seed: u64 = 0 in SEED, affects(embeddings, settings, clip);
        /// Side of a scene in pixels.
        side: usize = 128 in 32..=1024;
    }
}

impl Data {
    /// The captions file this section means.
    pub fn captions_file(&self) -> PathBuf {
        let name = if self.captions.is_empty() { "corpus.jsonl" } else { &self.captions };
        Path::new(&self.root).join(name)
    }

    /// The photo folder this section means.
    pub fn images_folder(&self) -> PathBuf {
        Path::new(&self.root).join(&self.images)
    }
}
