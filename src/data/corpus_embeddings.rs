//! The embeddings of a corpus: one unit vector per image and one per caption, in corpus order.
//!
//! An encoder computes them or, for `encoder.kind = "features"`, they are read from two `.npy` files in the
//! corpus folder: `images.npy` (images × width) and `captions.npy` (captions × width). All users (codebooks,
//! teacher, dense retrieval) use the inner product as the cosine, so rows are scaled to unit length here,
//! once.

use std::path::Path;

use super::corpus::Corpus;
use super::npy;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::{Matrix, dot};

/// Unit vectors of equal width for all images and captions of a corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// One row an image: (image, width).
    pub images: Matrix,
    /// One row a caption: (caption, width).
    pub captions: Matrix,
}

impl Embeddings {
    /// The embeddings of `corpus.keeping(images)`.
    pub fn keeping(self, corpus: &Corpus, images: &[ImageIdx]) -> Self {
        if images.len() == corpus.len() {
            return self;
        }
        let rows: Vec<usize> = images.iter().map(|image| image.row()).collect();
        let captions: Vec<usize> = images.iter().flat_map(|&image| corpus.captions_of(image)).collect();
        Self { images: self.images.select(&rows), captions: self.captions.select(&captions) }
    }
}

/// Reads `images.npy` and `captions.npy` from the folder `root`; their rows are in the order of `corpus`.
///
/// # Errors
/// When a file cannot be read ([`npy::read`]), differs from the corpus in its number of rows or from the
/// other file in its width, or has a row that cannot be scaled to unit length.
pub fn read_features(root: &Path, corpus: &Corpus) -> Result<Embeddings> {
    let images = read_rows(&root.join("images.npy"), corpus.len(), "images")?;
    let captions = read_rows(&root.join("captions.npy"), corpus.captions().len(), "captions")?;
    if images.width() != captions.width() {
        let widths = (captions.width(), images.width());
        let what =
            format!("rows are {} wide, those of images.npy {}; both must be equal", widths.0, widths.1);
        return Err(Error::file(root.join("captions.npy"), what));
    }
    Ok(Embeddings { images, captions })
}

fn read_rows(path: &Path, count: usize, unit: &str) -> Result<Matrix> {
    let matrix = npy::read(path)?;
    if matrix.rows() != count {
        let what = format!("has {} rows, the corpus has {count} {unit}; both must agree", matrix.rows());
        return Err(Error::file(path, what));
    }
    if let Some(row) = matrix.iter().position(|row| !dot(row, row).sqrt().is_normal()) {
        let what = format!("row {row} cannot be scaled to unit length (all zeros, or out of range)");
        return Err(Error::file(path, what));
    }
    Ok(matrix.normalized())
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{Builder, Entry, Split};
    use super::*;
    use npy::Precision::Single;

    fn corpus() -> Corpus {
        let mut builder = Builder::new(Path::new("c"), "line", None);
        for (n, id) in ["a", "b"].into_iter().enumerate() {
            let captions = vec!["x".into(); n + 1];
            builder
                .push(n + 1, Entry { id: id.into(), file: id.into(), split: Split::Train, captions })
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn read_written(images: Matrix, captions: Matrix) -> Result<Embeddings> {
        let folder = tempfile::tempdir().unwrap();
        npy::write(&folder.path().join("images.npy"), &images, Single)?;
        npy::write(&folder.path().join("captions.npy"), &captions, Single)?;
        read_features(folder.path(), &corpus())
    }

    #[test]
    fn rows_come_out_with_unit_length_and_follow_their_images() {
        let images = Matrix::new(2, vec![3.0, 4.0, 0.0, 2.0]);
        let captions = Matrix::new(2, vec![1.0, 0.0, -5.0, 0.0, 0.0, 9.0]);
        let all = read_written(images, captions).unwrap();
        assert_eq!(all.images.data(), [0.6, 0.8, 0.0, 1.0]);
        let second = all.keeping(&corpus(), &[ImageIdx(1)]);
        assert_eq!(
            (second.images.data(), second.captions.data()),
            (&[0.0, 1.0][..], &[-1.0, 0.0, 0.0, 1.0][..])
        );
    }

    #[test]
    fn sizes_that_differ_from_the_corpus_are_refused() {
        let ones = |rows, width| Matrix::new(width, vec![1.0; rows * width]);
        let mistake = |images, captions| read_written(images, captions).unwrap_err().to_string();
        assert!(mistake(ones(3, 2), ones(3, 2)).contains("images.npy: has 3 rows, the corpus has 2 images"));
        assert!(mistake(ones(2, 2), ones(2, 2)).contains("captions.npy: has 2 rows"));
        assert!(mistake(ones(2, 2), ones(3, 4)).contains("4 wide"));
        assert!(mistake(ones(2, 2), Matrix::new(1, vec![1.0, 0.0, 1.0])).contains("row 1"));
        assert!(mistake(Matrix::new(1, vec![1e30, 1.0]), ones(3, 1)).contains("row 0"));
    }
}
