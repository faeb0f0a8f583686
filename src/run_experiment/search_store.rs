//! The search store of a run, as its configuration wants it.

use candle_core::Device;

use super::{INDEX, prepare_trained, trained_parts};
use crate::config::Config;
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::Result;
use crate::eval::fit_rerank_weight;
use crate::modality::Modality;
use crate::model::index_folder::DocidIndex;
use crate::retriever::factory::prior_bonus;
use crate::run_folder::RunFolder;
use crate::searcher::encoder_ref::{EncoderRef, MadeWith};
use crate::searcher::stored_model::{ModelShape, SearchDefaults};
use crate::searcher::write_store::RunParts;
use crate::train::objective::MainLoss;

/// Writes the search store of a run: from then on it is searched without its corpus. `index` is that of the corpus, on
/// which a training may not have ended; then the store searches by reconstruction.
///
/// # Errors
/// As [`super::open`], and when the disk refuses.
pub fn write(
    config: &Config,
    prepared: &EmbeddedCorpus,
    index: Option<&DocidIndex>,
    run: &RunFolder,
) -> Result<()> {
    if !has_ended(config, run) {
        let index =
            index.map_or_else(|| DocidIndex::read(&run.index(), prepared), |index| Ok(index.clone()))?;
        let weight = config.search.rerank_weight;
        let parts = store_of(config, prepared, &index, (encoder_ref(config, prepared, false), weight));
        return if parts.can_be_searched() { parts.write(run) } else { Ok(()) };
    }
    // One rank does this alone. The embeddings of a trained encoder are cached since the run was measured.
    let tuned = config.tunes().then(|| prepare_trained(config, run, &Context::default())).transpose()?;
    let prepared = tuned.as_ref().unwrap_or(prepared);
    let (index, model) = trained_parts(config, prepared, run, &Device::Cpu)?;
    let search = &config.search;
    let weight = if search.fit_rerank { fit_rerank_weight::read(run)? } else { search.rerank_weight };
    let geometry =
        if index.codebooks.is_some() { search.geometry_in_nats(config.decoder.temperature) } else { 0.0 };
    let scoring = MainLoss::of(config.train.loss).scoring;
    let shape = ModelShape::new(&config.decoder, scoring, geometry, search.wildcard);
    let parts = store_of(config, prepared, &index, (encoder_ref(config, prepared, config.tunes()), weight));
    let bonus = prior_bonus(search, prepared, &index.align, &parts.images);
    RunParts { trained: Some((&model, shape)), bonus, ..parts }.write(run)
}

/// Whether the run's training has written all that a search needs of it.
fn has_ended(config: &Config, run: &RunFolder) -> bool {
    let has_index = !config.tunes() || DocidIndex::exists(&run.tuned().join(INDEX));
    run.checkpoints().exists() && has_index && (!config.search.fit_rerank || run.fitted().exists())
}

fn store_of<'a>(
    config: &Config,
    prepared: &'a EmbeddedCorpus,
    index: &'a DocidIndex,
    (encoder, rerank_weight): (EncoderRef, f64),
) -> RunParts<'a> {
    let search = &config.search;
    let defaults = SearchDefaults {
        k: search.k,
        candidates: search.beam,
        probes: search.probes,
        rerank: search.rerank,
        rerank_weight: rerank_weight as f32,
        mirrored: search.mirrored,
    };
    RunParts {
        prepared,
        images: index.align.apply(Modality::Image, &prepared.embeddings.images),
        index,
        trained: None,
        encoder,
        search: defaults,
        bonus: Vec::new(),
        rows: search.rows,
    }
}

/// Where the encoder of a run is found again.
fn encoder_ref(config: &Config, prepared: &EmbeddedCorpus, tuned: bool) -> EncoderRef {
    if prepared.encoder.corpus_rows().is_some() {
        return EncoderRef::Vectors;
    }
    let fingerprint = prepared.encoder.fingerprint().to_owned();
    let made_with = MadeWith { batch: config.encoder.batch, fingerprint };
    if tuned {
        return EncoderRef::Tuned(made_with);
    }
    EncoderRef::clip(&config.encoder.path, &config.encoder.revision, made_with)
}
