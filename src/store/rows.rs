//! Rows for re-ranking: unit vectors as f16, or as int8 with one factor a row.

use half::f16;

use crate::config_schema::choice;

choice! {
    /// How a search store keeps the embeddings that candidates are re-ranked by.
    RowKind {
        /// It keeps none: no re-ranking.
        None = "none",
        /// Two bytes a number.
        F16 = "f16",
        /// One byte a number, and a factor for each row.
        Int8 = "int8",
    }
}

/// The largest number of an int8 row.
const LARGEST: f32 = 127.0;

/// A row as its bytes and its factor.
pub fn encode(kind: RowKind, row: &[f32]) -> (Vec<u8>, f32) {
    match kind {
        RowKind::None => (Vec::new(), 1.0),
        RowKind::F16 => (row.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(), 1.0),
        RowKind::Int8 => {
            let factor = row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / LARGEST;
            let factor = if factor > 0.0 { factor } else { 1.0 };
            (row.iter().map(|x| ((x / factor).round() as i8).to_le_bytes()[0]).collect(), factor)
        }
    }
}

/// The numbers of a row.
pub fn decode(kind: RowKind, bytes: &[u8], factor: f32) -> Vec<f32> {
    match kind {
        RowKind::None => Vec::new(),
        RowKind::F16 => {
            bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
        }
        RowKind::Int8 => bytes.iter().map(|&byte| f32::from(i8::from_le_bytes([byte])) * factor).collect(),
    }
}

/// Bytes of a number.
pub fn bytes_per_number(kind: RowKind) -> usize {
    match kind {
        RowKind::None => 0,
        RowKind::F16 => 2,
        RowKind::Int8 => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_nearly() {
        let row = [0.6, -0.8, 0.0, 1e-3];
        for (kind, error) in [(RowKind::F16, 5e-4), (RowKind::Int8, 4e-3)] {
            let (bytes, factor) = encode(kind, &row);
            assert_eq!(bytes.len(), row.len() * bytes_per_number(kind));
            let back = decode(kind, &bytes, factor);
            assert!(back.iter().zip(&row).all(|(a, b)| (a - b).abs() < error), "{kind:?}: {back:?}");
        }
        assert_eq!(decode(RowKind::Int8, &encode(RowKind::Int8, &[0.0; 2]).0, 1.0), [0.0; 2]);
    }
}
