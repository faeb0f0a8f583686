//! Resampling to the bit as Pillow does it, whose bytes CLIP was trained on.
//!
//! Two passes, along the rows and then along the columns, with bytes in between; a filter stretched by the scale
//! where the photo shrinks (antialiasing); weights in fixed point. The nearest library, in floating point and in
//! one pass order only, is off by up to 10 levels at an edge. The same as Pillow's `src/libImaging/Resample.c`.

use image::RgbImage;

/// Fractional bits of a weight: with 8 bits of a channel and 2 for sums beyond one, they fill 32.
const BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (BITS - 1);
const CHANNELS: usize = 3;

/// A resampling kernel: half its width in pixels, and its value at a distance from its centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Filter {
    Lanczos,
    Bilinear,
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let (x, a) = (x.abs(), -0.5);
        match self {
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
            _ => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// One edge of a photo: its length in pixels, the length it is resized to, and what of that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u64,
    /// The first pixel of the resized edge that is wanted.
    pub(super) start: u64,
    /// How many of them.
    pub(super) count: u32,
}

/// The source pixels that one pixel is made of: where they begin, and the weight of each.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

impl Edge {
    /// One [`Taps`] for each wanted pixel.
    fn taps(self, filter: Filter) -> Vec<Taps> {
        if u64::from(self.from) == self.to {
            let same = |x: usize| Taps { start: self.start as usize + x, weights: vec![1 << BITS] };
            return (0..self.count as usize).map(same).collect();
        }
        let scale = f64::from(self.from) / self.to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let taps = |x: u32| {
            let centre = ((self.start + u64::from(x)) as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(self.from as usize);
            let weight = |x: usize| filter.weight((x as f64 - centre + 0.5) * (1.0 / stretch));
            let weights: Vec<f64> = (first..last).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: f64| (weight / sum * f64::from(1 << BITS)).round() as i32;
            Taps { start: first, weights: weights.into_iter().map(fixed).collect() }
        };
        (0..self.count).map(taps).collect()
    }
}

/// The wanted part of a resized photo: red, green and blue bytes, row by row. The photo has at least one pixel.
pub(super) fn resize(photo: &RgbImage, filter: Filter, across: Edge, down: Edge) -> Vec<u8> {
    let (columns, rows) = (across.taps(filter), down.taps(filter));
    let shown = rows.first().map_or(0, |taps| taps.start);
    let end = rows.last().map_or(0, |taps| taps.start + taps.weights.len());
    let width = CHANNELS * photo.width() as usize;
    let narrow: Vec<u8> = photo.as_raw()[shown * width..end * width]
        .chunks_exact(width)
        .flat_map(|row| columns.iter().flat_map(|taps| blend_pixels(row, taps)))
        .collect();
    let width = CHANNELS * columns.len();
    let mut sums = vec![0; width];
    let mut resized = Vec::with_capacity(width * rows.len());
    for taps in &rows {
        blend_rows(&narrow[(taps.start - shown) * width..], taps, &mut sums);
        resized.extend(sums.iter().map(|&sum| byte(sum)));
    }
    resized
}

fn blend_pixels(row: &[u8], taps: &Taps) -> [u8; CHANNELS] {
    let mut sums = [HALF; CHANNELS];
    for (pixel, &weight) in row[CHANNELS * taps.start..].chunks_exact(CHANNELS).zip(&taps.weights) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += weight * i32::from(value));
    }
    sums.map(byte)
}

fn blend_rows(rows: &[u8], taps: &Taps, sums: &mut [i32]) {
    sums.fill(HALF);
    for (row, &weight) in rows.chunks_exact(sums.len()).zip(&taps.weights) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * i32::from(value));
    }
}

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
