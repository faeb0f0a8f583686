//! What the markers of a JPEG say before anything is decoded: its kind, how it is turned, and its scans.

use image::metadata::Orientation;

use super::exif::{self, EXIF_PREFIX};

const START: [u8; 2] = [0xff, 0xd8];
const SCAN: u8 = 0xda;
const END: u8 = 0xd9;
const APP1: u8 = 0xe1;
const XMP_PREFIX: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What is known before the first scan, and where that begins.
pub(super) struct Header<'a> {
    /// The EXIF data; that of several segments is one.
    exif: Option<Vec<u8>>,
    xmp: Option<&'a [u8]>,
    /// The marker of the frame, which says how it is coded, its bits a channel, and its channels.
    frame: Option<(u8, u8, u8)>,
    /// The channels of the first scan.
    scan_channels: u8,
    /// From the first scan's marker on.
    scans: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut header = Self { exif: None, xmp: None, frame: None, scan_channels: 0, scans: &[] };
        let mut rest = bytes;
        while let Some((marker, at)) = next(rest) {
            let (segment, after) = segment(marker, at);
            if marker == SCAN {
                header.scan_channels = segment.first().copied().unwrap_or(0);
                header.scans = rest;
                break;
            }
            header.take(marker, segment);
            rest = after;
        }
        header
    }

    fn take(&mut self, marker: u8, segment: &'a [u8]) {
        if let (APP1, Some(exif)) = (marker, segment.strip_prefix(EXIF_PREFIX)) {
            self.exif.get_or_insert_default().extend(exif);
        } else if let (APP1, Some(xmp)) = (marker, segment.strip_prefix(XMP_PREFIX)) {
            self.xmp = Some(xmp);
        } else if let (true, [bits, _, _, _, _, channels, ..]) = (is_frame(marker), segment) {
            self.frame = self.frame.or(Some((marker, *bits, *channels)));
        }
    }

    pub(super) fn orientation(&self) -> Orientation {
        exif::orientation(self.exif.as_deref(), self.xmp)
    }

    /// A kind of JPEG that libjpeg does not decode, as the end of a sentence that begins with the file's name.
    pub(super) fn unsupported(&self) -> Option<String> {
        let (marker, bits, _) = self.frame?;
        let kind = match marker {
            0xc3 | 0xcb => "is a lossless JPEG".to_owned(),
            0xc5..=0xc7 | 0xcd..=0xcf => "is a hierarchical JPEG".to_owned(),
            _ if bits != 8 => format!("is a JPEG of {bits} bits a channel"),
            _ => return None,
        };
        Some(format!("{kind}, which is not supported; save it as an ordinary JPEG or as PNG"))
    }

    /// Whether the decoder keeps all scans in memory until the last one has been read.
    pub(super) fn has_many_scans(&self) -> bool {
        self.frame.is_some_and(|(marker, _, channels)| {
            let is_progressive = matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce);
            is_progressive || self.scan_channels < channels
        })
    }

    /// The number of scans.
    pub(super) fn count_scans(&self) -> usize {
        let (mut rest, mut count) = (self.scans, 0);
        while let Some((marker, at)) = next(rest).filter(|(marker, _)| *marker != END) {
            count += usize::from(marker == SCAN);
            rest = segment(marker, at).1;
        }
        count
    }
}

/// Whether this marker begins the frame.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// The next marker, as libjpeg finds it wherever it is, and what follows it.
fn next(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        let at = rest.iter().position(|&byte| byte == 0xff)?;
        rest = &rest[at..];
        let fill = rest.iter().position(|&byte| byte != 0xff)?;
        let marker = rest[fill];
        rest = &rest[fill + 1..];
        if marker != 0 {
            return Some((marker, rest));
        }
    }
}

/// The content of a marker's segment, and what follows it. Some markers have none.
fn segment(marker: u8, bytes: &[u8]) -> (&[u8], &[u8]) {
    if matches!(marker, 0x01 | 0xd0..=0xd9) {
        return (&[], bytes);
    }
    let [high, low, ..] = *bytes else { return (&[], &[]) };
    let length = usize::from(u16::from_be_bytes([high, low])).max(2);
    (bytes.get(2..length).unwrap_or_default(), bytes.get(length..).unwrap_or_default())
}

/// Whether this is a JPEG without its end marker. The decoder silently fills the missing part with grey, so
/// half a download would be indexed as if it were the photo.
pub(super) fn is_cut_short(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(&START) else { return false };
    // Skips the segments before the first scan by their length: a thumbnail in them has an end marker too.
    loop {
        match rest {
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, SCAN, scan @ ..] => return !scan.windows(2).any(|pair| pair == [0xff, END]),
            [0xff, _, high, low, ..] => {
                let length = 2 + usize::from(u16::from_be_bytes([*high, *low]));
                rest = rest.get(length..).unwrap_or_default();
            }
            [] | [_] | [_, _] | [_, _, _] => return true,
            // Not a marker: the decoder decides.
            _ => return false,
        }
    }
}
