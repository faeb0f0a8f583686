//! The tensors of a CLIP's folder by transformers' names, from whichever files the folder has.
//!
//! Every one of those files is outside data: a shard's name may not leave the folder, and a tensor that claims to
//! be larger than its file is refused before memory is taken for it.

use std::collections::BTreeMap;
use std::panic;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use candle_core::pickle::PthTensors;

use super::open_clip;
use crate::data::layout::{self, Form};
use crate::error::{Error, Result};
use crate::nn::tensors;

/// Tensors by name.
pub type Named = BTreeMap<String, Tensor>;

/// The files of a folder that hold its weights; where they are sharded, the index first.
///
/// # Errors
/// When an index cannot be read or names something that is no shard.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let weights = layout::weights(folder);
    let path = folder.join(weights.file);
    if !weights.sharded {
        return Ok(vec![path]);
    }
    let shards = layout::shards(&path)?;
    let shards = shards.iter().map(|shard| folder.join(shard));
    Ok(std::iter::once(path.clone()).chain(shards).collect())
}

/// Reads all tensors of a folder.
///
/// # Errors
/// When a file is missing or is not what its name says.
pub fn read(folder: &Path) -> Result<Named> {
    let weights = layout::weights(folder);
    let mut all = Named::new();
    for path in files(folder)?.iter().skip(usize::from(weights.sharded)) {
        all.extend(match weights.form {
            Form::Safetensors => tensors::read(path)?,
            Form::Pickle => unpickle(path)?,
        });
    }
    // Older versions of transformers saved the constant 0, 1, 2, … as a tensor.
    all.retain(|name, _| !name.ends_with(".position_ids"));
    open_clip::renamed(all)
}

/// Reads a file of `torch.save`.
fn unpickle(path: &Path) -> Result<Named> {
    let length = path.metadata().map_err(Error::io("read", path))?.len();
    // The parser indexes some lists of the file without looking at their length.
    let parsed = panic::catch_unwind(|| unpickle_within(path, length));
    let parsed = parsed.unwrap_or_else(|_| Err("the list of tensors is damaged".to_owned()));
    parsed.map_err(|what| {
        let remedy = "fetch it again, or save it as safetensors (files of PyTorch before 1.6 are not read)";
        Error::file(path, format!("is not a whole PyTorch file ({what}); {remedy}"))
    })
}

fn unpickle_within(path: &Path, length: u64) -> Result<Named, String> {
    let file = PthTensors::new(path, None).map_err(|error| error.to_string())?;
    let infos = file.tensor_infos();
    if infos.is_empty() {
        return Err("it has no tensors".to_owned());
    }
    let mut all = Named::new();
    for (name, info) in infos {
        let bytes = info.layout.dims().iter().try_fold(info.dtype.size_in_bytes(), |a, b| a.checked_mul(*b));
        if bytes.is_none_or(|bytes| bytes as u64 > length) {
            let shape = info.layout.dims();
            return Err(format!("tensor {name} {shape:?} is larger than the file's {length} bytes"));
        }
        let tensor = file.get(name).map_err(|error| format!("tensor {name}: {error}"))?;
        all.extend(tensor.map(|tensor| (name.clone(), tensor)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fixture(path: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests/fixture/parity", path].iter().collect()
    }

    #[test]
    fn a_tensor_that_claims_too_much_is_refused() {
        let path = fixture("argmax-pickled/encoder/pytorch_model.bin");
        assert!(unpickle_within(&path, 100).unwrap_err().contains("larger than the file's 100 bytes"));
        assert!(unpickle(&path).unwrap().contains_key("logit_scale"));
    }

    #[test]
    fn the_files_of_shards_are_the_index_and_all_it_names() {
        let files = files(&fixture("gelu-sharded/encoder")).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names[..2], ["model.safetensors.index.json", "model-00001-of-00003.safetensors"]);
        assert_eq!(names.len(), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_pickles_are_errors(
            flips in prop::collection::vec(any::<(usize, u8)>(), 0..9),
            cut in 0usize..3000,
        ) {
            let bytes = std::fs::read(fixture("argmax-pickled/encoder/pytorch_model.bin")).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pytorch_model.bin");
            let mut bytes = bytes;
            // The list of tensors is at the beginning.
            flips.iter().for_each(|(at, mask)| bytes[at % 6000] ^= mask);
            bytes.truncate(bytes.len() - cut);
            std::fs::write(&path, &bytes).unwrap();
            let _ = unpickle(&path);
        }
    }
}
