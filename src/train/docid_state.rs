//! The docids of the images during a training, and everything that follows from them: candidates, teachers,
//! the search that validates. With `tune.reassign_every` images get new docids from time to time, because the
//! encoder moves.
//!
//! Errors: tensor operations fail only when the device does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::joint_settings::JointSettings;
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
use crate::model::encode_across_ranks;
use crate::model::generative_model::GenerativeModel;
use crate::model::index_folder::DocidIndex;
use crate::model::lookahead::Lookahead;
use crate::nn::tensors;
use crate::retriever::docid_search_parts::DocidSearch;
use crate::retriever::generative::Generative;

/// The name of the docids (image, level) in the optimiser's file of a checkpoint.
const DOCIDS: &str = "docids";
/// The name of the rows (image, width) that the docids were made of, in the same file.
const ROWS: &str = "images";

/// The docids, and what follows from them.
pub struct DocidState {
    index: DocidIndex,
    /// Aligned unit rows of all images, by the encoder that the docids were made with.
    images: Arc<Matrix>,
    /// The docids with the offsets of their codes.
    pub candidate_table: Arc<CandidateTable>,
    /// The teacher of caption queries, over train images alone. If val and test images were candidates here,
    /// which are never the right ones, the decoder would learn to avoid them.
    pub caption_teacher: Teacher,
    /// The teacher of image queries, over all images that training memorises: each is the target equally
    /// often.
    pub image_teacher: Teacher,
    /// Beam search by the decoder alone over all images.
    pub validation: Generative,
    /// Perplexity of the codes, averaged over levels: the effective number of codes in use.
    pub perplexity: f64,
}

impl DocidState {
    /// The state for the docids of an index. Teachers compare queries with `images`, the aligned unit rows of
    /// all images.
    ///
    /// # Errors
    /// When further docids of the index are not unique.
    pub fn new(
        settings: &JointSettings,
        prepared: &EmbeddedCorpus,
        index: DocidIndex,
        images: Arc<Matrix>,
        model: &Arc<GenerativeModel>,
    ) -> Result<Self> {
        let (corpus, train) = (&prepared.corpus, settings.train);
        let search = DocidSearch::new(Arc::clone(model), &index, settings.search, settings.decoder)?;
        let all_images: Vec<ImageIdx> = corpus.images().collect();
        Ok(Self {
            candidate_table: Arc::clone(search.candidates()),
            caption_teacher: teacher(settings, &search, &index, &images, &corpus.images_in(Split::Train)),
            image_teacher: teacher(settings, &search, &index, &images, &corpus.memorised(train.regime)),
            validation: search.decoder_alone(&all_images),
            perplexity: perplexity(&index.docids),
            index,
            images,
        })
    }

    /// The index: docids, codebooks and alignment.
    pub fn index(&self) -> &DocidIndex {
        &self.index
    }

    /// New docids from aligned unit rows of all images, by the codebooks as they are, and the number of
    /// images whose docid changes. `None` if the new docids would not be unique. Ranks share the work.
    pub fn reassigned(&self, images: &Matrix, beam: usize, comm: &Comm) -> Option<(DocidSet, usize)> {
        let books = self.index.codebooks.as_ref()?;
        let codes = encode_across_ranks::encode_unique(books, images, beam, comm);
        let before = self.index.docids.iter().zip(&codes);
        let changed = before.filter(|(docid, codes)| docid.codes() != codes.as_slice()).count();
        let docids = codes.into_iter().map(Docid::new).collect();
        Some((DocidSet::new(docids, self.index.docids.codes_per_level().to_vec()).ok()?, changed))
    }

    /// The docids and the rows that they were made of, as tensors for a checkpoint.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let docids = &self.index.docids;
        let codes: Vec<u32> = docids.iter().flat_map(|docid| docid.codes()).copied().collect();
        let codes = Tensor::from_vec(codes, (docids.images(), docids.levels()), &Device::Cpu)?;
        let rows = tensors::from_matrix(&self.images, &Device::Cpu)?;
        Ok([(DOCIDS.to_owned(), codes), (ROWS.to_owned(), rows)].into())
    }

    /// Takes the rows out of [`DocidState::state`]; `origin` names the checkpoint in errors.
    ///
    /// # Errors
    /// When the rows are missing or have another shape.
    pub fn rows_of(&self, state: &mut BTreeMap<String, Tensor>, origin: &Path) -> Result<Matrix> {
        let dims = [self.images.rows(), self.images.width()];
        let rows = state.remove(ROWS).filter(|rows| rows.dims() == dims);
        let rows = rows.ok_or_else(|| {
            Error::file(
                origin,
                format!("it has no {} × {} rows of images; train another run (--out)", dims[0], dims[1]),
            )
        })?;
        tensors::to_matrix(&rows)
    }
}

/// A teacher over the images of a gallery; `images` has an aligned unit row for every image of the corpus.
fn teacher(
    settings: &JointSettings,
    search: &DocidSearch,
    index: &DocidIndex,
    images: &Matrix,
    gallery: &[ImageIdx],
) -> Teacher {
    let train = settings.train;
    let trie = Trie::over(&index.docids, gallery.iter().copied().map(DocidRow::of));
    let teacher = Teacher::new(trie, images, train.candidates, train.teacher_temperature);
    if train.beam_negatives > 0 && Lookahead::is_enabled(settings.search.lookahead, settings.decoder) {
        return teacher.with_lookahead(search.candidates());
    }
    teacher
}

fn perplexity(docids: &DocidSet) -> f64 {
    let levels = GateReport::new(docids, docids.levels(), None).levels;
    levels.iter().map(|level| level.perplexity).sum::<f64>() / levels.len() as f64
}

/// 24 bits of a hash of docids, which ranks compare.
pub fn hash(docids: &DocidSet) -> u32 {
    let mut hasher = blake3::Hasher::new();
    docids.iter().flat_map(|docid| docid.codes()).for_each(|code| _ = hasher.update(&code.to_le_bytes()));
    hasher.finalize().as_bytes()[..3].iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte))
}

/// The index with the docids of a checkpoint's tensors; unchanged if these have none. `origin` names the
/// checkpoint in errors.
///
/// # Errors
/// When the docids have another shape, or are not unique.
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
