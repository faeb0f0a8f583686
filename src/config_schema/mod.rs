//! How configuration keys are declared: one line a key, from which everything else about the key follows.
//!
//! A module declares the section it works with by `section!`, each closed set of words by `choice!`, and a
//! set of words that names the entries of a table by `named_entry_choice!`:
//!
//! ```text
//! section! {
//!     /// `[decoder]`: the shape of the decoder and its start.
//!     Decoder affects(weights, settings) {
//!         /// Width d of the decoder; `heads` divides it.
//!         width: usize = 128 in 8..=8192;
//!         /// Attention heads.
//!         heads: usize = 4 in HEADS, affects(weights);
//!     }
//! }
//! ```
//!
//! A line holds the type, the default, the allowed range and the [`Effect`]s of the key; without `affects`
//! the key has those of its section. The line makes a public field, its default, and a [`Key`]: the rule that
//! values are checked against, the text of a refusal, the entry of the reference that `dsi config` prints,
//! and the key's place in the lists of what may change between two uses of a run.

mod allowed;
mod choice;
mod effect;
mod named_entry_choice;
mod section;
pub mod shared_limits;

pub use allowed::Allowed;
pub(crate) use choice::choice;
pub use effect::Effect;
pub(crate) use effect::effects;
pub(crate) use named_entry_choice::named_entry_choice;
pub(crate) use section::section;
pub use section::{Literal, Section, Setting, keys_of};

/// One key of a configuration file.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name, after its section and a dot where it has one: `decoder.width`.
    pub name: String,
    /// The values it takes.
    pub allowed: Allowed,
    /// What changes with it.
    pub affects: &'static [Effect],
    /// What it is, in a sentence or two.
    pub about: String,
}

impl Key {
    /// This key as one of the section `name`.
    pub fn in_section(self, name: &str) -> Self {
        Self { name: format!("{name}.{}", self.name), ..self }
    }
}

/// The lines of a doc comment as one line of text.
pub fn text_of(doc_lines: &[&str]) -> String {
    doc_lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
