//! What decoders share: they ask for room before they allocate, and say in a user's words what is wrong.

use image::ImageError;

use super::MAX_MEMORY;

/// The most pixels of a side.
const MAX_SIDE: u32 = 16_384;

/// Width and height.
pub(super) type Size = (u32, u32);

/// What a decoder calls when it knows the size, before it allocates: takes the size and the bytes it will need.
pub(super) type Admit<'a> = &'a mut dyn FnMut(Size, u64) -> Result<(), Fault>;

/// Asks for room for this many bytes in all, for a photo of this size; an error is the bytes to wait for.
pub(super) type Grow<'a> = &'a mut dyn FnMut(u64, Size) -> Result<(), u64>;

/// Why a photo was not decoded.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is wrong, as the end of a sentence that begins with the file's name.
    Refused(String),
    /// It needs this many bytes, and other photos have them at the moment.
    NoRoom(u64),
}

impl Fault {
    pub(super) fn damaged(format: &str) -> Self {
        Self::Refused(format!("is a damaged {format} that cannot be decoded; replace it"))
    }

    pub(super) fn cut_short(format: &str) -> Self {
        Self::Refused(format!("is cut short and cannot be decoded: the end of the {format} is missing"))
    }

    /// For an error of the `image` crate, whose words are for programmers.
    pub(super) fn of(error: ImageError, format: &str) -> Self {
        match error {
            ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::cut_short(format)
            }
            ImageError::Unsupported(_) => Self::Refused(format!(
                "is a {format} of a kind that is not supported; save it as an ordinary JPEG or as PNG"
            )),
            _ => Self::damaged(format),
        }
    }
}

/// Refuses a photo that is too large for the whole budget; otherwise asks for room.
pub(super) fn admit((width, height): Size, needed: u64, grow: Grow) -> Result<(), Fault> {
    if width == 0 || height == 0 {
        return Err(Fault::Refused(format!("has no pixels ({width} x {height})")));
    }
    if width.max(height) > MAX_SIDE {
        let what =
            format!("has {width} x {height} pixels; at most {MAX_SIDE} a side are allowed; make it smaller");
        return Err(Fault::Refused(what));
    }
    if needed > MAX_MEMORY {
        let [needed, most] = [needed, MAX_MEMORY].map(|bytes| bytes.div_ceil(1 << 20));
        return Err(Fault::Refused(format!(
            "has {width} x {height} pixels, which need {needed} MiB of memory to decode; {most} MiB are allowed; \
             make it smaller"
        )));
    }
    grow(needed, (width, height)).map_err(Fault::NoRoom)
}
