//! Decodes PNG row by row into eight-bit colours, so that the decoder's own format costs a row and not a photo.
//!
//! The end of the file and the checksums of pixels count as in Pillow: if all pixels are there and the checksum
//! inside the packed data is right, nothing else matters.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use ::png::{
    BitDepth, ColorType, DecodeOptions, Decoded, Decoder, DecodingError, InterlaceInfo, Reader,
    StreamingDecoder, Transformations, UnfilterRegion,
};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::canvas::{Canvas, is_quarter_turn};
use super::fault::{Admit, Fault, Size};
use super::png_chunks::{Chunks, Damage};

/// Rows that the decoder keeps, as bytes for a pixel of width.
const ROW_BYTES: u64 = 64;

/// The pixels of a PNG.
pub(super) fn decode(bytes: &[u8], admit: Admit) -> Result<RgbImage, Fault> {
    let chunks = Chunks::read(bytes).map_err(|damage| match damage {
        Damage::CutShort => Fault::cut_short("PNG"),
        Damage::Damaged => Fault::damaged("PNG"),
    })?;
    let photo = match rows(&chunks, true, admit) {
        Err(Failure::Decoder(DecodingError::Format(_))) if has_intact_pixels(&chunks) => {
            rows(&chunks, false, admit)
        }
        photo => photo,
    };
    photo.map_err(Failure::words)
}

enum Failure {
    Fault(Fault),
    Decoder(DecodingError),
}

impl Failure {
    fn words(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Decoder(DecodingError::IoError(_)) => Fault::cut_short("PNG"),
            Self::Decoder(_) => Fault::damaged("PNG"),
        }
    }
}

impl From<DecodingError> for Failure {
    fn from(error: DecodingError) -> Self {
        Self::Decoder(error)
    }
}

fn rows(chunks: &Chunks, verify: bool, admit: Admit) -> Result<RgbImage, Failure> {
    let mut options = DecodeOptions::default();
    options.set_ignore_crc(!verify);
    let mut decoder = Decoder::new_with_options(Parts(chunks.parts()), options);
    decoder.set_transformations(Transformations::EXPAND);
    let (size, is_interlaced) = {
        let info = decoder.read_header_info()?;
        (info.size(), info.interlaced)
    };
    let orientation = chunks.orientation();
    let (width, pixels) = (u64::from(size.0), u64::from(size.0) * u64::from(size.1));
    let copies = if is_interlaced && is_quarter_turn(orientation) { 2 } else { 1 };
    admit(size, copies * 3 * pixels + ROW_BYTES * width).map_err(Failure::Fault)?;
    let mut reader = decoder.read_info()?;
    match is_interlaced {
        true => interlaced(&mut reader, size, orientation),
        false => plain(&mut reader, size, orientation),
    }
}

type Source<'a> = Reader<Parts<'a>>;

fn plain(reader: &mut Source, size: Size, orientation: Orientation) -> Result<RgbImage, Failure> {
    let mut canvas = Canvas::new(size, orientation);
    let (form, mut rgb) = (Form::of(reader), Vec::new());
    let mut y = 0;
    // The call after the last row reads to the end of the pixels, which verifies their checksum.
    while let Some(row) = reader.next_row()? {
        form.convert(row.data(), &mut rgb);
        canvas.put(y, &rgb);
        y += 1;
    }
    Ok(canvas.finish())
}

fn interlaced(reader: &mut Source, size: Size, orientation: Orientation) -> Result<RgbImage, Failure> {
    let mut photo = RgbImage::new(size.0, size.1);
    let (form, mut rgb) = (Form::of(reader), Vec::new());
    let stride = 3 * size.0 as usize;
    while let Some(row) = reader.next_interlaced_row()? {
        form.convert(row.data(), &mut rgb);
        if let InterlaceInfo::Adam7(pass) = row.interlace() {
            ::png::expand_interlaced_row(&mut photo, stride, &rgb, pass, 24);
        }
    }
    let mut photo = DynamicImage::from(photo);
    photo.apply_orientation(orientation);
    Ok(photo.into_rgb8())
}

/// How the decoder gives the pixels of a row.
struct Form {
    /// Bytes of a pixel, and of one channel of it.
    pixel: usize,
    channel: usize,
    is_grey: bool,
    /// Whether the file has grey of 16 bits and nothing else.
    is_deep_grey: bool,
}

impl Form {
    fn of(reader: &Source) -> Self {
        let (colours, depth) = reader.output_color_type();
        let channel = if depth == BitDepth::Sixteen { 2 } else { 1 };
        let is_deep_grey = channel == 2 && reader.info().color_type == ColorType::Grayscale;
        let is_grey = matches!(colours, ColorType::Grayscale | ColorType::GrayscaleAlpha);
        Self { pixel: colours.samples() * channel, channel, is_grey, is_deep_grey }
    }

    /// A row as red, green and blue bytes. Alpha is dropped. Of 16 bits the upper eight count, as in Pillow, but
    /// grey is rounded: Pillow clips it to white.
    fn convert(&self, row: &[u8], rgb: &mut Vec<u8>) {
        rgb.clear();
        for pixel in row.chunks_exact(self.pixel) {
            match *pixel {
                [high, low, ..] if self.is_deep_grey => {
                    let grey = (u32::from(u16::from_be_bytes([high, low])) + 128) / 257;
                    rgb.extend([grey as u8; 3]);
                }
                [grey, ..] if self.is_grey => rgb.extend([grey; 3]),
                _ => rgb.extend(pixel.iter().step_by(self.channel).take(3)),
            }
        }
    }
}

/// Whether the packed pixels are whole and as their own checksum says. This unpacks them once more.
fn has_intact_pixels(chunks: &Chunks) -> bool {
    /// How far packed data may refer back.
    const WINDOW: usize = 1 << 15;
    let mut options = DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = StreamingDecoder::new_with_options(options);
    let (mut buffer, mut region) = (vec![0; 8 * WINDOW], UnfilterRegion::default());
    for mut part in chunks.parts() {
        while !part.is_empty() {
            let mut unpacked = region.as_buf(&mut buffer);
            let Ok((read, event)) = decoder.update(part, Some(&mut unpacked)) else { return false };
            if matches!(event, Decoded::ImageDataFlushed) {
                return true;
            }
            part = &part[read..];
            if region.filled > 4 * WINDOW {
                buffer.copy_within(region.filled - WINDOW..region.filled, 0);
                region = UnfilterRegion { available: 0, filled: WINDOW };
            }
        }
    }
    false
}

/// Bytes in several parts, one after the other.
struct Parts<'a>([&'a [u8]; 4]);

impl Read for Parts<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Parts<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.0.iter().find(|part| !part.is_empty()).copied().unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        if let Some(part) = self.0.iter_mut().find(|part| !part.is_empty()) {
            *part = &part[count.min(part.len())..];
        }
    }
}

/// The decoder wants it and does not use it.
impl Seek for Parts<'_> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
