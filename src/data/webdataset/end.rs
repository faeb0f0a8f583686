//! The end of an archive: two blocks of zeros, and nothing but zeros behind them.
//!
//! An archive without them lost its end, perhaps with entries; behind them another archive may follow that no reader of
//! tar archives reads.

use std::io::{self, Read};

use crate::data::corpus::unused::Reason;

/// Bytes of a block.
const BLOCK: usize = 512;
/// Zero bytes that are read behind the end of an archive.
const MOST: u64 = 1 << 30;

/// What is wrong with the end of an archive. `rest` begins behind the first block of zeros that the reader of the entries
/// met, or at the end of the file if there is none.
///
/// # Errors
/// When it cannot be read.
pub fn fault(rest: impl Read) -> io::Result<Option<Reason>> {
    let (mut rest, mut seen) = (rest.take(MOST), 0);
    let mut bytes = [0; 16 * BLOCK];
    loop {
        let count = rest.read(&mut bytes)?;
        if count == 0 {
            return Ok((seen < BLOCK).then_some(Reason::NoEnd));
        }
        if bytes.iter().take(count).any(|&byte| byte != 0) {
            return Ok(Some(Reason::BytesAfterEnd));
        }
        seen = seen.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_zeros_alone() {
        let fault = |bytes: &[u8]| fault(bytes).unwrap();
        assert_eq!(fault(&[0; BLOCK]), None);
        assert_eq!(fault(&[0; 100 * BLOCK]), None);
        assert_eq!(fault(&[]), Some(Reason::NoEnd));
        assert_eq!(fault(&[0; BLOCK - 1]), Some(Reason::NoEnd));
        assert_eq!(fault(&[&[0; 40 * BLOCK][..], b"x"].concat()), Some(Reason::BytesAfterEnd));
    }
}
