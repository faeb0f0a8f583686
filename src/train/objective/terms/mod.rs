//! The loss terms that are added to the main one, a file each, with their keys in `[train]`.
//!
//! # How to add a loss term
//!
//! 1. Write `src/train/objective/terms/NAME.rs`, with the formula at its top: a struct that holds the term's
//!    settings and implements [`Term`]. Its value is computed from [`TermInputs`](term::TermInputs) and says
//!    how ranks average it ([`Averaging`](crate::train::step_loss::Averaging)).
//! 2. Here, add `pub mod NAME;`, the key of its weight in [`LossTerms`], and its line in
//!    [`LossTerms::weighted`].
//!
//! The key is then in `dsi config`, the log has the term's value under its name (not weighted), and it is
//! refused together with losses that have no such terms. A term from outside the library is added by
//! [`JointTraining::with_term`](crate::train::joint::JointTraining::with_term);
//! `tests/it/how_to_add/loss_term.rs` is an example.

pub mod caption_consistency;
pub mod contrastive;
pub mod margin;
pub mod term;

use self::caption_consistency::Consistency;
use self::margin::Margin;
use self::term::Term;
use crate::config_schema::section;
use crate::nn::weight_schedule::WeightSchedule;

section! {
    /// The weights and settings of the terms that are added to the listwise loss.
    LossTerms affects(weights, settings) {
        /// Weight of the margin loss, which is added to the listwise one and puts the gold prefix of each
        /// level above every other by `margin_size`. A number, or numbers at steps ("0:0 100:0.5").
        margin: WeightSchedule = 0.0;
        /// That margin in nats.
        margin_size: f64 = 1.0 in 0.0..=1000.0;
        /// Weight of the consistency between two captions of an image, added to the listwise loss. A number,
        /// or numbers at steps.
        consistency: WeightSchedule = 0.0;
    }
}

/// A term with its weight over the steps.
pub type WeightedTerm = (WeightSchedule, Box<dyn Term>);

impl LossTerms {
    /// The terms with their weights, in the order in which they are added. The key of a weight has the term's
    /// name.
    pub fn weighted(&self) -> Vec<WeightedTerm> {
        vec![
            (self.margin.clone(), Box::new(Margin { size: self.margin_size })),
            (self.consistency.clone(), Box::new(Consistency)),
        ]
    }
}
