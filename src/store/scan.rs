//! The score of every docid by look-ups, and the best of them.
//!
//! With codebooks the score of a docid c is a sum: score = scale_c · Σ_l T_l(c_l) + constant_c. The tables T depend on
//! the query only; scale and constant depend on the docid only (asymmetric distances of product quantisation, Jégou et
//! al. 2011, for residual codes). A docid costs one look-up a level.
//!
//! Docids with the same first code are one list. A search may visit only the most promising lists (`probes`), in the
//! order of what the first code gives and the mean constant of the list adds, as an inverted file does.

use std::ops::Range;

use super::segment::{Codes, Segment};
use crate::docid::Code;
use crate::error::Result;

/// Entries of a table whose codes are bytes: no code is out of bounds.
const BYTE: usize = 256;

/// The look-up tables of a query, one a level.
#[derive(Debug, Clone)]
pub struct Tables {
    /// What each first code adds.
    first: Vec<f32>,
    /// What each code of a later level adds.
    later: Vec<Vec<f32>>,
    /// The same, cut or filled to 256 codes: for segments whose codes are bytes.
    bytes: Vec<[f32; BYTE]>,
}

impl Tables {
    /// Tables of what each code adds, level by level.
    pub fn new(levels: Vec<Vec<f32>>) -> Self {
        let mut levels = levels.into_iter();
        let first = levels.next().unwrap_or_default();
        let later: Vec<Vec<f32>> = levels.collect();
        let padded = |table: &Vec<f32>| {
            std::array::from_fn(|code| table.get(code).copied().unwrap_or(f32::NEG_INFINITY))
        };
        let bytes = later.iter().map(padded).collect();
        Self { first, later, bytes }
    }

    /// What each code of a docid adds; zero for codes without an entry.
    pub fn looked_up(&self, codes: &[Code]) -> Vec<f32> {
        let tables = std::iter::once(&self.first).chain(&self.later);
        tables.zip(codes).map(|(table, &code)| table.get(code as usize).copied().unwrap_or(0.0)).collect()
    }
}

/// A docid that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Its score.
    pub score: f32,
    /// The number of its segment.
    pub segment: usize,
    /// Its number in the segment.
    pub docid: usize,
}

/// Which images are left out, a bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSet(Vec<u64>);

impl ImageSet {
    /// The set of the images for which `holds`.
    pub fn of(images: usize, holds: impl Fn(usize) -> bool) -> Self {
        let mut set = Self(vec![0; images.div_ceil(64)]);
        (0..images).filter(|&image| holds(image)).for_each(|image| set.insert(image));
        set
    }

    /// Adds an image, which is below the number that the set was made for.
    pub fn insert(&mut self, image: usize) {
        self.0[image / 64] |= 1 << (image % 64);
    }

    /// Whether the image is in the set.
    pub fn contains(&self, image: usize) -> bool {
        self.0.get(image / 64).is_some_and(|word| word >> (image % 64) & 1 == 1)
    }

    /// Number of images in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// From the bytes of a set for this many images; `None` if there are fewer or more bytes, or an image
    /// that there is not.
    pub fn from_bytes(images: usize, bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() == 8 * images.div_ceil(64);
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let set = fits.then(|| Self(words.collect()))?;
        (images..64 * set.0.len()).all(|image| !set.contains(image)).then_some(set)
    }
}

/// The best docids so far.
#[derive(Debug)]
pub struct Best {
    count: usize,
    /// At most twice as many as wanted.
    found: Vec<Found>,
    /// What a docid must exceed.
    least: f32,
}

impl Best {
    /// At most `count` docids.
    pub fn new(count: usize) -> Self {
        Self { count, found: Vec::with_capacity(2 * count.min(1 << 20)), least: f32::NEG_INFINITY }
    }

    fn push(&mut self, found: Found) {
        self.found.push(found);
        if self.found.len() >= 2 * self.count {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.found.len() > self.count && self.count > 0 {
            self.found.select_nth_unstable_by(self.count - 1, better);
            self.found.truncate(self.count);
            self.least = self.found.iter().fold(f32::INFINITY, |least, found| least.min(found.score));
        }
    }

    /// The docids, best first.
    pub fn into_sorted(mut self) -> Vec<Found> {
        self.shrink();
        self.found.truncate(self.count);
        self.found.sort_unstable_by(better);
        self.found
    }
}

/// By descending score; equal ones in the order of the store.
fn better(a: &Found, b: &Found) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then((a.segment, a.docid).cmp(&(b.segment, b.docid)))
}

/// The lists of a segment that are not empty, and what their docids add to a score on average.
pub struct Lists {
    /// (first code, mean scale, mean constant)
    means: Vec<(usize, f32, f32)>,
}

impl Lists {
    /// The lists of a segment.
    ///
    /// # Errors
    /// When the segment is damaged.
    pub fn of(segment: &Segment) -> Result<Self> {
        let mut means = Vec::new();
        for first in 0..segment.head().codes_per_level[0] {
            let docids = segment.list(first)?;
            if !docids.is_empty() {
                let scales = segment.scales(docids.clone())?;
                means.push((first, scales.map_or(1.0, mean), segment.constants(docids)?.map_or(0.0, mean)));
            }
        }
        Ok(Self { means })
    }

    /// The first codes of the lists to visit, the most promising first; `probes` 0: all of them.
    fn visited(&self, tables: &Tables, probes: usize) -> Vec<usize> {
        let first = |code: usize| tables.first.get(code).copied().unwrap_or(0.0);
        let mut order: Vec<(f32, usize)> = self
            .means
            .iter()
            .map(|&(code, scale, constant)| (scale * first(code) + constant, code))
            .collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        if probes > 0 {
            order.truncate(probes);
        }
        order.into_iter().map(|(_, code)| code).collect()
    }
}

fn mean(numbers: &[f32]) -> f32 {
    numbers.iter().sum::<f32>() / numbers.len() as f32
}

/// A segment as a search sees it.
pub struct Scanned<'a> {
    /// Its number.
    pub number: usize,
    /// The segment.
    pub segment: &'a Segment,
    /// Its lists.
    pub lists: &'a Lists,
    /// Images that are not found.
    pub excluded: &'a ImageSet,
}

impl Scanned<'_> {
    /// Adds the best docids of the segment.
    ///
    /// # Errors
    /// When the segment is damaged.
    pub fn scan(&self, tables: &Tables, probes: usize, best: &mut Best) -> Result<()> {
        for first in self.lists.visited(tables, probes) {
            self.scan_list(first, tables, best)?;
        }
        Ok(())
    }

    fn scan_list(&self, first: usize, tables: &Tables, best: &mut Best) -> Result<()> {
        let docids = self.segment.list(first)?;
        let start = tables.first.get(first).copied().unwrap_or(0.0);
        let levels = self.segment.head().later_levels();
        match self.segment.codes(docids.clone())? {
            Codes::One(codes) => match levels {
                // Loops of a known length are unrolled; these are the levels that people use.
                7 => self.take(docids, start, byte_sums::<7>(codes, &tables.bytes), best),
                11 => self.take(docids, start, byte_sums::<11>(codes, &tables.bytes), best),
                _ => {
                    let sums = ChunksOrNone::new(codes, levels, docids.len()).map(|codes| {
                        let look = |(&code, table): (&u8, &[f32; BYTE])| table[usize::from(code)];
                        codes.iter().zip(&tables.bytes).map(look).sum::<f32>()
                    });
                    self.take(docids, start, sums, best)
                }
            },
            Codes::Two(codes) => {
                let sums = ChunksOrNone::new(codes, levels, docids.len());
                self.take(docids, start, sums.map(|codes| looked_up(codes, &tables.later)), best)
            }
            Codes::Four(codes) => {
                let sums = ChunksOrNone::new(codes, levels, docids.len());
                self.take(docids, start, sums.map(|codes| looked_up(codes, &tables.later)), best)
            }
        }
    }

    /// Keeps the docids of a range that are good enough. `sums`: Σ look-ups of the levels after the first.
    fn take(
        &self,
        docids: Range<usize>,
        start: f32,
        sums: impl Iterator<Item = f32>,
        best: &mut Best,
    ) -> Result<()> {
        let sums = sums.map(|sum| start + sum);
        let (scales, constants) =
            (self.segment.scales(docids.clone())?, self.segment.constants(docids.clone())?);
        match (scales, constants) {
            (None, None) => self.keep(docids, sums, best),
            (None, Some(constants)) => self.keep(docids, sums.zip(constants).map(|(sum, c)| sum + c), best),
            (Some(scales), None) => self.keep(docids, sums.zip(scales).map(|(sum, s)| sum * s), best),
            (Some(scales), Some(constants)) => {
                let both = sums.zip(scales).zip(constants);
                self.keep(docids, both.map(|((sum, s), c)| sum * s + c), best)
            }
        }
    }

    fn keep(&self, docids: Range<usize>, scores: impl Iterator<Item = f32>, best: &mut Best) -> Result<()> {
        for (docid, score) in docids.zip(scores) {
            if score > best.least && !self.excluded.contains(self.segment.owner(docid)?) {
                best.push(Found { score, segment: self.number, docid });
            }
        }
        Ok(())
    }
}

/// Σ look-ups of codes that are bytes, for docids with `L` codes after the first.
fn byte_sums<'a, const L: usize>(
    codes: &'a [u8],
    tables: &'a [[f32; BYTE]],
) -> impl Iterator<Item = f32> + 'a {
    let tables = tables.first_chunk::<L>();
    let sum = move |codes: &[u8; L]| {
        tables.map_or(f32::NEG_INFINITY, |tables| {
            (0..L).fold(0.0, |sum, level| sum + tables[level][usize::from(codes[level])])
        })
    };
    codes.as_chunks::<L>().0.iter().map(sum)
}

/// Σ look-ups of codes that may be out of bounds in a file that somebody made up.
fn looked_up<C: Copy + Into<u32>>(codes: &[C], tables: &[Vec<f32>]) -> f32 {
    let look = |(&code, table): (&C, &Vec<f32>)| {
        table.get(code.into() as usize).copied().unwrap_or(f32::NEG_INFINITY)
    };
    codes.iter().zip(tables).map(look).sum()
}

/// Chunks of `width` codes, `count` of them; empty ones if the width is zero.
struct ChunksOrNone<'a, C> {
    codes: &'a [C],
    width: usize,
    left: usize,
}

impl<'a, C> ChunksOrNone<'a, C> {
    fn new(codes: &'a [C], width: usize, count: usize) -> Self {
        Self { codes, width, left: count }
    }
}

impl<'a, C> Iterator for ChunksOrNone<'a, C> {
    type Item = &'a [C];

    #[inline]
    fn next(&mut self) -> Option<&'a [C]> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, rest) = self.codes.split_at_checked(self.width)?;
        self.codes = rest;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::store::rows::RowKind;
    use crate::store::write_segment::NewSegment;
    use rand::Rng as _;

    /// A score, and the docid's place in the input.
    fn brute_force(new: &NewSegment, tables: &[Vec<f32>]) -> Vec<f32> {
        let levels = new.codes_per_level.len();
        let of_docid = |(docid, codes): (usize, &[u32])| {
            let sum: f32 = codes.iter().zip(tables).map(|(&code, table)| table[code as usize]).sum();
            sum * new.scales.get(docid).copied().unwrap_or(1.0) + new.constants[docid]
        };
        new.codes.chunks(levels).enumerate().map(of_docid).collect()
    }

    #[test]
    fn every_docid_has_the_score_of_its_own_codes() {
        let mut rng = crate::rng::stream(1, "test", 0);
        for sizes in [vec![9], vec![4, 3], vec![7; 8], vec![5; 12], vec![6, 6, 300], vec![3, 70_000]] {
            let docids = 60;
            let codes: Vec<u32> = (0..docids)
                .flat_map(|_| sizes.iter().map(|&size| rng.random_range(0..size as u32)).collect::<Vec<_>>())
                .collect();
            let numbers = |rng: &mut crate::rng::Rng, count: usize| -> Vec<f32> {
                (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
            };
            let tables: Vec<Vec<f32>> = sizes.iter().map(|&size| numbers(&mut rng, size)).collect();
            let (constants, scales) = (numbers(&mut rng, docids), numbers(&mut rng, docids));
            let owners: Vec<usize> = (0..docids).map(|docid| docid / 2).collect();
            let names: Vec<String> = (0..docids / 2).map(|image| format!("image {image}")).collect();
            let new = NewSegment {
                codes_per_level: &sizes,
                codes: &codes,
                owners: &owners,
                constants: &constants,
                scales: if sizes.len() % 2 == 0 { &scales } else { &[] },
                bonuses: &[],
                names: &names,
                files: &[],
                folder: None,
                hashes: &[],
                rows: None::<(&Matrix, RowKind)>,
            };
            let folder = tempfile::tempdir().unwrap();
            let file = new.write(folder.path(), "segment-1-0.bin".into()).unwrap();
            let segment =
                Segment::open(&file.path(folder.path()), &file.hash(folder.path()).unwrap()).unwrap();
            let lists = Lists::of(&segment).unwrap();
            let excluded = ImageSet::of(docids / 2, |image| segment.name(image).unwrap() == "image 3");
            let mut best = Best::new(docids);
            let scanned = Scanned { number: 0, segment: &segment, lists: &lists, excluded: &excluded };
            scanned.scan(&Tables::new(tables.clone()), 0, &mut best).unwrap();
            let found = best.into_sorted();
            assert_eq!(found.len(), docids - 2, "{sizes:?}");
            let expected = brute_force(&new, &tables);
            for found in found {
                let (name, own) = (
                    segment.name(segment.owner(found.docid).unwrap()).unwrap(),
                    segment.docid(found.docid).unwrap(),
                );
                let fits = |docid: &usize| {
                    names[owners[*docid]] == name && own == codes[docid * sizes.len()..][..sizes.len()]
                };
                let mut same = (0..docids).filter(fits).map(|docid| (expected[docid] - found.score).abs());
                assert!(same.any(|error| error < 1e-4), "{sizes:?}: {name} {own:?}");
            }
        }
    }
}
