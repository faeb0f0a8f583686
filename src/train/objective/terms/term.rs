//! One term of the loss, and what a micro-batch gives it to compute its value from.
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::Tensor;

use crate::error::Result;
use crate::train::step_loss::TermValue;

/// A term that is added to the main one with a weight.
pub trait Term {
    /// Its name in the log.
    fn name(&self) -> &'static str;

    /// Its value on a micro-batch; `None` if the micro-batch has nothing that the term is computed from.
    ///
    /// # Errors
    /// When data cannot be read.
    fn value(&self, inputs: &mut TermInputs) -> Result<Option<TermValue>>;
}

/// A micro-batch after the forward pass: what terms are computed from.
pub struct TermInputs<'a> {
    /// Step scores of the candidates: (query, candidate, level). Caption queries come first, then image
    /// queries; the gold image is the first candidate.
    pub scores: Tensor,
    /// 0 or −10⁹, of the shape of `scores`: see
    /// [`PrefixTargets::hidden`](crate::train::objective::prefix_targets::PrefixTargets::hidden).
    pub hidden: Tensor,
    /// The target distribution, of the shape of `scores`: see
    /// [`PrefixTargets::mass`](crate::train::objective::prefix_targets::PrefixTargets::mass).
    pub mass: Tensor,
    /// Caption queries of this rank.
    pub captions: usize,
    /// Caption queries of all ranks.
    pub captions_of_all_ranks: usize,
    /// Further values, which are computed when a term asks for them.
    pub extras: Box<dyn Extras + 'a>,
}

/// Values of a micro-batch that cost a forward pass of their own.
pub trait Extras {
    /// Step scores of the caption queries' candidates under another caption of the same image:
    /// (caption query, candidate, level).
    fn sibling_scores(&mut self) -> Result<Tensor>;

    /// CLIP's contrastive loss on the pairs of the micro-batch; `None` if no encoder is trained.
    fn contrastive_loss(&mut self) -> Result<Option<Tensor>>;
}
