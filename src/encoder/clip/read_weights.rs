//! Reads the tensors of a CLIP's folder from whichever files of weights it has, under the names that the
//! files use.
//!
//! Each of those files is outside data: a shard's name may not leave the folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;

use crate::data::clip_files::{self, Form};
use crate::error::Result;
use crate::nn::{pickle, tensors};

/// Tensors by name.
pub type TensorMap = BTreeMap<String, Tensor>;

/// The files of a folder that hold its weights. When they are sharded, their index comes first.
///
/// # Errors
/// When an index cannot be read or names something that is not a shard.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let weights = clip_files::weights(folder);
    let path = folder.join(weights.file);
    if !weights.sharded {
        return Ok(vec![path]);
    }
    let shards = clip_files::shards(&path)?;
    let shards = shards.iter().map(|shard| folder.join(shard));
    Ok(std::iter::once(path.clone()).chain(shards).collect())
}

/// Reads all tensors of a folder.
///
/// # Errors
/// When a file is missing or is not of the format that its name says.
pub fn read(folder: &Path) -> Result<TensorMap> {
    let weights = clip_files::weights(folder);
    let mut all = TensorMap::new();
    for path in files(folder)?.iter().skip(usize::from(weights.sharded)) {
        all.extend(match weights.form {
            Form::Safetensors => tensors::read(path)?,
            Form::Pickle => pickle::read(path)?,
        });
    }
    // Older versions of transformers saved the constant 0, 1, 2, … as a tensor.
    all.retain(|name, _| !name.ends_with(".position_ids"));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(path: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests/fixture/parity", path].iter().collect()
    }

    #[test]
    fn sharded_weights_are_the_index_and_all_files_it_names() {
        let files = files(&fixture("gelu-sharded/encoder")).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names[..2], ["model.safetensors.index.json", "model-00001-of-00003.safetensors"]);
        assert_eq!(names.len(), 4);
    }
}
