//! The number by which everything inside the program calls an image.

/// Dense row of an image in its corpus (zero-based); its outside name is the corpus's image id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageIdx(pub u32);

impl ImageIdx {
    /// The row as an index into arrays.
    pub fn row(self) -> usize {
        self.0 as usize
    }
}

impl From<usize> for ImageIdx {
    fn from(row: usize) -> Self {
        Self(u32::try_from(row).expect("invariant: a corpus has fewer than 2^32 images"))
    }
}
