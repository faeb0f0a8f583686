//! Building an index: align the embeddings, give every image a docid, and check the figures before anything
//! is trained on them.
//!
//! | step | module |
//! |---|---|
//! | align captions and images | [`train_alignment`] |
//! | give docids by the configured family | [`crate::docid::families`], with [`train_codebooks`] |
//! | measure and check the gates | [`measure_gates`], shown by [`gate_table`] |
//! | further docids from captions | [`make_extra_docids`] |
//! | an adapter for image queries | [`train_query_adapter`] |
//!
//! Errors: tensor operations fail only when the device does; training also fails when a gradient is not
//! finite.

pub mod aligned_corpus;
mod codebook_tools;
pub mod gate_table;
pub mod make_extra_docids;
pub mod measure_gates;
pub mod settings;
pub mod train_alignment;
pub mod train_codebooks;
pub mod train_query_adapter;

use std::path::Path;

use self::aligned_corpus::AlignedCorpus;
use self::codebook_tools::SharedTools;
use crate::context::Context;
use crate::data::photo_record::PhotoRecord;
use crate::data::settings::Regime;
use crate::docid::families::{FamilyInput, FamilyOutput, FamilySettings};
use crate::docid::gates::GateReport;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::encoder::view_embeddings::ViewEmbeddings;
use crate::error::Result;
use crate::index::settings::Index;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::model::index_folder::{DocidIndex, IndexMeta};
use crate::model::query_adapter::QueryAdapter;
use crate::run_folder::RunFolder;

/// What an index is built with.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The section `[index]`.
    pub index: &'a Index,
    /// Which images the adapter of image queries may learn.
    pub regime: Regime,
    /// The seed of all random streams.
    pub seed: u64,
}

/// The index of a run: read if the run has one, otherwise built, checked and written. All ranks get the same.
///
/// # Errors
/// When the index on disk belongs to another corpus or encoder, or the built one fails its gates.
pub fn open(
    settings: &Settings,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    ctx: &Context,
) -> Result<DocidIndex> {
    // The first rank decides for all: it may just have removed an old run.
    if ctx.comm.broadcast(f64::from(DocidIndex::exists(&run.index()))) > 0.0 {
        return DocidIndex::read(&run.index(), prepared);
    }
    build(settings, prepared, run, ctx)
}

/// Makes the index and writes it. All ranks get the same.
///
/// # Errors
/// As [`make`], and when the disk refuses.
pub fn build(
    settings: &Settings,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    ctx: &Context,
) -> Result<DocidIndex> {
    let made = make(settings, prepared, ctx)?;
    made.iter().try_for_each(|index| write(index, prepared, &run.index()))?;
    ctx.comm.barrier();
    made.map_or_else(|| DocidIndex::read(&run.index(), prepared), Ok)
}

/// Writes an index, and the photos that it was made of.
///
/// # Errors
/// When the disk refuses.
pub fn write(index: &DocidIndex, prepared: &EmbeddedCorpus, folder: &Path) -> Result<()> {
    if prepared.has_photos() {
        PhotoRecord::write(folder, &prepared.corpus, &prepared.photos)?;
    }
    index.write(folder, &prepared.corpus)
}

/// Makes the index and logs its figures. The first rank does so, except for work that grows with the number of
/// images: each rank embeds the second views of a share of the photos and finds the codes of a share of the
/// images. Only the first rank gets the index.
///
/// # Errors
/// When the index fails its gates: each with its figure and the remedy.
pub fn make(settings: &Settings, prepared: &EmbeddedCorpus, ctx: &Context) -> Result<Option<DocidIndex>> {
    let pairs = prepared.corpus.train_pairs();
    let align = train_alignment::broadcast(settings, &prepared.embeddings, &pairs, ctx)?;
    let aligned = AlignedCorpus::new(prepared, &align);
    let count = settings.index.views;
    let views = (count > 0).then(|| ViewEmbeddings::embed(prepared, count, ctx)).transpose()?;
    let made = assign_docids(settings, &aligned, ctx)?;
    if !ctx.comm.is_first() {
        return Ok(None);
    }
    let gates = checked_gates(settings.index, &aligned, &made)?;
    let seconds = made
        .codebooks
        .as_ref()
        .map(|books| make_extra_docids::make_extra_docids(settings.index, &aligned, &made.docids, books));
    let adapter = views.map(|views| adapter(settings, &aligned, &align, views, ctx)).transpose()?;
    Ok(Some(DocidIndex {
        meta: meta(settings.index, prepared, &made, gates),
        docids: made.docids,
        seconds: seconds.unwrap_or_default(),
        codebooks: made.codebooks,
        align: align.clone().with_adapter(adapter),
    }))
}

/// Gives every image its docid by the configured family.
fn assign_docids(settings: &Settings, aligned: &AlignedCorpus, ctx: &Context) -> Result<FamilyOutput> {
    let Settings { index, .. } = settings;
    let family_settings = FamilySettings {
        codebook_sizes: index.sizes(),
        codes: index.codes,
        iterations: index.iterations,
        encode_beam: index.encode_beam,
    };
    let input = FamilyInput {
        settings: &family_settings,
        seed: settings.seed,
        images: &aligned.images,
        train_images: &aligned.train_images(),
        train_captions: &aligned.train_captions(),
        captions: &|positions| aligned.captions(positions),
        tools: &SharedTools { settings: index, ctx },
    };
    index.family.assign(&input)
}

/// The figures of the docids, which are logged and must pass the gates.
fn checked_gates(settings: &Index, aligned: &AlignedCorpus, made: &FamilyOutput) -> Result<GateReport> {
    let gates = measure_gates::measure(settings, aligned, made);
    tracing::info!("index {}:\n{}", settings.family, gate_table::table(&gates));
    if let Some(sentence) = gates.near_chance() {
        tracing::warn!("{sentence}");
    }
    measure_gates::check(settings, &gates)?;
    Ok(gates)
}

fn meta(settings: &Index, prepared: &EmbeddedCorpus, made: &FamilyOutput, gates: GateReport) -> IndexMeta {
    let (corpus, encoder) = (prepared.corpus.fingerprint(), prepared.encoder.fingerprint().to_owned());
    IndexMeta::new(settings.family, &made.docids, corpus, encoder, gates, settings.views > 0)
}

/// The adapter that maps second views of photos to the photos.
fn adapter(
    settings: &Settings,
    aligned: &AlignedCorpus,
    align: &Alignment,
    views: ViewEmbeddings,
    ctx: &Context,
) -> Result<QueryAdapter> {
    let learnt = aligned.corpus.memorised(settings.regime);
    let views = views.mapped(|rows| Ok(align.apply(Modality::Image, rows)))?;
    train_query_adapter::learn(settings.index, &aligned.images, &views, &learnt, settings.seed, ctx)
}
