//! The alignment of an index: it maps captions and images into one space before docids are made.
//! x ↦ normalise((I + A)·(x − μ)), with one μ and A for images and another for captions.
//!
//! Contrastive encoders leave a gap between the modalities (Liang et al. 2022). Codebooks fitted on both
//! would spend most of their first codes on it, and no image would use the codes of captions. Subtracting the
//! means closes the gap.

use candle_core::Tensor;

use super::query_adapter::QueryAdapter;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::nn::tensors;

/// The map of one modality.
#[derive(Debug, Clone, PartialEq)]
pub struct SideMap {
    /// μ, (1, width)
    pub mean: Matrix,
    /// A, (width, width)
    pub map: Matrix,
}

impl SideMap {
    /// The map that changes nothing.
    pub fn identity(width: usize) -> Self {
        Self { mean: Matrix::zeros(1, width), map: Matrix::zeros(width, width) }
    }

    /// The map that subtracts the mean of these rows of a matrix; a row that is listed twice counts twice.
    pub fn centring(matrix: &Matrix, rows: &[usize]) -> Self {
        let mut mean = Matrix::zeros(1, matrix.width());
        for &row in rows {
            mean.data_mut().iter_mut().zip(matrix.row(row)).for_each(|(m, x)| *m += x / rows.len() as f32);
        }
        Self { mean, ..Self::identity(matrix.width()) }
    }

    /// Unit rows → aligned unit rows.
    pub fn apply(&self, rows: &Matrix) -> Matrix {
        let centred = self.centred(rows);
        if self.map.data().iter().all(|a| *a == 0.0) {
            return centred.normalized();
        }
        let mut moved = centred.mul_transposed(&self.map);
        moved.data_mut().iter_mut().zip(centred.data()).for_each(|(y, x)| *y += x);
        moved.normalized()
    }

    /// The same on tensors (rows, width), with gradients to the rows. Fails when the widths differ.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let mean = tensors::from_matrix(&self.mean, rows.device())?.to_dtype(rows.dtype())?;
        let map = tensors::from_matrix(&self.map, rows.device())?.to_dtype(rows.dtype())?;
        let centred = tensors::unit_rows(&rows.broadcast_sub(&mean)?)?;
        tensors::unit_rows(&(&centred + centred.matmul(&map.t()?)?)?)
    }

    /// normalise(x − μ)
    pub fn centred(&self, rows: &Matrix) -> Matrix {
        let mut centred = rows.clone();
        for row in centred.data_mut().chunks_exact_mut(self.mean.width()) {
            row.iter_mut().zip(self.mean.row(0)).for_each(|(x, mean)| *x -= mean);
        }
        centred.normalized()
    }
}

/// The maps of both modalities, and an optional adapter of photo queries.
#[derive(Debug, Clone)]
pub struct Alignment {
    /// Indexed by [`Modality::row`]: captions, then images.
    sides: [SideMap; 2],
    adapter: Option<QueryAdapter>,
}

impl Alignment {
    /// The alignment that changes nothing.
    pub fn identity(width: usize) -> Self {
        Self::new(SideMap::identity(width), SideMap::identity(width))
    }

    /// An alignment by these maps.
    pub fn new(caption: SideMap, image: SideMap) -> Self {
        Self { sides: [caption, image], adapter: None }
    }

    /// The same with an adapter of photo queries.
    pub fn with_adapter(self, adapter: Option<QueryAdapter>) -> Self {
        Self { adapter, ..self }
    }

    /// The map of one modality.
    pub fn side(&self, modality: Modality) -> &SideMap {
        &self.sides[modality.row()]
    }

    /// The adapter of photo queries, which moves another view of a photo to the photo.
    pub fn adapter(&self) -> Option<&QueryAdapter> {
        self.adapter.as_ref()
    }

    /// Unit rows of one modality → aligned unit rows, without the adapter: captions, and images as they are
    /// searched for.
    pub fn apply(&self, modality: Modality, rows: &Matrix) -> Matrix {
        self.side(modality).apply(rows)
    }

    /// Unit rows of queries of one modality → aligned unit rows. Fails when the adapter is of another width.
    pub fn query(&self, modality: Modality, rows: &Matrix) -> Result<Matrix> {
        let aligned = self.apply(modality, rows);
        match &self.adapter {
            Some(adapter) if modality == Modality::Image && aligned.rows() > 0 => adapter.apply(&aligned),
            _ => Ok(aligned),
        }
    }

    /// Unit rows of queries of mixed modality → aligned unit rows, each by the map of its modality.
    pub fn queries(&self, rows: &Matrix, modalities: &[Modality]) -> Result<Matrix> {
        let mut out = Matrix::zeros(rows.rows(), rows.width());
        for modality in Modality::ALL {
            let places: Vec<usize> = (0..rows.rows()).filter(|&row| modalities[row] == modality).collect();
            let aligned = self.query(modality, &rows.select(&places))?;
            for (&place, values) in places.iter().zip(aligned.iter()) {
                out.row_mut(place).copy_from_slice(values);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_adds_the_map_and_normalises() {
        let half = 0.5f32.sqrt();
        let turn = SideMap { map: Matrix::new(2, vec![0.0, 1.0, 0.0, 0.0]), ..SideMap::identity(2) };
        let align =
            Alignment::new(SideMap::centring(&Matrix::new(2, vec![1.0, 0.0, 0.0, 0.0]), &[0, 1]), turn);
        let x = Matrix::new(2, vec![0.0, 1.0]);
        assert_eq!(align.apply(Modality::Image, &x).data(), [half, half]);
        let centred = align.apply(Modality::Caption, &x);
        let norm = 1.25f32.sqrt();
        assert!(
            (centred.row(0)[0] + 0.5 / norm).abs() < 1e-6 && (centred.row(0)[1] - 1.0 / norm).abs() < 1e-6
        );
        let tensor = tensors::from_matrix(&x, &candle_core::Device::Cpu).unwrap();
        for modality in Modality::ALL {
            let forward = tensors::to_matrix(&align.side(modality).forward(&tensor).unwrap()).unwrap();
            let apart = forward.data().iter().zip(align.apply(modality, &x).data().to_vec());
            assert!(apart.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{forward:?}");
        }
    }
}
