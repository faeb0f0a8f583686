//! Conversions between tensors, matrices of plain numbers and safetensors files.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{D, DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::file_io;
use crate::known_heads;
use crate::matrix::Matrix;

/// A tensor (rows, width) of a matrix.
pub fn from_matrix(matrix: &Matrix, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_slice(matrix.data(), (matrix.rows(), matrix.width()), device)?)
}

/// The matrix of a two-dimensional tensor, as f32.
pub fn to_matrix(tensor: &Tensor) -> Result<Matrix> {
    let (_, width) = tensor.dims2()?;
    if width == 0 {
        return Err(Error::input("a matrix of rows without a number"));
    }
    Ok(Matrix::new(width, tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
}

/// Rows of a two-dimensional tensor scaled to unit length.
pub fn unit_rows(x: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_div(&(x.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?)?)
}

/// The sum of all numbers. A GPU computes each sum by one block of threads, so there it sums rows, then their
/// sums.
pub fn total(x: &Tensor) -> candle_core::Result<Tensor> {
    match (x.device().is_cuda(), x.rank()) {
        (false, _) => x.sum_all(),
        (true, 0 | 1) => x.flatten_all()?.sum_all(),
        (true, _) => x.sum(D::Minus1)?.flatten_all()?.sum_all(),
    }
}

/// A copy in this machine's memory that nothing else changes.
pub fn snapshot(x: &Tensor) -> Result<Tensor> {
    let x = x.detach();
    Ok(if x.device().is_cpu() { x.copy()? } else { x.to_device(&Device::Cpu)? })
}

/// Reads all tensors of a safetensors file onto the CPU.
///
/// # Errors
/// When the file cannot be read or is not safetensors (truncated, or an error page saved under its name).
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    decode(path, &file_io::read(path, 1 << 36)?)
}

/// The tensors in the bytes of the safetensors file at `path`, on the CPU.
///
/// # Errors
/// As [`read`].
pub fn decode(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let parsed = candle_core::safetensors::load_buffer(bytes, &Device::Cpu);
    let tensors = parsed.map_err(|error| {
        let what = format!("is not a whole safetensors file ({error}); fetch or write it again");
        known_heads::explain(path, bytes, Error::file(path, what))
    });
    if bytes.starts_with(b"PK") && tensors.is_err() {
        let what = "is a zip archive, as torch.save writes them, and not safetensors; call it pytorch_model.bin, or \
                    save it as safetensors";
        return Err(Error::file(path, what));
    }
    Ok(tensors?.into_iter().collect())
}

/// Writes tensors in alphabetical order, atomically; the same tensors give the same bytes.
pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let bytes = encode(path, tensors)?;
    file_io::write_atomic(path, |out| out.write_all(&bytes))
}

/// The bytes of a safetensors file that will lie at `path`.
///
/// # Errors
/// When the tensors cannot be encoded.
pub fn encode(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    safetensors::serialize(tensors, None)
        .map_err(|error| Error::file(path, format!("cannot be encoded: {error}")))
}

/// Takes out the tensors whose names have this prefix, and removes it from the names.
pub fn take_prefixed(tensors: &mut BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    let (prefixed, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(tensors).into_iter().partition(|(name, _)| name.starts_with(prefix));
    *tensors = others;
    prefixed.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_round_trip_and_truncation_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensor = Tensor::new(&[[1.5f32, -2.0]], &Device::Cpu).unwrap();
        write(&path, &[("a.b".to_owned(), tensor)].into()).unwrap();
        let back = read(&path).unwrap();
        assert_eq!(to_matrix(&back["a.b"]).unwrap().data(), [1.5, -2.0]);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("w.safetensors"));
        }
    }
}
