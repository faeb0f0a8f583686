//! The images of a training by the docids they have now, and everything that is made of docids. Where the encoder moves,
//! images are named anew from time to time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::joint::Sections;
use super::teacher::Teacher;
use crate::data::corpus::Split;
use crate::distributed::Comm;
use crate::docid::gates::GateReport;
use crate::docid::trie::Trie;
use crate::docid::{Docid, DocidSet};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::ids::{DocidRow, ImageIdx};
use crate::matrix::Matrix;
use crate::model::candidate_table::CandidateTable;
use crate::model::generative_model::GenerativeModel;
use crate::model::index_folder::DocidIndex;
use crate::model::share_encoding;
use crate::nn::tensors;
use crate::retriever::docid_search::DocidSearch;
use crate::retriever::generative::Generative;

/// What the optimiser's file of a checkpoint calls the docids, (images, levels).
const DOCIDS: &str = "docids";
/// The same of the rows that they were made of, (images, width).
const ROWS: &str = "images";

/// Docids, and what is made of them.
pub struct DocidState {
    index: DocidIndex,
    /// Aligned unit rows of all images by the encoder that named them.
    images: Arc<Matrix>,
    /// The docids with the offsets of their codes.
    pub candidate_table: Arc<CandidateTable>,
    /// What captions learn among: train images alone. Were val and test images candidates here, never once the
    /// right ones, the decoder would learn to avoid them.
    pub caption_teacher: Teacher,
    /// What images learn among: all that may be learnt by heart, each of them as often the right one.
    pub image_teacher: Teacher,
    /// The decoder alone over all images.
    pub validation: Generative,
    /// Perplexity of the codes, the mean over levels: how many are in use, as it were.
    pub perplexity: f64,
}

impl DocidState {
    /// Everything of an index; teachers go by `images`, the aligned unit rows of all of them.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(
        sections: &Sections,
        prepared: &EmbeddedCorpus,
        index: DocidIndex,
        images: Arc<Matrix>,
        dsi: &Arc<GenerativeModel>,
    ) -> Result<Self> {
        let (corpus, section) = (&prepared.corpus, sections.train);
        let teacher = |gallery: &[ImageIdx]| {
            let trie = Trie::over(&index.docids, gallery.iter().copied().map(DocidRow::of));
            Teacher::new(trie, &images, section.candidates, section.teacher_temperature)
        };
        let search = DocidSearch::new(Arc::clone(dsi), &index, sections.search, sections.decoder)?;
        let everything: Vec<ImageIdx> = corpus.images().collect();
        Ok(Self {
            candidate_table: Arc::clone(search.candidates()),
            caption_teacher: teacher(&corpus.images_in(Split::Train)),
            image_teacher: teacher(&corpus.memorised(section.regime)),
            validation: search.decoder_alone(&everything),
            perplexity: perplexity(&index.docids),
            index,
            images,
        })
    }

    /// The docids with what they were made with.
    pub fn index(&self) -> &DocidIndex {
        &self.index
    }

    /// The docids of these aligned unit rows, one an image, by the codebooks as they are; none where they would not be
    /// unique. With them, how many images have another one than before. Ranks share the work.
    pub fn reassigned(&self, images: &Matrix, beam: usize, comm: &Comm) -> Option<(DocidSet, usize)> {
        let books = self.index.codebooks.as_ref()?;
        let codes = share_encoding::encode_unique(books, images, beam, comm);
        let before = self.index.docids.iter().zip(&codes);
        let changed = before.filter(|(docid, codes)| docid.codes() != codes.as_slice()).count();
        let docids = codes.into_iter().map(Docid::new).collect();
        Some((DocidSet::new(docids, self.index.docids.codes_per_level().to_vec()).ok()?, changed))
    }

    /// The docids, and the rows that they were made of, as tensors for a checkpoint.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let docids = &self.index.docids;
        let codes: Vec<u32> = docids.iter().flat_map(|docid| docid.codes()).copied().collect();
        let codes = Tensor::from_vec(codes, (docids.images(), docids.levels()), &Device::Cpu)?;
        let rows = tensors::from_matrix(&self.images, &Device::Cpu)?;
        Ok([(DOCIDS.to_owned(), codes), (ROWS.to_owned(), rows)].into())
    }

    /// The rows that [`DocidState::state`] holds beside docids.
    ///
    /// # Errors
    /// When they are missing or those of other images; `origin` names the checkpoint.
    pub fn rows_of(&self, state: &mut BTreeMap<String, Tensor>, origin: &Path) -> Result<Matrix> {
        let dims = [self.images.rows(), self.images.width()];
        let rows = state.remove(ROWS).filter(|rows| rows.dims() == dims);
        let rows = rows.ok_or_else(|| {
            Error::file(
                origin,
                format!("it has no {} × {} rows of images; begin again with --force", dims[0], dims[1]),
            )
        })?;
        tensors::to_matrix(&rows)
    }
}

fn perplexity(docids: &DocidSet) -> f64 {
    let levels = GateReport::new(docids, docids.levels(), None).levels;
    levels.iter().map(|level| level.perplexity).sum::<f64>() / levels.len() as f64
}

/// Some bits of a hash of docids.
pub fn hash(docids: &DocidSet) -> u32 {
    let mut hasher = blake3::Hasher::new();
    docids.iter().flat_map(|docid| docid.codes()).for_each(|code| _ = hasher.update(&code.to_le_bytes()));
    hasher.finalize().as_bytes()[..3].iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte))
}

/// The index with the docids that tensors of a checkpoint hold; as it was, where they hold none.
///
/// # Errors
/// When they are those of another corpus or of other codebooks; `origin` names the checkpoint.
pub fn with_docids(
    mut index: DocidIndex,
    state: &mut BTreeMap<String, Tensor>,
    origin: &Path,
) -> Result<DocidIndex> {
    let Some(docids) = state.remove(DOCIDS) else { return Ok(index) };
    if docids.dims() != [index.docids.images(), index.docids.levels()] {
        let what = format!("its docids are of shape {:?}, and the index is another one", docids.dims());
        return Err(Error::file(origin, what));
    }
    let docids = docids.to_vec2::<u32>()?.into_iter().map(Docid::new).collect();
    let sizes = index.docids.codes_per_level().to_vec();
    index.docids = DocidSet::new(docids, sizes).map_err(|error| Error::file(origin, error.to_string()))?;
    Ok(index)
}
