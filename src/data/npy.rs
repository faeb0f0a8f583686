//! Reads and writes matrices as NumPy's `.npy`, for embeddings of other tools (clip-retrieval, a Python
//! script).
//!
//! Reads versions 1 to 3 with two dimensions, in row-major order and little-endian half (`<f2`) or single
//! (`<f4`) precision; writes version 1. Format:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The size of the file must agree
//! with the header before memory is allocated. No crate serves here: `candle_core::npy` and `npyz` allocate
//! what the header claims, candle reads whole files only, and `npyz` brings three parser crates.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use half::f16;

use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::{file_io, known_heads};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own limit for an untrusted header.
const MAX_HEADER: usize = 10_000;

/// The storage format of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// `<f2`: two bytes a number, three significant digits, at most 65,504.
    Half,
    /// `<f4`: four bytes a number, exact.
    Single,
}

impl Precision {
    const ALL: [Self; 2] = [Self::Half, Self::Single];

    fn descr(self) -> &'static str {
        match self {
            Self::Half => "<f2",
            Self::Single => "<f4",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
        }
    }

    fn decode(self, bytes: &[u8], numbers: &mut Vec<f32>) {
        match self {
            Self::Half => numbers.extend(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32())),
            Self::Single => numbers.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
        }
    }

    /// Whether a number is finite in this precision.
    fn holds(self, x: f32) -> bool {
        match self {
            Self::Half => f16::from_f32(x).is_finite(),
            Self::Single => x.is_finite(),
        }
    }

    fn encode(self, numbers: &[f32]) -> Vec<u8> {
        match self {
            Self::Half => numbers.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Self::Single => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

#[derive(Debug)]
struct Header {
    precision: Precision,
    rows: usize,
    width: usize,
}

impl Header {
    fn row_bytes(&self) -> usize {
        self.width.saturating_mul(self.precision.bytes())
    }
}

/// A matrix on disk, read row by row; it may be larger than the memory.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    reader: BufReader<File>,
    header: Header,
    /// Byte offset of the first number.
    start: u64,
}

impl Rows {
    /// Opens a matrix (rows × width, both at least one).
    ///
    /// # Errors
    /// When the file cannot be read, is not such a `.npy` file (the message says what it holds and what is
    /// allowed), or its size differs from its header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = file_io::open_regular(path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut reader = BufReader::new(file);
        let (text, start) = header_text(&mut reader).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                explain(path, Error::file(path, "ends inside its .npy header; write it again"))
            }
            io::ErrorKind::InvalidData => explain(path, Error::file(path, e.to_string())),
            _ => Error::io("read", path)(e),
        })?;
        let header = parse(&text).map_err(|what| Error::file(path, what))?;
        let expected = header.rows.checked_mul(header.row_bytes());
        if expected.map(|n| n as u64) != length.checked_sub(start) {
            let text = text.trim();
            return Err(Error::file(
                path,
                format!("has {length} bytes, which is not what its header says: {text}"),
            ));
        }
        Ok(Self { path: path.into(), reader, header, start })
    }

    /// Number of rows, and numbers in each.
    pub fn shape(&self) -> (usize, usize) {
        (self.header.rows, self.header.width)
    }

    /// Row `row`, which is below the number of rows.
    ///
    /// # Errors
    /// When the file cannot be read or the row holds NaN or an infinity.
    pub fn row(&mut self, row: usize) -> Result<Vec<f32>> {
        let at = self.start + (row * self.header.row_bytes()) as u64;
        self.reader.seek(SeekFrom::Start(at)).map_err(Error::io("read", &self.path))?;
        let mut numbers = Vec::with_capacity(self.header.width);
        self.next(row, &mut numbers)?;
        Ok(numbers)
    }

    /// Appends the row at the reader's position, which is row `row`.
    fn next(&mut self, row: usize, numbers: &mut Vec<f32>) -> Result<()> {
        let (mut bytes, before) = (vec![0; self.header.row_bytes()], numbers.len());
        self.reader.read_exact(&mut bytes).map_err(Error::io("read", &self.path))?;
        self.header.precision.decode(&bytes, numbers);
        if numbers[before..].iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        Err(Error::file(&self.path, format!("row {row} holds NaN or an infinity; compute it again")))
    }
}

/// Reads a matrix (rows × width, both at least one).
///
/// # Errors
/// As [`Rows::open`], and when a number is NaN or an infinity (the message names the row).
pub fn read(path: &Path) -> Result<Matrix> {
    let mut rows = Rows::open(path)?;
    let (count, width) = rows.shape();
    let mut numbers = Vec::with_capacity(count * width);
    for row in 0..count {
        rows.next(row, &mut numbers)?;
    }
    Ok(Matrix::new(width, numbers))
}

/// The error of a file without a header: what it is, if that is known. Of a pickle, the reader's own words say more.
fn explain(path: &Path, otherwise: Error) -> Error {
    let head = file_io::head(path);
    match head.first_chunk::<2>() {
        Some(b"PK") => {
            let what = "is not a .npy file but a zip archive, as numpy.savez writes them; write the array alone with \
                        numpy.save";
            Error::file(path, what)
        }
        Some([0x80, _] | [0x93, b'N']) => otherwise,
        _ => known_heads::explain(path, &head, otherwise),
    }
}

/// The header's text and the byte offset of the first number.
fn header_text(reader: &mut impl Read) -> io::Result<(String, u64)> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    let [magic @ .., major, minor] = start;
    if &magic != MAGIC || !(1..=3).contains(&major) {
        return Err(invalid("is not a .npy file of version 1, 2 or 3; write it with numpy.save".into()));
    }
    let mut size = [0; 4];
    let size_bytes = if major == 1 { 2 } else { 4 };
    reader.read_exact(&mut size[..size_bytes])?;
    let size = u32::from_le_bytes(size) as usize;
    if size > MAX_HEADER {
        let version = format!("{major}.{minor}");
        return Err(invalid(format!(
            "has a {size}-byte .npy {version} header; {MAX_HEADER} bytes are allowed"
        )));
    }
    let mut text = vec![0; size];
    reader.read_exact(&mut text)?;
    let start = start.len() + size_bytes + size;
    Ok((String::from_utf8_lossy(&text).into_owned(), start as u64))
}

/// Reads the Python dictionary `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse(header: &str) -> Result<Header, String> {
    let refuse = |what: &str, remedy: &str| format!("{what} in its .npy header {}; {remedy}", header.trim());
    let descr = value(header, "descr").and_then(|v| v.strip_prefix(['\'', '"'])?.split(['\'', '"']).next());
    let precision = Precision::ALL
        .into_iter()
        .find(|precision| Some(precision.descr()) == descr)
        .ok_or_else(|| refuse("unusable descr", "allowed are '<f2' and '<f4': use .astype(numpy.float32)"))?;
    if !value(header, "fortran_order").is_some_and(|v| v.starts_with("False")) {
        return Err(refuse("unusable fortran_order", "only False is allowed: use numpy.ascontiguousarray"));
    }
    let shape: Option<Vec<usize>> = value(header, "shape").and_then(|v| {
        let (inside, _) = v.strip_prefix('(')?.split_once(')')?;
        inside.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().ok()).collect()
    });
    match shape.as_deref() {
        Some(&[rows, width]) if rows > 0 && width > 0 => Ok(Header { precision, rows, width }),
        _ => Err(refuse("unusable shape", "two dimensions of at least one are allowed: (rows, width)")),
    }
}

/// The text after `'key':`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(key)?;
    Some(rest.strip_prefix(['\'', '"'])?.trim_start().strip_prefix(':')?.trim_start())
}

/// Writes a matrix atomically.
///
/// # Errors
/// When the file cannot be written, or a number is not finite in this precision (the message names the row).
pub fn write(path: &Path, matrix: &Matrix, precision: Precision) -> Result<()> {
    if let Some(row) = matrix.iter().position(|row| !row.iter().all(|&x| precision.holds(x))) {
        return Err(Error::file(
            path,
            format!("row {row} does not fit {}; nothing was written", precision.descr()),
        ));
    }
    let (descr, rows, width) = (precision.descr(), matrix.rows(), matrix.width());
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // The numbers start at a multiple of 64 bytes; the header ends with a line feed.
    let size = (10 + dict.len() + 1).next_multiple_of(64) - 10;
    file_io::write_atomic(path, |out| {
        out.write_all(MAGIC)?;
        out.write_all(&[1, 0])?;
        out.write_all(&(size as u16).to_le_bytes())?;
        writeln!(out, "{dict:<width$}", width = size - 1)?;
        matrix.iter().try_for_each(|row| out.write_all(&precision.encode(row)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::damaged;
    use super::*;

    fn parse_file(bytes: &[u8]) -> Result<Matrix> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    fn version(major: u8, dict: &str, data: &[u8]) -> Vec<u8> {
        let size = dict.len() as u32;
        let size = if major == 1 { size.to_le_bytes()[..2].to_vec() } else { size.to_le_bytes().to_vec() };
        [MAGIC, &[major, 0][..], &size, dict.as_bytes(), data].concat()
    }

    #[test]
    fn reads_what_numpy_writes() {
        // numpy.save(f, numpy.array([[1, -2], [0.5, 65504]], '<f2')): the dictionary and the data
        let dict = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }\n";
        let data = [0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38, 0xff, 0x7b];
        for major in [1, 2] {
            let matrix = parse_file(&version(major, dict, &data)).unwrap();
            assert_eq!((matrix.width(), matrix.data()), (2, &[1.0, -2.0, 0.5, 65504.0][..]));
        }
    }

    #[test]
    fn unusable_files_are_refused_with_the_reason() {
        let mistake = |dict: &str, bytes: usize| {
            parse_file(&version(1, dict, &vec![0; bytes])).unwrap_err().to_string()
        };
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert!(mistake(good, 23).contains("not what its header says"));
        assert!(mistake(good, 25).contains("not what its header says"));
        assert!(mistake(&good.replace("<f4", "<f8"), 48).contains("'<f8'"));
        assert!(mistake(&good.replace("False", "True"), 24).contains("ascontiguousarray"));
        assert!(mistake(&good.replace("(2, 3)", "(6,)"), 24).contains("two dimensions"));
        assert!(mistake(&good.replace("(2, 3)", "(2, 3, 1)"), 24).contains("two dimensions"));
        assert!(mistake(&good.replace("(2, 3)", "(0, 3)"), 0).contains("two dimensions"));
        let huge = good.replace("(2, 3)", &format!("({0}, {0})", usize::MAX / 2));
        assert!(mistake(&huge, 24).contains("not what its header says"));
        assert!(parse_file(b"\x93NUMPY\x01\x00\xff").unwrap_err().to_string().contains("ends inside"));
        assert!(parse_file(b"PK\x03\x04 a zip file").unwrap_err().to_string().contains("numpy.save"));
        let nan = [[0u8; 12].as_slice(), &f32::NAN.to_le_bytes(), &[0; 8]].concat();
        assert!(parse_file(&version(1, good, &nan)).unwrap_err().to_string().contains("row 1"));
    }

    #[test]
    fn numbers_beyond_half_precision_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let matrix = Matrix::new(1, vec![1.0, 70_000.0]);
        assert!(write(&path, &matrix, Precision::Half).unwrap_err().to_string().contains("row 1"));
        assert!(!path.exists());
    }

    proptest! {
        #[test]
        fn round_trips(
            width in 1usize..9,
            quarters in prop::collection::vec(-300i16..300, 9..99),
            single: bool,
        ) {
            let mut data: Vec<f32> = quarters.iter().map(|&x| f32::from(x) / 4.0).collect();
            data.truncate(data.len() / width * width);
            let matrix = Matrix::new(width, data);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.npy");
            write(&path, &matrix, if single { Precision::Single } else { Precision::Half }).unwrap();
            prop_assert_eq!(read(&path).unwrap(), matrix);
        }

        #[test]
        fn damaged_files_never_panic(
            flips in prop::collection::vec((0usize..90, any::<u8>()), 0..9),
            cut: usize,
        ) {
            let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
            let _ = parse_file(&damaged(&version(1, dict, &[7; 24]), &flips, cut));
        }
    }
}
