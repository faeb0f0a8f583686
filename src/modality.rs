//! What a query is made of.

/// A caption or a photo; the decoder is told which.
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

    /// Row in tables that have one entry a modality.
    pub fn row(self) -> usize {
        self as usize
    }
}
