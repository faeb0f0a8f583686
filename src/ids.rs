//! The numbers by which the program calls images and docids: types of their own, so that none is taken for
//! another.

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

/// Row of a docid in a [`DocidSet`](crate::docid::DocidSet) (zero-based). Each image has one docid there, in
/// the order of the images; further docids of some images may follow. A search over docids returns rows;
/// [`DocidTable`](crate::model::extra_docids::DocidTable) has the image of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocidRow(pub u32);

impl DocidRow {
    /// The row of an image's own docid, not of a further one.
    pub fn of(image: ImageIdx) -> Self {
        Self(image.0)
    }

    /// The row as an index into arrays.
    pub fn row(self) -> usize {
        self.0 as usize
    }
}

impl From<usize> for DocidRow {
    fn from(row: usize) -> Self {
        Self(u32::try_from(row).expect("invariant: a corpus has fewer than 2^32 docids"))
    }
}
