//! What is fuzzed: the readers of outside files, each as a function of some bytes.
//!
//! `scripts/fuzz` runs them with libFuzzer, where a target fails by a panic, by taking too long, or by allocating too
//! much. The tests run them on kept inputs, where a target fails by a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use dsi::config::Config;
use dsi::context::Context;
use dsi::data::corpus::{Builder, Corpus, Entry, Split};
use dsi::data::corpus_embeddings::Embeddings;
use dsi::data::photos::{self, Photo};
use dsi::data::preprocess::Preprocess;
use dsi::data::settings::{OnBadImage, Regime};
use dsi::data::tokenizer::Tokens;
use dsi::data::{clip_files, jsonl, karpathy, npy, webdataset};
use dsi::encoder::clip::ClipConfig;
use dsi::encoder::embed_corpus::embed_corpus_with;
use dsi::encoder::embedded_corpus::EmbeddedCorpus;
use dsi::encoder::precomputed_features::PrecomputedFeatures;
use dsi::error::Result;
use dsi::eval::report::Report;
use dsi::folder_marker::{FolderMarker, MARKER};
use dsi::matrix::Matrix;
use dsi::model::checkpoint::{Checkpoint, Progress, Which};
use dsi::model::index_folder::DocidIndex;
use dsi::nn::{pickle, tensors};
use dsi::run_folder::RunFolder;
use dsi::store::scan::{Best, ImageSet, Lists, Scanned, Tables};
use dsi::store::section::SectionWriter;
use dsi::store::segment::Segment;

/// A target: its name, and what it does with some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 15] = [
    ("config", config),
    ("jsonl", |bytes| {
        in_file("corpus.jsonl", bytes, |path| use_corpus(jsonl::read(path, path.parent(), SKIP)))
    }),
    ("karpathy", |bytes| {
        in_file("dataset.json", bytes, |path| {
            use_corpus(karpathy::read(path, Path::new("photos"), "mine", SKIP))
        });
    }),
    ("tar", |bytes| {
        in_file("train-0.tar", bytes, |path| use_corpus(webdataset::read(folder_of(path), SKIP)))
    }),
    ("npy", |bytes| in_file("images.npy", bytes, |path| _ = npy::read(path))),
    ("safetensors", |bytes| in_file("x.safetensors", bytes, |path| _ = tensors::read(path))),
    ("shards", |bytes| in_file("model.safetensors.index.json", bytes, |path| _ = clip_files::shards(path))),
    ("pickle", |bytes| in_file("pytorch_model.bin", bytes, |path| _ = pickle::read(path))),
    ("tokenizer", |bytes| in_file("tokenizer.json", bytes, |path| use_tokenizer(folder_of(path)))),
    ("preprocessor", |bytes| {
        in_file("preprocessor_config.json", bytes, |path| _ = Preprocess::from_json(path))
    }),
    ("clip_config", |bytes| in_file("config.json", bytes, |path| _ = ClipConfig::read(path))),
    ("index", index),
    ("checkpoint", checkpoint),
    ("store", store),
    ("photo", |bytes| in_file("photo", bytes, |path| _ = photos::read(&Photo::File(path.to_owned())))),
];

const SKIP: OnBadImage = OnBadImage::Skip;

/// Calls `read` with a file of this name and content, in a folder of this process.
fn in_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    let path = scratch().join(name);
    fs::write(&path, bytes).unwrap();
    read(&path);
    fs::remove_file(&path).unwrap();
}

/// A folder of this process and thread.
fn scratch() -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
    let folder = std::env::temp_dir().join(format!("dsi-fuzz-{}-{digits}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap()
}

/// A configuration that is accepted is printed and read back to an equal one.
fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(config) = Config::parse(text, Path::new("fuzzed.toml"), &[]) {
        let again = Config::parse(&config.to_toml(), Path::new("printed.toml"), &[]).unwrap();
        assert_eq!(config, again);
    }
    _ = Config::parse("", Path::new("x"), &[text.to_owned()]);
}

/// What every command does with a corpus that was read.
fn use_corpus(corpus: Result<Corpus>) {
    let Ok(corpus) = corpus else { return };
    for image in corpus.images() {
        assert!(!corpus.captions_of(image).is_empty() && corpus.find(corpus.id(image)) == Some(image));
        if let Some(photo @ Photo::Slice { .. }) = corpus.photo(image) {
            _ = photo.bytes();
        }
    }
    corpus.fingerprint();
}

fn use_tokenizer(folder: &Path) {
    if let Ok(tokens) = Tokens::load(folder) {
        _ = tokens.encode("a dog on a beach", 77);
    }
}

/// The first byte chooses the file of an index folder that the other bytes replace.
fn index(bytes: &[u8]) {
    const FILES: [&str; 5] = ["index.json", "docids.jsonl", "seconds.jsonl", "vectors.safetensors", MARKER];
    let (index, corpus) = sound_index();
    let Some((choice, content)) = bytes.split_first() else { return };
    let name = FILES[usize::from(*choice) % FILES.len()];
    replaced(index, name, content, |folder| {
        _ = DocidIndex::read(folder, corpus);
        _ = FolderMarker::read(folder);
    });
}

/// The first byte chooses the file of a checkpoint that the other bytes replace; a report is read too.
fn checkpoint(bytes: &[u8]) {
    const FILES: [&str; 6] = [
        "step-3/meta.json",
        "step-3/weights.safetensors",
        "step-3/optimizer.safetensors",
        "last",
        "best",
        "report.json",
    ];
    let Some((choice, content)) = bytes.split_first() else { return };
    let name = FILES[usize::from(*choice) % FILES.len()];
    replaced(sound_checkpoints(), name, content, |folder| {
        _ = Checkpoint::read(folder, Which::Best);
        _ = Checkpoint::resume(folder);
        _ = Report::read(&folder.join("report.json"));
    });
}

/// A segment of a search store whose checksums are right: its head as JSON, then its sections, separated by 0xFF bytes.
fn store(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0xFF);
    let head = parts.next().unwrap_or_default();
    let Ok(head) = serde_json::from_slice::<serde_json::Value>(head) else { return };
    let mut file = Vec::new();
    let mut writer = SectionWriter::new(&mut file);
    for (name, part) in SECTIONS.iter().zip(parts) {
        // A section of one 0xFE byte is missing.
        if part != [0xFE] {
            writer.section(name, 64, [part]).unwrap();
        }
    }
    let hash = writer.finish(&head).unwrap();
    in_file("segment.bin", &file, |path| {
        _ = Segment::open(path, &hash).and_then(|segment| use_segment(&segment))
    });
}

/// The sections of a segment in the order in which they are written.
const SECTIONS: [&str; 13] = [
    "bonuses",
    "codes",
    "constants",
    "file_ends",
    "files",
    "hashes",
    "lists",
    "name_ends",
    "names",
    "owners",
    "row_factors",
    "rows",
    "scales",
];

/// What a search and a change of the store do with a segment.
fn use_segment(segment: &Segment) -> Result<()> {
    for image in 0..segment.head().images {
        _ = (
            segment.name(image),
            segment.file(image),
            segment.hash(image),
            segment.row(image),
            segment.bonus(image),
        );
    }
    for docid in 0..segment.head().docids {
        _ = (segment.docid(docid), segment.owner(docid));
    }
    let lists = Lists::of(segment)?;
    let codes = segment.head().codes_per_level.iter().map(|codes| vec![0.5; (*codes).min(300)]);
    let excluded = ImageSet::of(segment.head().images, |image| image == 1);
    let mut best = Best::new(3);
    let scanned = Scanned { number: 0, segment, lists: &lists, excluded: &excluded };
    scanned.scan(&Tables::new(codes.collect()), 0, &mut best)?;
    _ = best.into_sorted();
    Ok(())
}

/// Calls `read` with a copy of a folder in which one file has another content.
fn replaced(sound: &[(PathBuf, Vec<u8>)], name: &str, content: &[u8], read: impl FnOnce(&Path)) {
    let folder = scratch().join("folder");
    for (path, bytes) in sound.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice())) {
        let path = folder.join(path);
        fs::create_dir_all(folder_of(&path)).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(folder.join(name), content).unwrap();
    read(&folder);
    fs::remove_dir_all(&folder).unwrap();
}

/// A folder's files by relative path.
type Files = Vec<(PathBuf, Vec<u8>)>;

fn files_of(folder: &Path) -> Files {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(each) = folders.pop() {
        for path in fs::read_dir(each).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    files.push((path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()))
                }
            }
        }
    }
    files
}

/// The files of an index of six images, and their corpus.
fn sound_index() -> &'static (Files, EmbeddedCorpus) {
    static SOUND: OnceLock<(Files, EmbeddedCorpus)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let corpus = small_corpus();
        let section = Config::parse("", Path::new("x"), &SMALL_INDEX.map(str::to_owned)).unwrap().index;
        let settings = dsi::index::Settings { index: &section, regime: Regime::Transductive, seed: 0 };
        let run = RunFolder::new(scratch().join("sound"));
        dsi::index::build(&settings, &corpus, &run, &Context::default()).unwrap();
        (files_of(&run.index()), corpus)
    })
}

const SMALL_INDEX: [&str; 8] = [
    "index.levels=2",
    "index.codes=3",
    "index.align_steps=1",
    "index.align_batch=4",
    "index.min_perplexity=0",
    "index.max_collisions=1",
    "index.min_survival=0",
    "encoder.kind=clip",
];

fn small_corpus() -> EmbeddedCorpus {
    let mut builder = Builder::new(Path::new("c"), "line", None);
    for n in 0..6 {
        let id = format!("{n}.png");
        let entry = Entry {
            file: id.clone().into(),
            id,
            split: Split::Train,
            captions: vec![format!("caption {n}")],
        };
        builder.push(n + 1, entry).unwrap();
    }
    let rows = |shift: usize| {
        let value = |n: usize| ((n * 7 + shift) % 11) as f32 - 5.0;
        Matrix::new(4, (0..24).map(value).collect()).normalized()
    };
    let encoder = Arc::new(PrecomputedFeatures::new(Embeddings { images: rows(0), captions: rows(3) }));
    let corpus = builder.build().unwrap();
    embed_corpus_with(encoder, corpus, Path::new("unused"), OnBadImage::Error, &Context::default()).unwrap()
}

/// The files of a folder of two checkpoints.
fn sound_checkpoints() -> &'static Files {
    static SOUND: OnceLock<Files> = OnceLock::new();
    SOUND.get_or_init(|| {
        let folder = scratch().join("sound-checkpoints");
        for step in [2, 3] {
            let tensor = candle_core::Tensor::new(&[step as f32], &candle_core::Device::Cpu).unwrap();
            let tensors = || [("x".to_owned(), tensor.clone())].into();
            let progress = Progress { step, best: Some((2, 0.5)), ..Progress::default() };
            Checkpoint { progress, weights: tensors(), optimizer: tensors() }.write(&folder, 2).unwrap();
        }
        files_of(&folder)
    })
}
