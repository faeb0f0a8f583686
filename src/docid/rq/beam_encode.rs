//! The quantiser's beam: partial encodings of a block of points, extended level by level.

use std::cmp::Ordering;

use super::subtract;
use crate::docid::Code;
use crate::matrix::{Matrix, dot};
use crate::ranking::keep_first;

/// The codes chosen so far, and the distance of their sum from the point.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// One code a level, the first level first.
    pub(super) codes: Vec<Code>,
    /// ‖r‖² − ‖x‖² of the residual r.
    pub(super) error: f32,
}

/// The best partial encodings of a block of points, equally many for each point, best first.
pub(super) struct Paths {
    points: usize,
    paths: Vec<Path>,
    /// The residual of each path, one row per path.
    residuals: Matrix,
}

impl Paths {
    pub(super) fn start(points: Matrix) -> Self {
        let path = Path { codes: Vec::new(), error: 0.0 };
        Self { points: points.rows(), paths: vec![path; points.rows()], residuals: points }
    }

    /// Extends every path by every codeword and keeps the best `beam` paths per point.
    pub(super) fn extended(&self, book: &Matrix, beam: usize) -> Self {
        let norms: Vec<f32> = book.iter().map(|e| dot(e, e)).collect();
        let products = self.residuals.mul_transposed(book); // (path, code)
        let per_point = self.paths.len() / self.points;
        let keep = beam.min(per_point * book.rows());
        let (mut paths, mut residuals) = (Vec::new(), Vec::new());
        for first in (0..self.paths.len()).step_by(per_point) {
            let mut steps = Vec::with_capacity(per_point * book.rows());
            for path in first..first + per_point {
                let error = self.paths[path].error;
                let values =
                    products.row(path).iter().zip(&norms).map(|(product, norm)| norm - 2.0 * product);
                steps.extend(values.enumerate().map(|(code, value)| (error + value, path, code)));
            }
            keep_first(&mut steps, keep, by_error);
            for (error, path, code) in steps {
                let mut codes = self.paths[path].codes.clone();
                codes.push(code as Code);
                paths.push(Path { codes, error });
                residuals.extend_from_slice(self.residuals.row(path));
                let start = residuals.len() - book.width();
                subtract(&mut residuals[start..], book.row(code));
            }
        }
        Self { points: self.points, paths, residuals: Matrix::new(book.width(), residuals) }
    }

    /// The paths of each point, best first.
    pub(super) fn by_point(self) -> Vec<Vec<Path>> {
        let per_point = self.paths.len() / self.points;
        self.paths.chunks(per_point).map(<[Path]>::to_vec).collect()
    }
}

/// Steps (error, path, code) by error; ties go to the earlier path, then the lower code.
fn by_error(a: &(f32, usize, usize), b: &(f32, usize, usize)) -> Ordering {
    a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2)))
}
