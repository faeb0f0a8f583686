//! The chunks of a PNG that matter here: the few that make the pixels, and how the photo is turned.
//!
//! All others, such as colour profiles and texts, are left out before anything is unpacked. Checksums count as in
//! Pillow: those of the header and the palette must be right; those of the pixels are for the decoder.

use std::borrow::Cow;

use image::metadata::Orientation;
use png::StreamingDecoder;

use super::exif;

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The chunk that ends a PNG.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
/// A header for a decoder of texts: one grey pixel.
const TEXT_HEADER: &[u8] = b"\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55";
/// Bytes of the header chunk.
const HEADER: usize = 25;
/// Where the header says what the pixels are, from the start of the file.
const COLOUR_TYPE: usize = 25;
/// Pixels that are numbers of colours.
const PALETTE: u8 = 3;
/// Bytes around the content of a chunk: length, name, checksum.
const AROUND: usize = 12;
/// Bytes of the longest text, packed or not, that is looked at, as in Pillow.
const LONGEST_TEXT: usize = 1 << 20;

const XMP_KEY: &str = "XML:com.adobe.xmp";
const EXIF_KEY: &str = "Raw profile type exif";

/// A PNG without the chunks that do not make pixels.
pub(super) struct Chunks<'a> {
    /// Signature, header and palette.
    head: Vec<u8>,
    /// The chunks of pixels.
    pixels: &'a [u8],
    /// Bytes of the last checksum that are missing.
    missing: usize,
    exif: Option<&'a [u8]>,
    /// The chunks of texts that may say how the photo is turned: EXIF and XMP.
    exif_text: Option<&'a [u8]>,
    xmp_text: Option<&'a [u8]>,
}

impl<'a> Chunks<'a> {
    /// Finds the chunks.
    ///
    /// # Errors
    /// When the header or the palette is damaged, or the file ends before the pixels do.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Damage> {
        let head = SIGNATURE.to_vec();
        let mut chunks = Self { head, pixels: &[], missing: 0, exif: None, exif_text: None, xmp_text: None };
        let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
        while let Some(chunk) = Chunk::first(rest) {
            if chunk.name == b"IDAT" && chunks.pixels.is_empty() {
                rest = chunks.take_pixels(rest)?;
                continue;
            }
            chunks.take(&chunk)?;
            rest = chunk.after;
        }
        match chunks.pixels.is_empty() {
            true => Err(Damage::CutShort),
            false => Ok(chunks),
        }
    }

    fn take(&mut self, chunk: &Chunk<'a>) -> Result<(), Damage> {
        match chunk.name {
            b"IHDR" | b"PLTE" if self.pixels.is_empty() => self.take_head(chunk)?,
            b"eXIf" => self.exif = Some(chunk.content),
            b"tEXt" | b"zTXt" | b"iTXt" if has_key(chunk.content, EXIF_KEY) => {
                self.exif_text = Some(chunk.all)
            }
            b"tEXt" | b"zTXt" | b"iTXt" if has_key(chunk.content, XMP_KEY) => self.xmp_text = Some(chunk.all),
            _ => {}
        }
        Ok(())
    }

    /// Takes the header, and the palette of a photo that has one.
    fn take_head(&mut self, chunk: &Chunk<'a>) -> Result<(), Damage> {
        if !chunk.is_whole() {
            return Err(Damage::CutShort);
        }
        if !chunk.is_intact() {
            return Err(Damage::Damaged);
        }
        let is_header = chunk.name == b"IHDR" && self.head.len() == SIGNATURE.len();
        let has_header_only = self.head.len() == SIGNATURE.len() + HEADER;
        if is_header || has_header_only && self.head.get(COLOUR_TYPE) == Some(&PALETTE) {
            self.head.extend(chunk.all);
        }
        Ok(())
    }

    /// Takes the chunks of pixels that begin `bytes`; returns what follows.
    fn take_pixels(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Damage> {
        let mut rest = bytes;
        while let Some(chunk) = Chunk::first(rest).filter(|chunk| chunk.name == b"IDAT") {
            if chunk.content.len() < chunk.length {
                return Err(Damage::CutShort);
            }
            self.missing = AROUND + chunk.length - chunk.all.len();
            rest = chunk.after;
        }
        self.pixels = &bytes[..bytes.len() - rest.len()];
        Ok(rest)
    }

    /// The parts of a PNG that has the pixels and nothing else.
    pub(super) fn parts(&self) -> [&[u8]; 4] {
        [&self.head, self.pixels, &[0; 4][..self.missing], END]
    }

    /// How the photo is turned, by EXIF data in any of its places, or XMP data.
    pub(super) fn orientation(&self) -> Orientation {
        let raw = || Some(Cow::Owned(unhex(&text(self.exif_text?)?)));
        let exif = self.exif.map(Cow::Borrowed).or_else(raw);
        let xmp = self.xmp_text.and_then(text);
        exif::orientation(exif.as_deref(), xmp.as_deref().map(str::as_bytes))
    }
}

/// Why a PNG has no pixels that can be decoded.
pub(super) enum Damage {
    /// It ends too early.
    CutShort,
    /// Its header or palette is not what its checksum says.
    Damaged,
}

struct Chunk<'a> {
    name: &'a [u8],
    /// Bytes of the content by its header; the file may have fewer.
    length: usize,
    content: &'a [u8],
    checksum: &'a [u8],
    /// All of it, as far as it is there.
    all: &'a [u8],
    after: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The chunk that begins these bytes; `None` if not even its name is there.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (length, named) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let name = named.get(..4)?;
        let (content, rest) = named[4..].split_at(length.min(named.len() - 4));
        let checksum = &rest[..rest.len().min(4)];
        let (all, after) = bytes.split_at(bytes.len() - (rest.len() - checksum.len()));
        Some(Self { name, length, content, checksum, all, after })
    }

    fn is_whole(&self) -> bool {
        self.all.len() == AROUND + self.length
    }

    /// Whether the checksum is right. For small chunks: this is not fast.
    fn is_intact(&self) -> bool {
        if self.content.len() > 1024 {
            return false;
        }
        let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
        let crc = !self.name.iter().chain(self.content).fold(!0, byte);
        self.checksum == crc.to_be_bytes()
    }
}

/// Whether a text has this key and is short enough to be looked at.
fn has_key(text: &[u8], key: &str) -> bool {
    text.len() <= LONGEST_TEXT
        && text.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
}

/// The text of a chunk, unpacked if it is packed.
fn text(chunk: &[u8]) -> Option<String> {
    let mut decoder = StreamingDecoder::new();
    let bytes = [SIGNATURE, TEXT_HEADER, chunk].concat();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (read, _) = decoder.update(rest, None).ok().filter(|(read, _)| *read > 0)?;
        rest = &rest[read..];
    }
    let info = decoder.info()?;
    if let Some(text) = info.uncompressed_latin1_text.first() {
        return Some(text.text.clone());
    }
    if let Some(mut text) = info.compressed_latin1_text.first().cloned() {
        text.decompress_text_with_limit(LONGEST_TEXT).ok()?;
        return text.get_text().ok();
    }
    let mut text = info.utf8_text.first()?.clone();
    text.decompress_text_with_limit(LONGEST_TEXT).ok()?;
    text.get_text().ok()
}

/// The bytes of a profile in ImageMagick's form: an empty line, the kind, the length, then hexadecimal lines.
fn unhex(profile: &str) -> Vec<u8> {
    let lines = profile.split('\n').skip(3);
    let digits: Vec<u8> = lines.flat_map(str::chars).filter_map(|c| Some(c.to_digit(16)? as u8)).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
