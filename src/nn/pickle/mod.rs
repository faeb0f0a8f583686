//! PyTorch's weight files in zip form: dictionaries of tensors by `torch.save`, and modules by
//! `torch.jit.save` (OpenAI's CLIPs).
//!
//! Such a file is an archive: `NAME/data.pkl` is a pickle that lists the tensors, and `NAME/data/0`, `1`, …
//! are their bytes. Files come from outside, so nothing in them is executed, and memory is bounded by a few
//! times their length.
//!
//! `candle_core::pickle` does not serve here: it prints to stderr, skips tensors that it cannot read, and does
//! not read the modules of `torch.jit.save`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use zip::ZipArchive;

use self::machine::{Id, Node, Pickle};
use crate::error::{Error, Result};
use crate::{file_io, known_heads};

mod machine;

/// The most bytes of a pickle; that of a CLIP with 600 tensors has a hundred thousand.
const MAX_PICKLE_BYTES: u64 = 4 << 20;
/// The most values that the search for tensors visits.
const MAX_VISITS: usize = 1 << 16;
/// The most characters of a part of a name.
const MAX_NAME: usize = 128;
/// The deepest nesting of modules.
const MAX_DEPTH: usize = 32;
/// The most wrappers around a tensor.
const MAX_WRAPPINGS: usize = 4;

/// The number type of each storage class.
const TYPES: [(&str, DType); 6] = [
    ("torch FloatStorage", DType::F32),
    ("torch HalfStorage", DType::F16),
    ("torch BFloat16Storage", DType::BF16),
    ("torch DoubleStorage", DType::F64),
    ("torch LongStorage", DType::I64),
    ("torch ByteStorage", DType::U8),
];

/// Reads all tensors of a file; those of a module have the names that its `state_dict` gives them.
///
/// # Errors
/// When it is not such a file, is damaged or truncated, or a tensor claims more bytes than the file has.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let file = file_io::open_regular(path)?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    read_within(file, length).map_err(|what| {
        let remedy = "fetch it again, or save it as safetensors (files of PyTorch before 1.6 are not read)";
        let error = Error::file(path, format!("is not a whole PyTorch file ({what}); {remedy}"));
        let head = file_io::head(path);
        // Zip archives, pickles and tar archives are forms of PyTorch's own.
        let is_own =
            head.starts_with(b"PK") || head.starts_with(b"\x80") || head.get(257..262) == Some(b"ustar");
        if is_own { error } else { known_heads::explain(path, &head, error) }
    })
}

fn read_within(file: File, length: u64) -> Result<BTreeMap<String, Tensor>, String> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| error.to_string())?;
    let pickle = archive.file_names().flatten().find(|name| name.ends_with("/data.pkl")).map(Cow::into_owned);
    let pickle = pickle.ok_or("it has no data.pkl")?;
    let folder = pickle.trim_end_matches(".pkl").to_owned();
    let pickle = Pickle::read(&bytes(&mut archive, &pickle, MAX_PICKLE_BYTES)?)?;
    let mut search = Search { pickle: &pickle, found: BTreeMap::new(), visits: 0 };
    search.visit(pickle.root(), &mut Vec::new())?;
    if search.found.is_empty() {
        return Err("it has no tensors".to_owned());
    }
    let mut room = length.saturating_mul(4);
    let mut tensors = BTreeMap::new();
    for (name, place) in search.found {
        let size = place.bytes().filter(|&size| size <= length).ok_or_else(|| {
            format!("tensor {name} {:?} is larger than the file's {length} bytes", place.shape)
        })?;
        room = room.checked_sub(size).ok_or("its tensors together are much larger than the file")?;
        let tensor = place.read(&mut archive, &folder).map_err(|what| format!("tensor {name}: {what}"))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

type Archive = ZipArchive<BufReader<File>>;

/// At most `limit` bytes of an entry.
fn bytes(archive: &mut Archive, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let entry = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
    let mut bytes = Vec::new();
    entry.take(limit).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
}

/// Where a tensor's numbers are.
struct Place {
    dtype: DType,
    /// The archive entry of the numbers.
    key: String,
    /// How many numbers precede the first.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Place {
    /// From the arguments of `_rebuild_tensor_v2`: storage, offset, shape, strides.
    fn of(pickle: &Pickle, args: Id) -> Option<Self> {
        let [storage, offset, shape, strides, ..] = *pickle.list(args) else { return None };
        let Node::Persistent(storage) = *pickle.get(storage) else { return None };
        let [_, class, key, ..] = *pickle.list(storage) else { return None };
        let (Node::Global(class), Node::Text(key)) = (pickle.get(class), pickle.get(key)) else {
            return None;
        };
        let whole = |id: &Id| match pickle.get(*id) {
            Node::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        let numbers = |id: Id| pickle.list(id).iter().map(whole).collect::<Option<Vec<_>>>();
        Some(Self {
            dtype: TYPES.iter().find(|(name, _)| name == class)?.1,
            key: key.clone(),
            offset: whole(&offset)?,
            shape: numbers(shape)?,
            strides: numbers(strides)?,
        })
    }

    /// The bytes to read for it; `None` if that overflows.
    fn bytes(&self) -> Option<u64> {
        let count = self.shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
        count.checked_add(self.offset)?.checked_mul(self.dtype.size_in_bytes()).map(|bytes| bytes as u64)
    }

    fn read(&self, archive: &mut Archive, folder: &str) -> Result<Tensor, String> {
        let turned = !is_packed(&self.shape, &self.strides);
        let reversed = |all: &[usize]| all.iter().rev().copied().collect::<Vec<_>>();
        let shape = if turned { reversed(&self.shape) } else { self.shape.clone() };
        if turned && !is_packed(&shape, &reversed(&self.strides)) {
            return Err(format!("its numbers lie {:?} apart, which is not read here", self.strides));
        }
        let wanted = self.bytes().ok_or("its size is no number")?;
        let bytes = bytes(archive, &format!("{folder}/{}", self.key), wanted)?;
        let numbers = bytes.get(self.offset * self.dtype.size_in_bytes()..).unwrap_or_default();
        if bytes.len() as u64 != wanted {
            return Err(format!("has {} bytes of {wanted}", bytes.len()));
        }
        let tensor = Tensor::from_raw_buffer(numbers, self.dtype, &shape, &Device::Cpu);
        let turn = |tensor: Tensor| match turned {
            true => tensor.permute(reversed(&(0..shape.len()).collect::<Vec<_>>()))?.contiguous(),
            false => Ok(tensor),
        };
        tensor.and_then(turn).map_err(|error| error.to_string())
    }
}

/// Whether these strides are those of a contiguous tensor.
fn is_packed(shape: &[usize], strides: &[usize]) -> bool {
    let mut next = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&count, &stride)| {
            let fits = count <= 1 || stride == next;
            next = next.saturating_mul(count);
            fits
        })
}

/// The tensors under a value.
struct Search<'a> {
    pickle: &'a Pickle,
    found: BTreeMap<String, Place>,
    visits: usize,
}

impl<'a> Search<'a> {
    /// Visits a value that is reached by the names in `path`.
    fn visit(&mut self, id: Id, path: &mut Vec<&'a str>) -> Result<(), String> {
        self.visits += 1;
        if self.visits > MAX_VISITS || path.len() > MAX_DEPTH {
            return Err("its list of tensors goes in circles".into());
        }
        match self.pickle.get(id) {
            Node::Object(state) => self.visit_state(*state, path),
            Node::Dict(_) => self.visit_state(id, path),
            Node::Call(of, with) => self.visit_call(*of, *with, path),
            _ => Ok(()),
        }
    }

    fn visit_state(&mut self, state: Id, path: &mut Vec<&'a str>) -> Result<(), String> {
        let Node::Dict(pairs) = self.pickle.get(state) else { return Ok(()) };
        for &(key, value) in pairs {
            let Node::Text(key) = self.pickle.get(key) else { continue };
            if key.len() > MAX_NAME {
                return Err("a tensor's name is too long".into());
            }
            path.push(key);
            self.visit(value, path)?;
            path.pop();
        }
        Ok(())
    }

    fn visit_call(&mut self, of: Id, with: Id, path: &[&str]) -> Result<(), String> {
        let Some(args) = self.tensor(of, with) else { return Ok(()) };
        let name = path.join(".");
        let allowed = || TYPES.map(|(name, _)| name.trim_start_matches("torch ")).join(", ");
        let place = Place::of(self.pickle, args)
            .ok_or_else(|| format!("tensor {name} is damaged, or its storage is none of {}", allowed()))?;
        self.found.insert(name, place);
        Ok(())
    }

    /// The arguments of `_rebuild_tensor_v2`, which may be wrapped in calls that make a parameter or a
    /// subclass of it.
    fn tensor(&self, mut of: Id, mut with: Id) -> Option<Id> {
        for _ in 0..MAX_WRAPPINGS {
            let Node::Global(function) = self.pickle.get(of) else { return None };
            (of, with) = match (function.as_str(), self.pickle.list(with)) {
                ("torch._utils _rebuild_tensor_v2", _) => return Some(with),
                ("torch._tensor _rebuild_from_type_v2", &[of, _, with, ..]) => (of, with),
                ("torch._utils _rebuild_parameter", &[tensor, ..]) => match *self.pickle.get(tensor) {
                    Node::Call(of, with) => (of, with),
                    _ => return None,
                },
                _ => return None,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn fixture(path: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests/fixture/parity", path].iter().collect()
    }

    #[test]
    fn a_tensor_that_claims_too_much_is_refused() {
        let path = fixture("argmax-pickled/encoder/pytorch_model.bin");
        let file = File::open(&path).unwrap();
        assert!(read_within(file, 100).unwrap_err().contains("larger than the file's 100 bytes"));
        assert!(read(&path).unwrap().contains_key("logit_scale"));
    }

    fn searched(pickle: &[u8]) -> Result<Vec<String>, String> {
        let pickle = Pickle::read(pickle)?;
        let mut search = Search { pickle: &pickle, found: BTreeMap::new(), visits: 0 };
        search.visit(pickle.root(), &mut Vec::new())?;
        Ok(search.found.into_keys().collect())
    }

    /// Each would exhaust a reader that copies values that are referred to twice, or follows all references.
    #[test]
    fn pickles_made_to_exhaust_are_refused_at_once() {
        // a dictionary that holds itself; a chain of dictionaries, each of which refers to the next one twice
        let itself = b"}q\x00X\x01\0\0\0ah\x00s.";
        let link = b"}(X\x01\0\0\0ah\x00X\x01\0\0\0bh\x00uq\x00".repeat(30);
        let doubling = [&b"}q\x00"[..], &link, b"."].concat();
        for pickle in [&itself[..], &doubling] {
            assert!(searched(pickle).unwrap_err().contains("circles"));
        }
        let nested = [vec![b'N'], vec![0x85; 1 << 20], vec![b'.']].concat();
        assert!(searched(&nested).unwrap().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_files_are_errors(
            which in 0usize..2,
            flips in prop::collection::vec(any::<(usize, u8)>(), 0..9),
            cut in 0usize..3000,
        ) {
            let file = ["argmax-pickled/encoder/pytorch_model.bin", "openai/encoder/ViT-B-32.pt"][which];
            let mut bytes = std::fs::read(fixture(file)).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("weights");
            // The list of tensors is at the beginning.
            flips.iter().for_each(|(at, mask)| bytes[at % 6000] ^= mask);
            bytes.truncate(bytes.len() - cut);
            std::fs::write(&path, &bytes).unwrap();
            let _ = read(&path);
        }

        #[test]
        fn any_bytes_are_a_pickle_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = searched(&bytes);
        }
    }
}
