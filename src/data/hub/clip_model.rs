//! What a CLIP on the hub consists of, and how its folder is completed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Remote, Source, remedy};
use crate::data::clip_files::{self, Library};
use crate::data::disk_space;
use crate::data::http::Fault;
use crate::error::{Error, Result};

/// Files that go together.
type Way = &'static [&'static str];

/// One thing a CLIP has, and the ways to have it; the first that is there is taken.
struct Row {
    ways: &'static [Way],
    optional: bool,
}

const fn row(ways: &'static [Way]) -> Row {
    Row { ways, optional: false }
}

/// The shape of a CLIP.
///
/// This and the names below are `transformers`' (github.com/huggingface/transformers,
/// src/transformers/utils/__init__.py: `CONFIG_NAME`, `SAFE_WEIGHTS_NAME`, `SAFE_WEIGHTS_INDEX_NAME`, `WEIGHTS_NAME`,
/// `IMAGE_PROCESSOR_NAME`; models/clip/tokenization_clip.py: `VOCAB_FILES_NAMES`) and `open_clip`'s
/// (github.com/mlfoundations/open_clip, src/open_clip/constants.py: `HF_WEIGHTS_NAME`, `HF_SAFE_WEIGHTS_NAME`,
/// `HF_CONFIG_NAME`).
const SHAPE: Row = row(&[&[clip_files::CONFIG], &[clip_files::OPEN_CLIP_CONFIG]]);
/// open_clip's, beside a `config.json` that is not a CLIP's: timm's repositories have both
/// (github.com/huggingface/pytorch-image-models, timm/models/_hub.py: `save_config_for_hf` writes the other).
const OTHER_SHAPE: Row = Row { ways: &[&[clip_files::OPEN_CLIP_CONFIG]], optional: true };
const PREPROCESSING: Row = row(&[&[clip_files::PREPROCESSOR]]);
const TOKENIZER: Row = row(&[&[clip_files::TOKENIZER], &[clip_files::VOCABULARY, clip_files::MERGES]]);
const T: [Way; 4] = [
    &[clip_files::WEIGHTS[0].file],
    &[clip_files::WEIGHTS[1].file],
    &[clip_files::WEIGHTS[2].file],
    &[clip_files::WEIGHTS[3].file],
];
const O: [Way; 2] = [&[clip_files::OPEN_CLIP_WEIGHTS[0].file], &[clip_files::OPEN_CLIP_WEIGHTS[1].file]];
const WEIGHTS: Row = row(&[T[0], T[1], T[2], T[3], O[0], O[1]]);
const OPEN_CLIP_WEIGHTS: Row = row(&[O[0], O[1], T[0], T[1], T[2], T[3]]);

/// What a model has beside its shape, the weights last because they are large.
const fn rest(library: Library) -> [Row; 3] {
    match library {
        // OpenAI's own release is on no hub.
        Library::Transformers | Library::OpenAi => [PREPROCESSING, TOKENIZER, WEIGHTS],
        // open_clip's models bring their preprocessing in their shape file.
        Library::OpenClip => [Row { optional: true, ..PREPROCESSING }, TOKENIZER, OPEN_CLIP_WEIGHTS],
    }
}

/// All that a folder is looked at for, in words.
pub fn named() -> String {
    let [preprocessing, tokenizer, weights] = rest(Library::Transformers);
    [SHAPE, preprocessing, tokenizer, weights].map(|row| row.named()).join(", ")
}

impl Row {
    /// The row in words.
    fn named(&self) -> String {
        self.ways.iter().map(|files| files.join(" + ")).collect::<Vec<_>>().join(" or ")
    }
}

/// A file of the model: here, or to be fetched.
enum Found {
    Here(PathBuf),
    There(Remote),
}

/// One model at one revision.
pub struct Model<'a> {
    pub id: &'a str,
    pub revision: &'a str,
    pub source: Source<'a>,
}

impl Model<'_> {
    /// A branch may have moved since a part of it was cached: the files then lie in the folders of two commits.
    /// The cache follows the newer one, so a second pass completes that.
    pub fn folder(&self) -> Result<PathBuf> {
        for _ in 0..2 {
            let mut folders = self.complete()?;
            if let (Some(folder), true) = (folders.pop_first(), folders.is_empty()) {
                return Ok(folder);
            }
        }
        Err(Error::input(format!("the hub's `{}` changes while it is fetched; try again", self.id)))
    }

    /// Finds all files, says how much is to come, fetches that; the folders in which the files lie.
    fn complete(&self) -> Result<BTreeSet<PathBuf>> {
        let (library, mut found) = self.shape()?;
        for row in rest(library) {
            found.extend(self.look(&row, &found)?.into_iter().flat_map(|(_, files)| files));
        }
        self.announce(&found)?;
        let mut folders = BTreeSet::new();
        for file in found {
            let path = match file {
                Found::Here(path) => path,
                Found::There(remote) => {
                    self.source.download(&remote).map_err(|fault| self.explain(&remote.file, &fault))?
                }
            };
            folders.extend(path.parent().map(Path::to_path_buf));
        }
        Ok(folders)
    }

    /// The files that state the shape, and whose they are. A `config.json` is fetched at once, to be looked at: where
    /// it is not a CLIP's, open_clip's shape may be there beside it.
    fn shape(&self) -> Result<(Library, Vec<Found>)> {
        let Some((way, mut files)) = self.look(&SHAPE, &[])? else {
            return Ok((Library::Transformers, Vec::new()));
        };
        if !way.contains(&clip_files::CONFIG) {
            return Ok((Library::OpenClip, files));
        }
        for file in &mut files {
            if let Found::There(remote) = file
                && remote.size.is_none_or(|size| size <= clip_files::MAX_CONFIG_BYTES)
            {
                let path =
                    self.source.download(remote).map_err(|fault| self.explain(&remote.file, &fault))?;
                *file = Found::Here(path);
            }
        }
        let of_a_clip = |file: &Found| !matches!(file, Found::Here(path) if !clip_files::is_of_a_clip(path));
        if files.iter().all(of_a_clip) {
            return Ok((Library::Transformers, files));
        }
        Ok(match self.look(&OTHER_SHAPE, &files)? {
            Some((_, other)) => (Library::OpenClip, files.into_iter().chain(other).collect()),
            None => (Library::Transformers, files),
        })
    }

    /// [`Self::find`], its fault explained.
    fn look(&self, row: &Row, before: &[Found]) -> Result<Option<(Way, Vec<Found>)>> {
        let found = self.find(row, before).map_err(|fault| self.explain(&row.named(), &fault))?;
        if found.is_none() {
            tracing::debug!("`{}` has no {}", self.id, row.named());
        }
        Ok(found)
    }

    /// The files of the first way that is cached whole, else of the first that the hub has; none for an optional
    /// row that it has no way for.
    fn find(&self, row: &Row, before: &[Found]) -> Result<Option<(Way, Vec<Found>)>, Fault> {
        if let Some((way, paths)) = row.ways.iter().find_map(|way| Some((*way, self.cached(way)?))) {
            return Ok(Some((way, paths.into_iter().map(Found::Here).collect())));
        }
        let snapshot = before.iter().find_map(|found| match found {
            Found::Here(path) => path.parent(),
            Found::There(_) => None,
        });
        let names = || row.ways.iter().flat_map(|way| way.iter());
        if row.optional && snapshot.is_some_and(|at| names().all(|file| self.source.cached.lacks(at, file))) {
            return Ok(None);
        }
        if self.source.hub.offline {
            return Err(Fault::Lost("the network is not asked (--offline, HF_HUB_OFFLINE)".into()));
        }
        let mut absent = None;
        for way in row.ways {
            match self.remote(way) {
                Ok(files) => return Ok(Some((way, files))),
                Err(fault) if fault.status() == Some(404) => absent = absent.or(Some(fault)),
                Err(fault) => return Err(fault),
            }
        }
        match absent {
            Some(_) if row.optional => {
                self.note_lacks(names(), before).map_err(Fault::Local)?;
                Ok(None)
            }
            Some(fault) => Err(fault),
            None => Ok(None),
        }
    }

    /// Remembers what an optional row lacks, so that the next run need not ask.
    fn note_lacks<'f>(&self, names: impl Iterator<Item = &'f &'f str>, before: &[Found]) -> Result<()> {
        let snapshot = before.iter().find_map(|found| match found {
            Found::Here(path) => path.parent().map(Path::to_path_buf),
            Found::There(remote) => Some(PathBuf::from(&remote.commit)),
        });
        for file in names {
            snapshot.iter().try_for_each(|at| self.source.cached.note_lack(at, file))?;
        }
        Ok(())
    }

    /// The cached paths of the files of a way, with the shards where it lists some; `None` if one is missing.
    fn cached(&self, way: &[&str]) -> Option<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> =
            way.iter().map(|file| self.source.cached.get(file)).collect::<Option<_>>()?;
        if is_list(way) {
            let shards = clip_files::shards(paths.first()?).ok()?;
            paths.extend(shards.iter().map(|file| self.source.cached.get(file)).collect::<Option<Vec<_>>>()?);
        }
        Some(paths)
    }

    fn remote(&self, way: &[&str]) -> Result<Vec<Found>, Fault> {
        let ask = |file: &str| self.source.ask(file).map(Found::There);
        let mut files: Vec<Found> = way.iter().map(|file| ask(file)).collect::<Result<_, _>>()?;
        if let (true, [Found::There(list)]) = (is_list(way), files.as_slice()) {
            let name = list.file.clone();
            let list = self.source.download(list)?;
            let shards = clip_files::shards(&list).map_err(Fault::Local)?;
            let more = shards.iter().map(|file| match self.source.cached.get(file) {
                Some(path) => Ok(Found::Here(path)),
                // A shard that is not there is a fault of the repository, and no reason to look for other weights.
                None => ask(file).map_err(|fault| Fault::Answer(format!("{file} of {name}: {fault}"))),
            });
            files.extend(more.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(files)
    }

    fn announce(&self, found: &[Found]) -> Result<()> {
        let coming: Vec<&Remote> = found
            .iter()
            .filter_map(|file| if let Found::There(remote) = file { Some(remote) } else { None })
            .collect();
        if coming.is_empty() {
            return Ok(());
        }
        let hub = self.source.hub;
        let bytes = coming.iter().filter_map(|remote| remote.size).fold(0, u64::saturating_add);
        let names: Vec<String> = coming
            .iter()
            .map(|r| format!("{} ({})", r.file, r.size.map_or("size unknown".into(), disk_space::size)))
            .collect();
        tracing::info!(
            "fetching `{}` from {} into {}: {}, {} together",
            self.id,
            hub.endpoint,
            hub.cache.display(),
            names.join(", "),
            disk_space::size(bytes)
        );
        disk_space::check(&hub.cache, bytes)
    }

    fn explain(&self, file: &str, fault: &Fault) -> Error {
        let Self { id, revision, source: Source { hub, .. } } = self;
        let (endpoint, cache) = (&hub.endpoint, hub.cache.display());
        let remedy = match hub.offline {
            true => "fetch it where there is a network (dsi data fetch clip:ID) and copy the cache here",
            false => remedy(file, fault),
        };
        Error::input(format!(
            "`{id}` is not a local folder, and {file} of the hub's `{id}`, revision `{revision}`, cannot be \
             fetched from {endpoint} into {cache}: {fault}; {remedy}"
        ))
    }
}

/// Whether a way is a list of shards.
fn is_list(way: &[&str]) -> bool {
    clip_files::WEIGHTS.iter().any(|weights| weights.sharded && way == [weights.file])
}
