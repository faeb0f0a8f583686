//! A table of equally wide `f32` rows: embeddings, centroids, scores. Pure numbers, no device.

use crate::matmul::{self, Output, Threads, View};

/// `rows × width` numbers in row-major order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    width: usize,
    data: Vec<f32>,
}

impl Matrix {
    /// A matrix over `data`, whose length is a multiple of `width` (> 0).
    pub fn new(width: usize, data: Vec<f32>) -> Self {
        assert!(width > 0 && data.len().is_multiple_of(width), "invariant: whole rows");
        Self { width, data }
    }

    /// `rows × width` zeros.
    pub fn zeros(rows: usize, width: usize) -> Self {
        Self::new(width, vec![0.0; rows * width])
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All numbers, row by row, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..(row + 1) * self.width]
    }

    /// One row, to be changed in place.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.width..(row + 1) * self.width]
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.width.max(1))
    }

    /// These rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let data = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Self { width: self.width, data }
    }

    /// The rows of `self`, then those of `other` (equally wide).
    pub fn stacked(&self, other: &Self) -> Self {
        assert_eq!(self.width, other.width, "invariant: equal widths");
        Self { width: self.width, data: [self.data(), other.data()].concat() }
    }

    /// Scales every row to unit length; a zero row stays zero.
    pub fn normalized(mut self) -> Self {
        for row in self.data.chunks_exact_mut(self.width.max(1)) {
            let norm = dot(row, row).sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|x| *x /= norm);
            }
        }
        self
    }

    /// `self · otherᵀ`: entry `(i, j)` is the inner product of row i here and row j there.
    pub fn mul_transposed(&self, other: &Self) -> Self {
        assert_eq!(self.width, other.width, "invariant: equal widths");
        let (m, n, k) = (self.rows(), other.rows(), self.width);
        let mut out = vec![0.0f32; m * n];
        if m * n == 0 {
            return Self { width: n.max(1), data: out };
        }
        let (a, b) = (View::contiguous(&self.data, [m, k]), View::contiguous(&other.data, [n, k]));
        matmul::multiply(a, b.transposed(), Output { numbers: &mut out, row_stride: n }, Threads::All);
        Self { width: n, data: out }
    }
}

/// Inner product of two equally long slices, summed in eight lanes so that it vectorises.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (head_a, tail_a) = a.as_chunks::<8>();
    let (head_b, tail_b) = b.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for (x, y) in head_a.iter().zip(head_b) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let tail: f32 = tail_a.iter().zip(tail_b).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_with_transpose_matches_hand_computation() {
        let a = Matrix::new(2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b = Matrix::new(2, vec![1.0, 0.0, 1.0, -1.0]);
        assert_eq!(a.mul_transposed(&b).data(), [1.0, -1.0, 3.0, -1.0, 5.0, -1.0]);
    }

    #[test]
    fn normalized_rows_have_unit_length_and_zero_rows_stay() {
        let m = Matrix::new(2, vec![3.0, 4.0, 0.0, 0.0]).normalized();
        assert_eq!(m.data(), [0.6, 0.8, 0.0, 0.0]);
    }

    #[test]
    fn dot_covers_the_tail() {
        let v: Vec<f32> = (0..19).map(|i| i as f32).collect();
        assert_eq!(dot(&v, &v), (0..19).map(|i| (i * i) as f32).sum::<f32>());
    }
}
