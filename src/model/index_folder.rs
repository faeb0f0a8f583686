//! The index: the docids of a corpus, what made them, and the gates that they passed.
//!
//! On disk it is a folder: `index.json` (version, family, figures), `docids.jsonl` (a line an image, readable
//! by people), `seconds.jsonl` (extra docids, if any), `vectors.safetensors` (alignment and codebooks).

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::alignment::Alignment;
use super::extra_docids::{self, ExtraDocid};
use super::index_vectors::{Vectors, to_tensors};
use crate::data::corpus::Corpus;
use crate::docid::families::Family;
use crate::docid::gates::GateReport;
use crate::docid::rq::Codebooks;
use crate::docid::{Docid, DocidSet};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::ImageIdx;
use crate::nn::tensors;

const VERSION: u64 = 1;
const META: &str = "index.json";
const DOCIDS: &str = "docids.jsonl";
const SECONDS: &str = "seconds.jsonl";
const VECTORS: &str = "vectors.safetensors";

/// Everything between an encoder and a decoder: the alignment, the codebooks and the docids.
#[derive(Debug, Clone)]
pub struct DocidIndex {
    /// What the index was made from, and its figures.
    pub meta: IndexMeta,
    /// One docid for each image of the corpus.
    pub docids: DocidSet,
    /// Extra docids of some of the images.
    pub seconds: Vec<ExtraDocid>,
    /// The codebooks, if the family has some.
    pub codebooks: Option<Codebooks>,
    /// The map of queries and images into the space of the codebooks.
    pub align: Alignment,
}

/// What an index was made from, and its figures: `index.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexMeta {
    version: u64,
    /// The docid family.
    pub family: Family,
    /// Codes at each level.
    pub codes_per_level: Vec<usize>,
    /// [`Corpus::fingerprint`].
    pub corpus: String,
    /// Hash of the encoder.
    pub encoder: String,
    /// The figures of the gates.
    pub gates: GateReport,
    /// Whether image queries go through an adapter.
    #[serde(default)]
    pub adapter: bool,
}

impl IndexMeta {
    /// A description in the current version of the format.
    pub fn new(
        family: Family,
        docids: &DocidSet,
        corpus: String,
        encoder: String,
        gates: GateReport,
        adapter: bool,
    ) -> Self {
        Self {
            version: VERSION,
            family,
            codes_per_level: docids.codes_per_level().to_vec(),
            corpus,
            encoder,
            gates,
            adapter,
        }
    }
}

impl DocidIndex {
    /// The same docids for another encoder, whose embeddings they fit as well.
    pub fn of_encoder(mut self, fingerprint: String) -> Self {
        self.meta.encoder = fingerprint;
        self
    }
}

/// A line of `docids.jsonl`.
#[derive(Serialize, Deserialize)]
struct Line {
    image: String,
    docid: Docid,
}

impl DocidIndex {
    /// Writes the folder. `index.json` comes last: an index with it is whole.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, corpus: &Corpus) -> Result<()> {
        file_io::write_atomic(&folder.join(DOCIDS), |out| {
            for (image, docid) in corpus.images().zip(self.docids.iter()) {
                let line = Line { image: corpus.id(image).to_owned(), docid: docid.clone() };
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
            Ok(())
        })?;
        if !self.seconds.is_empty() {
            extra_docids::write(&folder.join(SECONDS), &self.seconds, corpus)?;
        }
        tensors::write(&folder.join(VECTORS), &to_tensors(&self.align, self.codebooks.as_ref())?)?;
        file_io::write_json(&folder.join(META), &self.meta)
    }

    /// Whether weights that were trained with one of them fit the other: both give the same images the same docids, in
    /// the same space.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let values = |index: &Self| -> Option<BTreeMap<String, Vec<f32>>> {
            let flat =
                |(name, tensor): (String, Tensor)| Some((name, tensor.flatten_all().ok()?.to_vec1().ok()?));
            to_tensors(&index.align, index.codebooks.as_ref()).ok()?.into_iter().map(flat).collect()
        };
        let docids = |index: &Self| index.docids.iter().cloned().collect::<Vec<Docid>>();
        let sources = |index: &Self| (index.meta.corpus.clone(), index.meta.encoder.clone());
        sources(self) == sources(other) && docids(self) == docids(other) && values(self) == values(other)
    }

    /// Whether a whole index lies in the folder.
    pub fn exists(folder: &Path) -> bool {
        folder.join(META).exists()
    }

    /// Reads the folder, for the corpus and the encoder of these embeddings.
    ///
    /// # Errors
    /// When a file is missing or broken, of another version, or made for another corpus or encoder.
    pub fn read(folder: &Path, prepared: &EmbeddedCorpus) -> Result<Self> {
        let corpus = &prepared.corpus;
        let meta = read_meta(&folder.join(META))?;
        check_origin(&meta, prepared, folder)?;
        let docids = read_docids(&folder.join(DOCIDS), corpus, &meta)?;
        let path = folder.join(SECONDS);
        let seconds = if path.exists() { extra_docids::read(&path, corpus)? } else { Vec::new() };
        let path = folder.join(VECTORS);
        let vectors = Vectors::of(tensors::read(&path)?, path, prepared.embeddings.images.width());
        let (align, codebooks) = vectors.into_parts(meta.codebooks(), meta.adapter)?;
        Ok(Self { align, codebooks, docids, seconds, meta })
    }
}

impl IndexMeta {
    /// Number of levels with a codebook.
    fn codebooks(&self) -> usize {
        let levels = self.codes_per_level.len() - usize::from(self.gates.suffix);
        if self.family.has_codebooks() { levels } else { 0 }
    }
}

/// Refuses an index of another corpus or encoder.
fn check_origin(meta: &IndexMeta, prepared: &EmbeddedCorpus, folder: &Path) -> Result<()> {
    let remedy = "use the corpus and the encoder it was made with, or make another run (--out)";
    for (what, ours, theirs) in [
        ("corpus", prepared.corpus.fingerprint().as_str(), &meta.corpus),
        ("encoder", prepared.encoder.fingerprint(), &meta.encoder),
    ] {
        if ours != theirs {
            return Err(Error::file(folder, format!("is the index of another {what}; {remedy}")));
        }
    }
    Ok(())
}

fn read_meta(path: &Path) -> Result<IndexMeta> {
    let text = file_io::read_text(path, 1 << 20)?;
    let broken = |error: serde_json::Error| Error::file(path, format!("does not describe an index: {error}"));
    let value: serde_json::Value = serde_json::from_str(&text).map_err(broken)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(VERSION) => serde_json::from_value(value).map_err(broken),
        found => {
            let found = found.map_or("no format version".to_owned(), |v| format!("format version {v}"));
            Err(Error::file(path, format!("has {found}; this program reads version {VERSION}")))
        }
    }
}

fn read_docids(path: &Path, corpus: &Corpus, meta: &IndexMeta) -> Result<DocidSet> {
    let text = file_io::read_text(path, 1 << 32)?;
    let mut docids = Vec::with_capacity(corpus.len());
    for (number, line) in (1..).zip(text.lines()) {
        let line: Line = serde_json::from_str(line).map_err(|e| Error::line(path, number, e.to_string()))?;
        if corpus.find(&line.image) != Some(ImageIdx::from(docids.len())) {
            let what = format!("image {} is not the next one of the corpus", line.image);
            return Err(Error::line(path, number, what));
        }
        docids.push(line.docid);
    }
    if docids.len() != corpus.len() {
        let what = format!("names {} images, the corpus has {}", docids.len(), corpus.len());
        return Err(Error::file(path, what));
    }
    DocidSet::new(docids, meta.codes_per_level.clone()).map_err(|error| Error::file(path, error.to_string()))
}
