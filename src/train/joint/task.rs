//! Joint training as a task of the engine: its losses, its parameters' groups, and the re-assignment of
//! docids.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Tensor;

use super::{JointTraining, memory_advice};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::checkpoint::ENCODER;
use crate::model::index_folder::DocidIndex;
use crate::nn::adamw::Group;
use crate::nn::params::Params;
use crate::train::docid_state::{self, DocidState};
use crate::train::objective::context::LossContext;
use crate::train::step_and_micro_batch::{MicroBatch, Step};
use crate::train::step_failure::MemoryAdvice;
use crate::train::step_loss::StepLoss;
use crate::train::task::{Task, Tensors, Validation};
use crate::train::trainable_encoder::TrainableEncoder;

/// What the names of the parameters of the grounding (W, α) begin with.
const GROUNDING: &str = "grounding.";

/// Parts of the names of the decoder's weights that do not decay: norms and embeddings.
const UNDECAYED: [&str; 4] = ["norm", "tokens", "positions", "modality"];

impl Task for JointTraining<'_> {
    fn params(&self) -> &Params {
        &self.params
    }

    /// Re-assigns docids if that is due.
    fn before_step(&mut self, step: Step) -> Result<()> {
        let every = self.settings.tune.reassign_every;
        let is_due = every > 0 && step.0 > 0 && step.0.is_multiple_of(every);
        if is_due { self.reassign_docids(step) } else { Ok(()) }
    }

    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss> {
        let queries = self.source.queries(batch)?;
        let context = LossContext {
            model: &self.model.generative,
            docids: &self.docids,
            source: &self.source,
            streams: &self.streams(),
        };
        let mut loss = self.objective.loss(batch, &queries, &context)?;
        if self.reassigns_docids() {
            loss.log("perplexity", Tensor::new(self.docids.perplexity as f32, &self.ctx.device)?);
        }
        Ok(loss)
    }

    fn blocks(&self) -> Vec<Vec<Tensor>> {
        self.source.encoder().map_or_else(Vec::new, TrainableEncoder::blocks)
    }

    /// The grounding (W, α) has a learning rate of its own and does not decay; nor do biases, norms and
    /// embeddings.
    fn group(&self, parameter: &str) -> Group {
        let train = self.settings.train;
        if let (Some(encoder), Some(name)) = (self.source.encoder(), parameter.strip_prefix(ENCODER)) {
            return encoder.group(name);
        }
        if parameter.starts_with(GROUNDING) {
            return Group { lr: train.grounding_lr, decay: 0.0 };
        }
        let decays = parameter.ends_with(".weight") && !UNDECAYED.iter().any(|part| parameter.contains(part));
        Group { lr: train.lr, decay: if decays { train.weight_decay } else { 0.0 } }
    }

    fn state(&self) -> Result<Tensors> {
        if self.reassigns_docids() { self.docids.state() } else { Ok(Tensors::new()) }
    }

    fn restore(&mut self, state: &mut Tensors, origin: &Path) -> Result<()> {
        if !self.reassigns_docids() {
            return Ok(());
        }
        let index = docid_state::with_docids(self.docids.index().clone(), state, origin)?;
        let images = self.docids.rows_of(state, origin)?;
        self.continue_with(index, images)
    }

    fn waited(&mut self) -> Duration {
        self.source.waited()
    }

    fn memory_advice(&self) -> Option<MemoryAdvice> {
        memory_advice::memory_advice(self.settings.train, self.settings.tune, self.ctx.comm.size())
    }

    fn part(&self, parameter: &str) -> &'static str {
        match (self.source.encoder(), parameter.strip_prefix(ENCODER)) {
            (Some(encoder), Some(name)) => encoder.part(name),
            _ if parameter.starts_with(GROUNDING) => "grounding",
            _ => "decoder",
        }
    }

    fn validate(&self) -> Result<Validation> {
        self.recall()
    }
}

impl JointTraining<'_> {
    fn reassigns_docids(&self) -> bool {
        self.settings.tune.reassign_every > 0
    }

    /// Gives all images new docids, from their rows by the encoder as it is now.
    fn reassign_docids(&mut self, Step(step): Step) -> Result<()> {
        let Some(images) = self.source.embed_gallery()? else { return Ok(()) };
        let images = self.docids.index().align.apply(Modality::Image, &images);
        let reassigned = self.docids.reassigned(&images, self.settings.encode_beam, &self.ctx.comm);
        let hash = reassigned.as_ref().map_or(0, |(docids, _)| docid_state::hash(docids));
        self.ctx.comm.agree("the docids of the images: do all hosts see the same photos?", hash)?;
        let index = self.docids.index().clone();
        let Some((docids, changed)) = reassigned else {
            tracing::warn!("step {step}: docids would no longer be unique; they stay as they are");
            return self.continue_with(index, images);
        };
        tracing::info!("step {step}: {changed} of {} images have another docid", docids.images());
        self.continue_with(DocidIndex { docids, ..index }, images)
    }

    /// Goes on with this index; the teachers compare queries with `images`, aligned unit rows.
    fn continue_with(&mut self, index: DocidIndex, images: Matrix) -> Result<()> {
        let images = Arc::new(images);
        self.docids = DocidState::new(&self.settings, self.prepared, index, images, &self.model.generative)?;
        Ok(())
    }
}
