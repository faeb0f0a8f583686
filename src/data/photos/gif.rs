//! The first frame of a GIF on its canvas, as Pillow shows it.
//!
//! What the frame leaves free has the transparent colour, or else the first one of the palette. A frame that goes
//! beyond the canvas makes it larger.

use ::gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, Frame};
use image::{Rgb, RgbImage};

use super::fault::{Admit, Fault, Size};

/// The pixels of the first frame.
pub(super) fn decode(bytes: &[u8], admit: Admit) -> Result<RgbImage, Fault> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let mut decoder = options.read_info(bytes).map_err(words)?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = first_frame(&mut decoder)?;
    let size = canvas(screen, &frame);
    let area = usize::from(frame.width) * usize::from(frame.height);
    // A colour profile or texts before the frame are copies of parts of the file.
    admit(size, 3 * u64::from(size.0) * u64::from(size.1) + area as u64 + bytes.len() as u64)?;
    let palette = Palette::new(decoder.palette().map_or_else(|_| Vec::new(), <[u8]>::to_vec));
    let mut numbers = vec![0; area];
    if area > 0 {
        decoder.read_into_buffer(&mut numbers).map_err(words)?;
    }
    let mut photo = RgbImage::from_pixel(size.0, size.1, palette.colour(frame.transparent.unwrap_or(0)));
    paint(&mut photo, &frame, &numbers, &palette);
    Ok(photo)
}

fn first_frame(decoder: &mut Decoder<&[u8]>) -> Result<Frame<'static>, Fault> {
    match decoder.next_frame_info().map(|frame| frame.cloned()) {
        Ok(frame) => frame.ok_or_else(|| Fault::cut_short("GIF")),
        // Without any palette the numbers are levels of grey; the decoder takes that for an error and could go on.
        Err(error) => {
            let is_grey = |frame: &&Frame| frame.width > 0 && decoder.palette().is_err();
            decoder.current_frame_info().filter(is_grey).cloned().ok_or_else(|| words(error))
        }
    }
}

fn canvas(screen: Size, frame: &Frame) -> Size {
    let end = |start: u16, length: u16| u32::from(start) + u32::from(length);
    (screen.0.max(end(frame.left, frame.width)), screen.1.max(end(frame.top, frame.height)))
}

fn paint(photo: &mut RgbImage, frame: &Frame, numbers: &[u8], palette: &Palette) {
    let rows = numbers.chunks_exact(usize::from(frame.width).max(1));
    for (y, row) in (u32::from(frame.top)..).zip(rows) {
        for (x, number) in (u32::from(frame.left)..).zip(row) {
            photo.put_pixel(x, y, palette.colour(*number));
        }
    }
}

/// The colours of a frame.
struct Palette {
    /// Red, green and blue of each number.
    colours: Vec<u8>,
    /// Whether each colour is the grey of its number.
    is_grey: bool,
}

impl Palette {
    fn new(colours: Vec<u8>) -> Self {
        let is_grey =
            (0..=u8::MAX).zip(colours.chunks_exact(3)).all(|(number, colour)| colour == [number; 3]);
        Self { colours, is_grey }
    }

    /// A number beyond the palette is black, or the next level of grey of a palette of such levels.
    fn colour(&self, number: u8) -> Rgb<u8> {
        let colour = self.colours.chunks_exact(3).nth(usize::from(number));
        let beyond = || if self.is_grey { [number; 3] } else { [0; 3] };
        Rgb(colour.and_then(|colour| colour.try_into().ok()).unwrap_or_else(beyond))
    }
}

fn words(error: DecodingError) -> Fault {
    match error {
        DecodingError::UnexpectedEof | DecodingError::Io(_) => Fault::cut_short("GIF"),
        _ => Fault::damaged("GIF"),
    }
}
