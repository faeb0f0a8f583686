//! The first bytes of files that people give by mistake: what such a file is, and what to do with it.
//!
//! All readers share this table. A reader that cannot use a file looks here before it reports its own error.

use std::path::Path;

use crate::error::Error;

/// Bytes from the start of a file that tell all kinds apart.
pub const ENOUGH: u64 = 512;

/// A kind of file, known by some bytes near its start.
struct Head {
    /// Where the bytes are.
    offset: usize,
    bytes: &'static [u8],
    /// Completes the sentence that begins with the file's name.
    what: &'static str,
}

const fn at(offset: usize, bytes: &'static [u8], what: &'static str) -> Head {
    Head { offset, bytes, what }
}

const LFS: &str = "is a Git LFS pointer and not the file itself; fetch the file with git lfs pull";
const HTML: &str = "is a web page: the server sent it in place of the file; download the file again, after a login if the site needs one";
const UTF_16: &str = "is UTF-16 text; save it as UTF-8";
const GZIP: &str = "is compressed with gzip; unpack it with gunzip";
const ZSTD: &str = "is compressed with zstd; unpack it with unzstd";
const BZIP2: &str = "is compressed with bzip2; unpack it with bunzip2";
const XZ: &str = "is compressed with xz; unpack it with unxz";
const ZIP: &str = "is a zip archive; unpack it with unzip";
const PICKLE: &str = "is a pickle of Python; save it again in the format that is expected here";
const TAR: &str = "is a tar archive; unpack it, or give its folder with data.kind = \"webdataset\"";
const HEIC: &str = "is a HEIC photo, which is not supported; convert it to JPEG or PNG";
const AVIF: &str = "is an AVIF photo, which is not supported; convert it to JPEG or PNG";
const JXL: &str = "is a JPEG XL photo, which is not supported; convert it to JPEG or PNG";
const TIFF: &str = "is a TIFF photo, which is not supported; convert it to JPEG or PNG";
const JPEG_2000: &str = "is a JPEG 2000 photo, which is not supported; convert it to JPEG or PNG";
const PSD: &str = "is a Photoshop document, which is not supported; convert it to JPEG or PNG";
const MP4: &str =
    "is a video, or a photo in a video's container, which is not supported; save it as JPEG or PNG";
const PDF: &str = "is a PDF document; save its pages as JPEG or PNG";
const SVG: &str = "is an SVG drawing; save it as PNG";

/// The table; the first entry that fits counts.
const HEADS: &[Head] = &[
    at(0, b"version https://git-lfs", LFS),
    at(0, b"\xff\xfe", UTF_16),
    at(0, b"\xfe\xff", UTF_16),
    at(0, b"{\0", UTF_16),
    at(0, b"\0{", UTF_16),
    at(0, b"\x1f\x8b", GZIP),
    at(0, b"\x28\xb5\x2f\xfd", ZSTD),
    at(0, b"BZh", BZIP2),
    at(0, b"\xfd7zXZ\0", XZ),
    at(0, b"PK\x03\x04", ZIP),
    at(0, b"PK\x05\x06", ZIP),
    at(257, b"ustar", TAR),
    at(4, b"ftypheic", HEIC),
    at(4, b"ftypheix", HEIC),
    at(4, b"ftyphevc", HEIC),
    at(4, b"ftypheim", HEIC),
    at(4, b"ftypheis", HEIC),
    at(4, b"ftypmif1", HEIC),
    at(4, b"ftypmsf1", HEIC),
    at(4, b"ftypavif", AVIF),
    at(4, b"ftypavis", AVIF),
    at(4, b"ftyp", MP4),
    at(0, b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    at(0, b"\xff\x4f\xff\x51", JPEG_2000),
    at(0, b"8BPS", PSD),
    at(0, b"\xff\x0a", JXL),
    at(0, b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    at(0, b"II*\0", TIFF),
    at(0, b"MM\0*", TIFF),
    at(0, b"II+\0", TIFF),
    at(0, b"MM\0+", TIFF),
    at(0, b"%PDF-", PDF),
    at(0, b"\x80\x02", PICKLE),
    at(0, b"\x80\x03", PICKLE),
    at(0, b"\x80\x04", PICKLE),
    at(0, b"\x80\x05", PICKLE),
];

/// Starts of texts, found after white space and a byte-order mark, regardless of case.
const TEXT_HEADS: &[(&[u8], &str)] =
    &[(b"<!doctype html", HTML), (b"<html", HTML), (b"<head", HTML), (b"<svg", SVG)];

/// The byte-order mark of UTF-8.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a file with these first bytes is and what to do with it, as the end of a sentence that begins with its
/// name; `None` for a head that is not in the table. The first [`ENOUGH`] bytes are enough.
pub fn describe(bytes: &[u8]) -> Option<&'static str> {
    let fits = |head: &&Head| bytes.get(head.offset..).is_some_and(|rest| rest.starts_with(head.bytes));
    HEADS.iter().find(fits).map(|head| head.what).or_else(|| describe_text(bytes))
}

/// The error of a file that could not be used: what it is, if its first bytes are in the table, or else the
/// reader's own error.
pub fn explain(path: &Path, bytes: &[u8], otherwise: Error) -> Error {
    describe(bytes).map_or(otherwise, |what| Error::file(path, what))
}

fn describe_text(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start();
    let starts = |head: &[u8]| text.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head));
    TEXT_HEADS.iter().find(|(head, _)| starts(head)).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_known_wherever_they_are() {
        let known = |bytes: &[u8], part: &str| describe(bytes).is_some_and(|what| what.contains(part));
        assert!(known(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"));
        assert!(known(b"\xef\xbb\xbf \n<!DOCTYPE HTML>", "web page"));
        assert!(known(b"\0\0\0\x18ftypheic\0\0", "HEIC"));
        assert!(known(&[&[b'a'; 257][..], b"ustar"].concat(), "tar"));
        for other in [&b""[..], b"P", b"{\"image\": 1}", b"\xff\xd8\xff", b"\x89PNG\r\n"] {
            assert_eq!(describe(other), None);
        }
    }
}
