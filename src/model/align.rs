//! The alignment of an index: a small linear map on each side that brings captions and images closer together
//! before docids are made. x ↦ normalise((I + A)·x), one A for images and one for captions.

use crate::matrix::Matrix;

use super::modality::Modality;

/// A for images and A for captions, each (width, width).
#[derive(Debug, Clone, PartialEq)]
pub struct Align {
    /// Indexed by [`Modality::row`].
    maps: [Matrix; 2],
}

impl Align {
    /// The alignment that changes nothing.
    pub fn identity(width: usize) -> Self {
        Self { maps: [Matrix::zeros(width, width), Matrix::zeros(width, width)] }
    }

    /// An alignment of these maps, each A (width, width).
    pub fn new(caption: Matrix, image: Matrix) -> Self {
        let mut maps = [Matrix::default(), Matrix::default()];
        maps[Modality::Caption.row()] = caption;
        maps[Modality::Image.row()] = image;
        Self { maps }
    }

    /// A of one side.
    pub fn map(&self, modality: Modality) -> &Matrix {
        &self.maps[modality.row()]
    }

    /// Unit rows of one modality → their aligned unit rows.
    pub fn apply(&self, modality: Modality, rows: &Matrix) -> Matrix {
        let mut moved = rows.mul_transposed(self.map(modality));
        moved.data_mut().iter_mut().zip(rows.data()).for_each(|(y, x)| *y += x);
        moved.normalized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_map_and_normalises() {
        let a = Matrix::new(2, vec![0.0, 1.0, 0.0, 0.0]);
        let align = Align::new(Matrix::zeros(2, 2), a);
        let x = Matrix::new(2, vec![0.0, 1.0]);
        assert_eq!(align.apply(Modality::Caption, &x).data(), [0.0, 1.0]);
        let half = 0.5f32.sqrt();
        assert_eq!(align.apply(Modality::Image, &x).data(), [half, half]);
    }
}
