//! The two kinds of queries.

/// The kind of a query, which is an input of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Modality {
    /// Text.
    Caption,
    /// A photo.
    Image,
}

impl Modality {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Caption, Self::Image];

    /// The row in tables with one entry per modality.
    pub fn row(self) -> usize {
        self as usize
    }
}
