//! The closed choices of a configuration: each is an enum whose words are listed once, for serde, for the
//! rules and for messages.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares an enum, its words in TOML, `WORDS` (all of them, in order), `word` and `Display`.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// The words for this choice in a configuration file, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word for this value in a configuration file.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

choice! {
    /// Where a corpus comes from.
    DataKind {
        /// The built-in corpus, rendered on demand from a seed.
        Scenes = "scenes",
        /// Photos and a captions file in Karpathy's JSON (Flickr8k, Flickr30k, COCO).
        Karpathy = "karpathy",
        /// Photos and a captions file with one JSON object an image.
        Jsonl = "jsonl",
        /// Tar archives with photos and captions of one name (`a.jpg`, `a.txt` or `a.json`), read in place.
        Webdataset = "webdataset",
        /// Ready-made embeddings (`.npy`) beside a `jsonl` captions file; no photos are needed.
        Features = "features",
    }
}

choice! {
    /// What to do with a photo that is missing or cannot be decoded.
    OnBadImage {
        /// Stop, naming the file.
        Error = "error",
        /// Leave the image out of the corpus, with a warning.
        Skip = "skip",
    }
}

choice! {
    /// What is found in the train split and in val or test too: what of it stops a training before it starts.
    OnLeak {
        /// Nothing: both are reported.
        Warn = "warn",
        /// A photo, by the hash of its bytes. A caption is only reported: short ones occur twice in honest data.
        Photo = "photo",
        /// A photo or a caption.
        Any = "any",
    }
}

choice! {
    /// What becomes of the learning rate after the warm-up.
    LrSchedule {
        /// Half a cosine down to zero (Loshchilov and Hutter 2017).
        Cosine = "cosine",
        /// A straight line down to zero.
        Linear = "linear",
        /// It stays.
        Constant = "constant",
    }
}

choice! {
    /// The numbers that transformer blocks compute with in a training, its validations among it. Parameters, norms, losses and
    /// the optimiser are f32 whatever it is (mixed precision, Micikevicius et al. 2018), and so is what a finished run is
    /// measured and searched with.
    Precision {
        /// bf16 on GPUs that have it, f32 elsewhere.
        Auto = "auto",
        /// 32 bits.
        F32 = "f32",
        /// 16 bits with the range of 32.
        Bf16 = "bf16",
    }
}

choice! {
    /// What turns captions and photos into embeddings.
    EncoderKind {
        /// A CLIP model in Hugging Face's layout.
        Clip = "clip",
        /// None: the corpus brings its embeddings.
        Features = "features",
    }
}

choice! {
    /// How an image gets its docid.
    Family {
        /// One code an image (DSI, Tay et al. 2022).
        Atomic = "atomic",
        /// The digits of an arbitrary number ("naive" in DSI).
        Numeric = "numeric",
        /// The path in a hierarchical k-means over image embeddings ("semantic" in DSI).
        Tree = "tree",
        /// Residual quantisation of the image embedding (IRGen, GENIUS, TIGER).
        Rq = "rq",
        /// `rq` whose codebooks are then trained for retrieval (GenRet, PRO).
        Learned = "learned",
    }
}

impl Family {
    /// Whether docids are codes of codebooks in the space of the queries, which grounded logits need.
    pub fn has_codebooks(self) -> bool {
        matches!(self, Self::Rq | Self::Learned)
    }
}

choice! {
    /// Whether an image has a second docid, made of captions.
    ExtraDocidSource {
        /// No.
        None = "none",
        /// From its own captions for images of the train split, from pseudo-captions for others. Train images then lie
        /// nearer to their own captions than any other image can to its: right for search, hopeful for tables over the
        /// whole corpus.
        Own = "own",
        /// From pseudo-captions for all images: the nearest train captions of other images.
        Nearest = "nearest",
    }
}

choice! {
    /// Which images the decoder may learn by heart as image→docid pairs.
    Regime {
        /// Those of every split: the gallery is known when training starts. No val or test caption is seen.
        Transductive = "transductive",
        /// Those of the train split only: other images get a docid from the frozen codebooks alone.
        Inductive = "inductive",
    }
}

choice! {
    /// The training objective.
    Loss {
        /// Listwise over hard candidates, on the cumulated score of every prefix.
        Listwise = "listwise",
        /// Cross-entropy level by level: the classical DSI objective, for comparison.
        CrossEntropy = "cross_entropy",
    }
}

choice! {
    /// A part of a corpus (`restval` counts as train).
    Split {
        /// What is learnt from.
        #[serde(alias = "restval")]
        Train = "train",
        /// What is chosen on.
        Val = "val",
        /// What is reported on.
        Test = "test",
    }
}

impl Split {
    /// The three splits in their usual order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];
}

choice! {
    /// The images that may be returned during evaluation.
    Gallery {
        /// The images of the evaluated split.
        Split = "split",
        /// All images of the corpus.
        Corpus = "corpus",
        /// One table row for each of the two.
        Both = "both",
    }
}

/// Where tensors live: `auto` (the first GPU if there is one, else the CPU), `cpu`, or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The first GPU if the program was built for one and one is there, else the CPU.
    Auto,
    /// The CPU: bit-reproducible.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl Device {
    /// What [`Device::parse`] accepts, in words.
    pub const ALLOWED: &'static str = "auto, cpu or cuda:N (N from 0 to 127)";

    /// Reads `auto`, `cpu` or `cuda:N`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            _ => text
                .strip_prefix("cuda:")?
                .parse::<u8>()
                .ok()
                .filter(|n| *n < 128)
                .map(|n| Self::Cuda(n.into())),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("device {text:?}: allowed is {}", Self::ALLOWED))
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:127"] {
            assert_eq!(Device::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:128", "CPU"] {
            assert_eq!(Device::parse(text), None, "{text}");
        }
    }
}
