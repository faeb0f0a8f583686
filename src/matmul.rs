//! Matrix products of `f32` slices: the only caller of the `gemm` crate, behind a safe interface.
//!
//! Operands are strided [`View`]s, so that one attention head inside packed rows is multiplied where it lies.
//! Every size is checked against its slice before a number is read.

use gemm::Parallelism;

/// A matrix inside a slice. Entry (i, j) is number `i * strides[0] + j * strides[1]`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    numbers: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> View<'a> {
    /// A matrix of `shape` (rows, columns), with the distances between two rows and between two columns.
    pub fn new(numbers: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        assert!(numbers.len() >= span(shape, strides), "invariant: the slice holds the matrix");
        Self { numbers, shape, strides }
    }

    /// A matrix of `shape` (rows, columns) that fills its rows.
    pub fn contiguous(numbers: &'a [f32], shape: [usize; 2]) -> Self {
        Self::new(numbers, shape, [shape[1], 1])
    }

    /// The same numbers with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [column, row], ..self }
    }
}

/// Where a product is written: entry (i, j) is number `i * row_stride + j`.
#[derive(Debug)]
pub struct Output<'a> {
    /// The numbers from the first entry on.
    pub numbers: &'a mut [f32],
    /// Distance between two rows, at least the number of columns.
    pub row_stride: usize,
}

/// How many threads share a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread.
    One,
    /// All threads of the current rayon pool.
    All,
}

/// `out = a · b` for a (m, k) and b (k, n).
pub fn multiply(a: View, b: View, out: Output, threads: Threads) {
    product(a, b, out, threads, false);
}

/// `out = out + a · b` for a (m, k) and b (k, n).
pub fn multiply_add(a: View, b: View, out: Output, threads: Threads) {
    product(a, b, out, threads, true);
}

fn product(a: View, b: View, out: Output, threads: Threads, add: bool) {
    let ([m, k], [inner, n]) = (a.shape, b.shape);
    assert_eq!(k, inner, "invariant: a has as many columns as b has rows");
    let fits = out.row_stride >= n && out.numbers.len() >= span([m, n], [out.row_stride, 1]);
    assert!(fits, "invariant: the output holds the product");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(rayon::current_num_threads()),
    };
    // SAFETY: each slice holds its matrix at its strides, as checked here and in `View::new`; rows of the
    // output are disjoint; the output is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.numbers.as_mut_ptr(),
            1,
            out.row_stride as isize,
            add,
            a.numbers.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.numbers.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            if add { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Numbers from the first entry of a matrix to its last.
fn span([rows, columns]: [usize; 2], strides: [usize; 2]) -> usize {
    match (rows.checked_sub(1), columns.checked_sub(1)) {
        (Some(rows), Some(columns)) => rows * strides[0] + columns * strides[1] + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    #[test]
    fn strided_operands_and_outputs_match_hand_computation() {
        let a = View::new(&A, [2, 2], [3, 1]); // (1 2; 4 5)
        let b = View::contiguous(&A[..4], [2, 2]).transposed(); // (1 3; 2 4)
        let mut out = [9.0f32; 5];
        multiply(a, b, Output { numbers: &mut out, row_stride: 3 }, Threads::One);
        assert_eq!(out, [5.0, 11.0, 9.0, 14.0, 32.0]);
        multiply_add(a, b, Output { numbers: &mut out, row_stride: 3 }, Threads::All);
        assert_eq!(out, [10.0, 22.0, 9.0, 28.0, 64.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |f: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
        assert!(refused(&|| {
            View::contiguous(&A, [2, 4]);
        }));
        let a = View::contiguous(&A, [2, 3]);
        let into = |b: View, length: usize, row_stride: usize| {
            multiply(a, b, Output { numbers: &mut vec![0.0; length], row_stride }, Threads::One);
        };
        assert!(!refused(&|| into(a.transposed(), 4, 2)));
        assert!(refused(&|| into(a, 9, 3)), "inner sizes differ");
        assert!(refused(&|| into(a.transposed(), 3, 2)), "too short");
        assert!(refused(&|| into(a.transposed(), 4, 1)), "rows overlap");
    }
}
