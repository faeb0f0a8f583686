//! What is searched for.

use std::path::PathBuf;

/// A query: a caption, a photo, a vector, or the name of an image in the store.
///
/// ```
/// use dsi::searcher::Query;
/// let query = Query::text("a dog on a beach").and(Query::image_path("sea.jpg")).not(Query::text("people"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(super) parts: Vec<(f32, Part)>,
}

/// One part of a query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    ImagePath(PathBuf),
    ImageBytes(Vec<u8>),
    Vector(Vec<f32>),
    Like(String),
}

impl Query {
    fn of(part: Part) -> Self {
        Self { parts: vec![(1.0, part)] }
    }

    /// What an image shows, in words.
    pub fn text(caption: impl Into<String>) -> Self {
        Self::of(Part::Text(caption.into()))
    }

    /// A photo file.
    pub fn image_path(path: impl Into<PathBuf>) -> Self {
        Self::of(Part::ImagePath(path.into()))
    }

    /// The bytes of a photo file: JPEG, PNG, WebP, GIF or BMP.
    pub fn image_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Part::ImageBytes(bytes.into()))
    }

    /// The embedding of a caption, as the encoder of the store gives it; of any length but zero.
    pub fn vector(numbers: impl Into<Vec<f32>>) -> Self {
        Self::of(Part::Vector(numbers.into()))
    }

    /// An image of the store, by its name.
    pub fn like(name: impl Into<String>) -> Self {
        Self::of(Part::Like(name.into()))
    }

    /// This and the other: the sum of their embeddings.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.plus(other, 1.0)
    }

    /// This and not the other: the difference of their embeddings.
    #[must_use]
    pub fn not(self, other: Self) -> Self {
        self.plus(other, -1.0)
    }

    fn plus(mut self, other: Self, sign: f32) -> Self {
        self.parts.extend(other.parts.into_iter().map(|(weight, part)| (sign * weight, part)));
        self
    }
}
