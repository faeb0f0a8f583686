//! The index: the docids of a corpus, what they were made with, and the gates they passed.
//!
//! On disk a folder: `index.json` (version, family, figures), `docids.jsonl` (an image a line, to be read by
//! people too), `seconds.jsonl` (further docids, where there are any), `vectors.safetensors` (alignment and codebooks).

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::alignment::{Alignment, SideMap};
use super::extra_docids::{self, ExtraDocid};
use super::query_adapter::QueryAdapter;
use crate::config::Family;
use crate::data::corpus::Corpus;
use crate::docid::gates::GateReport;
use crate::docid::rq::Codebooks;
use crate::docid::{Docid, DocidSet};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::ImageIdx;
use crate::modality::Modality;
use crate::nn::tensors;

const VERSION: u64 = 1;
const META: &str = "index.json";
const DOCIDS: &str = "docids.jsonl";
const SECONDS: &str = "seconds.jsonl";
const VECTORS: &str = "vectors.safetensors";
/// What the names of the adapter's tensors begin with.
const ADAPTER: &str = "adapter.";

/// Everything between an encoder and a decoder.
#[derive(Debug, Clone)]
pub struct DocidIndex {
    /// What the index is about.
    pub meta: IndexMeta,
    /// One docid an image of the corpus.
    pub docids: DocidSet,
    /// Further docids, of some of the images.
    pub seconds: Vec<ExtraDocid>,
    /// The codebooks, where the family has them.
    pub codebooks: Option<Codebooks>,
    /// What queries and images go through before they meet the codebooks.
    pub align: Alignment,
}

/// What an index was made of, and how well.
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
    /// The current version of the format.
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
    /// The same docids for another encoder, which keeps images and captions where their docids are.
    pub fn of_encoder(mut self, fingerprint: String) -> Self {
        self.meta.encoder = fingerprint;
        self
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    image: String,
    docid: Docid,
}

impl DocidIndex {
    /// Writes the folder; `index.json` comes last and vouches for the rest.
    ///
    /// # Errors
    /// When the disk refuses.
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
        let mut vectors = BTreeMap::new();
        for modality in Modality::ALL {
            let (mean, map) = align_names(modality);
            vectors.insert(mean, tensors::from_matrix(&self.align.side(modality).mean, &Device::Cpu)?);
            vectors.insert(map, tensors::from_matrix(&self.align.side(modality).map, &Device::Cpu)?);
        }
        for (level, book) in self.codebooks.iter().flat_map(|books| books.levels().iter().enumerate()) {
            vectors.insert(book_name(level), tensors::from_matrix(book, &Device::Cpu)?);
        }
        for (name, tensor) in self.align.adapter().iter().flat_map(|adapter| adapter.params().iter()) {
            vectors.insert(format!("{ADAPTER}{name}"), tensor.clone());
        }
        tensors::write(&folder.join(VECTORS), &vectors)?;
        let path = folder.join(META);
        let json = serde_json::to_string_pretty(&self.meta).map_err(|e| Error::file(&path, e.to_string()))?;
        file_io::write_atomic(&path, |out| writeln!(out, "{json}"))
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
        let (corpus, width) = (&prepared.corpus, prepared.embeddings.images.width());
        let meta = read_meta(&folder.join(META))?;
        let remedy =
            "use the configuration it was made with, or make it again with dsi index --out RUN --force";
        for (what, ours, theirs) in [
            ("corpus", corpus.fingerprint(), &meta.corpus),
            ("encoder", prepared.encoder.fingerprint().to_owned(), &meta.encoder),
        ] {
            if ours != *theirs {
                return Err(Error::file(folder, format!("is the index of another {what}; {remedy}")));
            }
        }
        let docids = read_docids(&folder.join(DOCIDS), corpus, &meta)?;
        let path = folder.join(SECONDS);
        let seconds = if path.exists() { extra_docids::read(&path, corpus)? } else { Vec::new() };
        let path = folder.join(VECTORS);
        let mut vectors = tensors::read(&path)?;
        let mut take = |name: String, rows: Option<usize>| {
            let missing = || Error::file(&path, format!("tensor {name} is missing"));
            let matrix = tensors::to_matrix(&vectors.remove(&name).ok_or_else(missing)?)?;
            if matrix.width() == width && rows.is_none_or(|rows| rows == matrix.rows()) {
                return Ok(matrix);
            }
            let (rows, own) = (matrix.rows(), matrix.width());
            Err(Error::file(
                &path,
                format!("tensor {name} is {rows} × {own}, and embeddings here are {width} wide"),
            ))
        };
        let [caption, image] = Modality::ALL.map(|modality| {
            let (mean, map) = align_names(modality);
            Ok::<_, Error>(SideMap { mean: take(mean, Some(1))?, map: take(map, Some(width))? })
        });
        let levels = if meta.family.has_codebooks() {
            meta.codes_per_level.len() - usize::from(meta.gates.suffix)
        } else {
            0
        };
        let books = (0..levels).map(|level| take(book_name(level), None)).collect::<Result<Vec<_>>>()?;
        let codebooks = if books.is_empty() { None } else { Some(Codebooks::new(books)?) };
        let adapter = meta.adapter.then(|| adapter(vectors, width, &path)).transpose()?;
        let align = Alignment::new(caption?, image?).with_adapter(adapter);
        Ok(Self { align, codebooks, docids, seconds, meta })
    }
}

/// The names of μ and A.
fn align_names(modality: Modality) -> (String, String) {
    let side = match modality {
        Modality::Caption => "caption",
        Modality::Image => "image",
    };
    (format!("align.{side}.mean"), format!("align.{side}.map"))
}

/// The adapter of the tensors that are named as its own.
fn adapter(vectors: BTreeMap<String, Tensor>, width: usize, path: &Path) -> Result<QueryAdapter> {
    let own = |(name, tensor): (String, Tensor)| Some((name.strip_prefix(ADAPTER)?.to_owned(), tensor));
    QueryAdapter::loaded(vectors.into_iter().filter_map(own).collect(), width, path)
}

fn book_name(level: usize) -> String {
    format!("codebook.{level}")
}

fn read_meta(path: &Path) -> Result<IndexMeta> {
    let text = file_io::read_text(path, 1 << 20)?;
    let broken =
        |error: serde_json::Error| Error::file(path, format!("is not an index's description: {error}"));
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
            return Err(Error::line(
                path,
                number,
                format!("image {} is not the corpus's next one", line.image),
            ));
        }
        docids.push(line.docid);
    }
    if docids.len() != corpus.len() {
        return Err(Error::file(
            path,
            format!("names {} images, the corpus has {}", docids.len(), corpus.len()),
        ));
    }
    DocidSet::new(docids, meta.codes_per_level.clone()).map_err(|error| Error::file(path, error.to_string()))
}
