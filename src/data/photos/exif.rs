//! How a photo is turned upright: by the orientation in its EXIF data, or else in its XMP data.
//!
//! The rules are those of Pillow's `ImageOps.exif_transpose`: the first usable entry counts, whatever type of
//! number it has; a list counts by its first number; bytes and text do not.

use image::metadata::Orientation;

/// The EXIF tag.
const ORIENTATION: u64 = 0x112;
/// What begins EXIF data in a JPEG; other formats may leave it out.
pub(super) const EXIF_PREFIX: &[u8] = b"Exif\0\0";
/// Bytes of an entry.
const ENTRY: usize = 12;
/// The bytes of a number of each TIFF type; 0 for what is no type.
const TYPE_BYTES: [u64; 17] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8];

/// The turn that this EXIF and XMP data ask for. XMP counts only if EXIF has no such entry.
pub(super) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let number = exif.and_then(in_exif).or_else(|| xmp.and_then(in_xmp)).unwrap_or(1.0);
    let turns = (1.0..=8.0).contains(&number) && number.fract() == 0.0;
    turns.then(|| Orientation::from_exif(number as u8)).flatten().unwrap_or(Orientation::NoTransforms)
}

fn in_exif(exif: &[u8]) -> Option<f64> {
    let exif = exif.strip_prefix(EXIF_PREFIX).unwrap_or(exif);
    let exif = exif.strip_prefix(EXIF_PREFIX).unwrap_or(exif);
    match exif.get(..4) {
        None if exif.is_empty() => None,
        Some(b"MM\0*" | b"MM*\0" | b"MM\0+") => Tiff { bytes: exif, is_big_endian: true }.orientation(),
        Some(b"II*\0" | b"II\0*") => Tiff { bytes: exif, is_big_endian: false }.orientation(),
        // Nothing can be read; Pillow does not look at XMP then.
        _ => Some(1.0),
    }
}

/// The digit after `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(xmp: &[u8]) -> Option<f64> {
    const KEY: &[u8] = b"tiff:Orientation";
    let mut places = xmp.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY);
    places.find_map(|(at, _)| match &xmp[at + KEY.len()..] {
        [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => {
            Some(f64::from(digit - b'0'))
        }
        _ => None,
    })
}

struct Tiff<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl Tiff<'_> {
    /// The first usable entry for the orientation; a list that is cut ends the search.
    fn orientation(&self) -> Option<f64> {
        let start = self.whole(4, 4)? as usize;
        let mut in_lists = 0;
        for n in 0..self.whole(start, 2)? as usize {
            let at = start.checked_add(2 + ENTRY * n)?;
            self.bytes.get(at..)?.get(..ENTRY)?;
            let (tag, kind, count) = (self.whole(at, 2)?, self.whole(at + 2, 2)?, self.whole(at + 4, 4)?);
            let length = count * TYPE_BYTES.get(kind as usize).copied().unwrap_or(0);
            let mut place = at + 8;
            if length > 4 {
                in_lists += length;
                if in_lists > self.bytes.len() as u64 {
                    continue;
                }
                place = self.whole(place, 4)? as usize;
                self.bytes.get(place..)?.get(..length as usize)?;
            }
            if tag == ORIENTATION && length > 0 {
                return Some(self.number(place, kind).unwrap_or(1.0));
            }
        }
        None
    }

    /// The number of this TIFF type at a place; `None` for bytes and text.
    fn number(&self, at: usize, kind: u64) -> Option<f64> {
        let whole = |bytes| self.whole(at, bytes);
        Some(match kind {
            3 => whole(2)? as f64,
            4 | 13 => whole(4)? as f64,
            5 => whole(4)? as f64 / self.whole(at + 4, 4)? as f64,
            6 => f64::from(whole(1)? as i8),
            8 => f64::from(whole(2)? as i16),
            9 => f64::from(whole(4)? as i32),
            10 => f64::from(whole(4)? as i32) / f64::from(self.whole(at + 4, 4)? as i32),
            11 => f64::from(f32::from_bits(whole(4)? as u32)),
            12 => f64::from_bits(whole(8)?),
            16 => whole(8)? as f64,
            _ => return None,
        })
    }

    /// An unsigned number of 1 to 8 bytes.
    fn whole(&self, at: usize, bytes: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(bytes)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation::{NoTransforms, Rotate90, Rotate270};
    use proptest::prelude::*;

    use super::*;

    /// Big-endian EXIF data with these entries: type, count, and what the four bytes of the value are; the bytes
    /// `after` begin at 8 + 2 + 12 × entries + 4.
    fn exif(entries: &[(u16, u32, [u8; 4])], after: &[u8]) -> Vec<u8> {
        let mut bytes = [b"MM\0*\0\0\0\x08", &(entries.len() as u16).to_be_bytes()[..]].concat();
        for (kind, count, value) in entries {
            bytes.extend([0x01, 0x12]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend(count.to_be_bytes());
            bytes.extend(value);
        }
        [&bytes[..], &[0; 4], after].concat()
    }

    fn turn(entries: &[(u16, u32, [u8; 4])], after: &[u8]) -> Orientation {
        orientation(Some(&exif(entries, after)), None)
    }

    /// What Pillow 13.0 makes of each type.
    #[test]
    fn every_type_of_number_counts() {
        let six = 6u32.to_be_bytes();
        let at_26 = 26u32.to_be_bytes();
        for (kind, value) in
            [(3, [0, 6, 0, 0]), (4, six), (6, [6, 0, 0, 0]), (8, [0, 6, 0, 0]), (9, six), (13, six)]
        {
            assert_eq!(turn(&[(kind, 1, value)], b""), Rotate90, "type {kind}");
        }
        assert_eq!(turn(&[(11, 1, 6f32.to_be_bytes())], b""), Rotate90);
        assert_eq!(turn(&[(12, 1, at_26)], &6f64.to_be_bytes()), Rotate90);
        assert_eq!(turn(&[(16, 1, at_26)], &6u64.to_be_bytes()), Rotate90);
        for kind in [5, 10] {
            assert_eq!(turn(&[(kind, 1, at_26)], &[0, 0, 0, 12, 0, 0, 0, 2]), Rotate90, "type {kind}");
        }
        for kind in [0, 1, 2, 7, 14, 99] {
            assert_eq!(turn(&[(kind, 1, [6, 0, 0, 0])], b""), NoTransforms, "type {kind}");
        }
    }

    #[test]
    fn the_first_usable_entry_counts() {
        assert_eq!(turn(&[(3, 2, [0, 6, 0, 8])], b""), Rotate90);
        assert_eq!(turn(&[(3, 1, [0, 6, 0, 0]), (3, 1, [0, 8, 0, 0])], b""), Rotate90);
        assert_eq!(turn(&[(99, 1, [0; 4]), (3, 0, [0, 3, 0, 0]), (3, 1, [0, 8, 0, 0])], b""), Rotate270);
        assert_eq!(turn(&[(4, 2, 999u32.to_be_bytes()), (3, 1, [0, 8, 0, 0])], b""), NoTransforms);
        assert_eq!(turn(&[(3, 1, [0, 9, 0, 0])], b""), NoTransforms);
    }

    #[test]
    fn xmp_counts_where_exif_has_no_entry() {
        let (attribute, element) =
            (b"<x tiff:Orientation=\"6\"/>", b"<tiff:Orientation>8</tiff:Orientation>");
        assert_eq!(orientation(None, Some(attribute)), Rotate90);
        assert_eq!(orientation(Some(&exif(&[], b"")), Some(element)), Rotate270);
        assert_eq!(orientation(Some(b"Exif\0\0Exif\0\0"), Some(element)), Rotate270);
        assert_eq!(orientation(Some(&exif(&[(3, 1, [0, 1, 0, 0])], b"")), Some(element)), NoTransforms);
        assert_eq!(orientation(Some(b"nothing of that kind"), Some(element)), NoTransforms);
        assert_eq!(orientation(None, Some(b"tiff:Orientation='6'")), NoTransforms);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(start in 0usize..5, bytes: Vec<u8>) {
            let heads: [&[u8]; 5] = [b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0+", b""];
            let bytes = [heads[start], &bytes].concat();
            orientation(Some(&bytes), Some(&bytes));
        }
    }
}
