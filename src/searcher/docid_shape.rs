//! How many levels and codes the docids of a folder of photos get.
//!
//! | photos | levels | codes |
//! |---|---|---|
//! | up to 255 | 12 | 16 |
//! | up to 4,095 | 12 | 64 |
//! | more | 12 | 256 |
//!
//! A codebook of few photos would have a code for each of them and none for others; fewer codes describe photos that are
//! added later as well. A code is a byte in any case.

/// The first number of photos from which a codebook has so many codes.
const CODES: [(usize, usize); 3] = [(4096, 256), (256, 64), (0, 16)];
const LEVELS: usize = 12;

/// The number of codes at each level, for this many photos.
pub fn codes_per_level(photos: usize) -> Vec<usize> {
    let codes = CODES.iter().find(|(least, _)| photos >= *least).map_or(16, |(_, codes)| *codes);
    vec![codes; LEVELS]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_photos_get_more_codes() {
        assert_eq!(
            [1, 255, 256, 4096, 1 << 20].map(|photos| codes_per_level(photos)[0]),
            [16, 16, 64, 256, 256]
        );
        assert_eq!(codes_per_level(9).len(), 12);
    }
}
