//! How a photo is embedded: as it is or as a random second view of it, and with or without its mirror image.

use crate::rng::Rng;

/// Whether a photo is embedded together with its mirror image (test-time augmentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorTta {
    /// The photo alone.
    Off,
    /// The mean of the embeddings of the photo and of its mirror image, scaled to unit length.
    On,
}

impl MirrorTta {
    /// The setting for photo queries (`search.mirrored`). The images of a gallery are always embedded with
    /// [`MirrorTta::Off`].
    pub fn of_queries(mirrored: bool) -> Self {
        if mirrored { Self::On } else { Self::Off }
    }
}

/// Gives the random stream of the n-th photo of a list.
pub type ViewRng<'a> = &'a (dyn Fn(usize) -> Rng + Sync);

/// What is embedded of each photo.
#[derive(Clone, Copy)]
pub struct PhotoView<'a> {
    /// Whether the mirror image is embedded too.
    pub mirror: MirrorTta,
    /// The random streams of second views (cropped, mirrored, recoloured, compressed); without them photos
    /// are embedded as they are.
    pub second_view: Option<ViewRng<'a>>,
}

impl<'a> PhotoView<'a> {
    /// The photo as it is, alone.
    pub const PLAIN: Self = Self { mirror: MirrorTta::Off, second_view: None };

    /// The photo as it is.
    pub fn with_mirror(mirror: MirrorTta) -> Self {
        Self { mirror, second_view: None }
    }

    /// A second view of the photo.
    pub fn second(draw: ViewRng<'a>, mirror: MirrorTta) -> Self {
        Self { mirror, second_view: Some(draw) }
    }
}
