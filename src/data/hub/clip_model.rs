//! Completes the cached folder of a CLIP of the hub: finds its files in the cache or on the hub, and
//! downloads the missing ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{RemoteFile, Repository, remedy};
use crate::data::clip_files::{self, Library};
use crate::data::disk_space;
use crate::data::http::Fault;
use crate::error::{Error, Result};

/// Files that belong together.
type FileSet = &'static [&'static str];

/// One component of a CLIP. The first file set that exists is used.
struct Component {
    alternatives: &'static [FileSet],
    optional: bool,
}

const fn required(alternatives: &'static [FileSet]) -> Component {
    Component { alternatives, optional: false }
}

/// The shape of a CLIP.
///
/// This and the names below are `transformers`' (github.com/huggingface/transformers,
/// src/transformers/utils/__init__.py: `CONFIG_NAME`, `SAFE_WEIGHTS_NAME`, `SAFE_WEIGHTS_INDEX_NAME`,
/// `WEIGHTS_NAME`, `IMAGE_PROCESSOR_NAME`, `PROCESSOR_NAME`; models/clip/tokenization_clip.py: `VOCAB_FILES_NAMES`) and
/// `open_clip`'s (github.com/mlfoundations/open_clip, src/open_clip/constants.py: `HF_WEIGHTS_NAME`,
/// `HF_SAFE_WEIGHTS_NAME`, `HF_CONFIG_NAME`).
const SHAPE: Component = required(&[&[clip_files::CONFIG], &[clip_files::OPEN_CLIP_CONFIG]]);
/// open_clip's shape in a repository with a `config.json` that is not a CLIP's. timm's repositories have both
/// (github.com/huggingface/pytorch-image-models, timm/models/_hub.py: `save_config_for_hf` writes the other).
const OPEN_CLIP_SHAPE: Component =
    Component { alternatives: &[&[clip_files::OPEN_CLIP_CONFIG]], optional: true };
const PREPROCESSING: Component = required(&[&[clip_files::PREPROCESSOR], &[clip_files::PROCESSOR]]);
/// open_clip's shape file includes the preprocessing.
const OPEN_CLIP_PREPROCESSING: Component =
    Component { alternatives: &[&[clip_files::PREPROCESSOR]], optional: true };
const TOKENIZER: Component =
    required(&[&[clip_files::TOKENIZER], &[clip_files::VOCABULARY, clip_files::MERGES]]);
const T: [FileSet; 4] = [
    &[clip_files::WEIGHTS[0].file],
    &[clip_files::WEIGHTS[1].file],
    &[clip_files::WEIGHTS[2].file],
    &[clip_files::WEIGHTS[3].file],
];
const O: [FileSet; 2] = [&[clip_files::OPEN_CLIP_WEIGHTS[0].file], &[clip_files::OPEN_CLIP_WEIGHTS[1].file]];
const WEIGHTS: Component = required(&[T[0], T[1], T[2], T[3], O[0], O[1]]);
const OPEN_CLIP_WEIGHTS: Component = required(&[O[0], O[1], T[0], T[1], T[2], T[3]]);

/// The components besides the shape. The weights come last because they are large.
const fn other_components(library: Library) -> [Component; 3] {
    match library {
        // OpenAI's first release is not on the hub.
        Library::Transformers | Library::OpenAi => [PREPROCESSING, TOKENIZER, WEIGHTS],
        Library::OpenClip => [OPEN_CLIP_PREPROCESSING, TOKENIZER, OPEN_CLIP_WEIGHTS],
    }
}

/// The files of a CLIP, for messages.
pub fn file_names() -> String {
    let [preprocessing, tokenizer, weights] = other_components(Library::Transformers);
    [SHAPE, preprocessing, tokenizer, weights].map(|component| component.file_names()).join(", ")
}

impl Component {
    /// The alternatives, for messages.
    fn file_names(&self) -> String {
        self.alternatives.iter().map(|files| files.join(" + ")).collect::<Vec<_>>().join(" or ")
    }

    /// All files of all alternatives.
    fn files(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.alternatives.iter().flat_map(|files| files.iter().copied())
    }
}

/// A file of the model.
enum Located {
    Cached(PathBuf),
    OnHub(RemoteFile),
}

impl Located {
    /// The snapshot folder of a cached file.
    fn snapshot(&self) -> Option<&Path> {
        match self {
            Self::Cached(path) => path.parent(),
            Self::OnHub(_) => None,
        }
    }

    /// Whether this is a cached `config.json` that is not a CLIP's.
    fn is_of_no_clip(&self) -> bool {
        matches!(self, Self::Cached(path) if !clip_files::is_of_a_clip(path))
    }
}

/// The file set of a component that is used, and its files.
type Chosen = (FileSet, Vec<Located>);

/// One model at one revision.
pub struct Model<'a> {
    pub id: &'a str,
    pub revision: &'a str,
    pub repository: Repository<'a>,
}

impl Model<'_> {
    /// The complete snapshot folder. If the branch moved since some files were cached, the first pass finds
    /// files of two commits; the cache then follows the newer commit, and a second pass completes it.
    pub fn folder(&self) -> Result<PathBuf> {
        for _ in 0..2 {
            let mut folders = self.complete()?;
            if let (Some(folder), true) = (folders.pop_first(), folders.is_empty()) {
                return Ok(folder);
            }
        }
        Err(Error::input(format!("the hub's `{}` changed during the download; try again", self.id)))
    }

    /// Locates all files, announces and downloads the missing ones, and returns the folders of all files.
    fn complete(&self) -> Result<BTreeSet<PathBuf>> {
        let (library, mut located) = self.shape()?;
        for component in other_components(library) {
            if let Some((_, files)) = self.locate_or_explain(&component, &located)? {
                located.extend(files);
            }
        }
        self.announce(&located)?;
        let mut folders = BTreeSet::new();
        for file in located {
            let path = match file {
                Located::Cached(path) => path,
                Located::OnHub(remote) => self.download(&remote)?,
            };
            folders.extend(path.parent().map(Path::to_path_buf));
        }
        Ok(folders)
    }

    fn download(&self, remote: &RemoteFile) -> Result<PathBuf> {
        self.repository.download(remote).map_err(|fault| self.explain(&remote.file, &fault))
    }

    /// The files of the shape, and their library. A `config.json` is downloaded at once, because its content
    /// decides: if it is not a CLIP's, the repository may have open_clip's files too.
    fn shape(&self) -> Result<(Library, Vec<Located>)> {
        let Some((names, mut files)) = self.locate_or_explain(&SHAPE, &[])? else {
            return Ok((Library::Transformers, Vec::new()));
        };
        if !names.contains(&clip_files::CONFIG) {
            return Ok((Library::OpenClip, files));
        }
        for file in &mut files {
            if let Located::OnHub(remote) = file
                && remote.size.is_none_or(|size| size <= clip_files::MAX_CONFIG_BYTES)
            {
                *file = Located::Cached(self.download(remote)?);
            }
        }
        if !files.iter().any(Located::is_of_no_clip) {
            return Ok((Library::Transformers, files));
        }
        Ok(match self.locate_or_explain(&OPEN_CLIP_SHAPE, &files)? {
            Some((_, shape)) => (Library::OpenClip, files.into_iter().chain(shape).collect()),
            None => (Library::Transformers, files),
        })
    }

    /// [`Self::locate`], with its fault explained to the user.
    fn locate_or_explain(&self, component: &Component, located: &[Located]) -> Result<Option<Chosen>> {
        let chosen =
            self.locate(component, located).map_err(|fault| self.explain(&component.file_names(), &fault))?;
        if chosen.is_none() {
            tracing::debug!("`{}` has no {}", self.id, component.file_names());
        }
        Ok(chosen)
    }

    /// The first file set that is completely cached, else the first one on the hub; `None` if there is none
    /// and the component is optional. `located` are the files of the components before.
    fn locate(&self, component: &Component, located: &[Located]) -> Result<Option<Chosen>, Fault> {
        if let Some((names, paths)) =
            component.alternatives.iter().find_map(|names| Some((*names, self.cached(names)?)))
        {
            return Ok(Some((names, paths.into_iter().map(Located::Cached).collect())));
        }
        if component.optional && self.all_known_missing(component, located) {
            return Ok(None);
        }
        if self.repository.hub.offline {
            return Err(Fault::Lost("the network is off (--offline, HF_HUB_OFFLINE)".into()));
        }
        let mut first_absence = None;
        for names in component.alternatives {
            match self.on_hub(names) {
                Ok(files) => return Ok(Some((names, files))),
                Err(fault) if fault.status() == Some(404) => first_absence = first_absence.or(Some(fault)),
                Err(fault) => return Err(fault),
            }
        }
        match first_absence {
            Some(_) if component.optional => {
                self.remember_missing(component, located).map_err(Fault::Local)?;
                Ok(None)
            }
            Some(fault) => Err(fault),
            None => Ok(None),
        }
    }

    /// Whether the cache remembers that the commit of the located files has none of the component's files.
    fn all_known_missing(&self, component: &Component, located: &[Located]) -> bool {
        let snapshot = located.iter().find_map(Located::snapshot);
        snapshot.is_some_and(|snapshot| {
            component.files().all(|file| self.repository.cached.is_known_missing(snapshot, file))
        })
    }

    /// Remembers that the hub has none of the component's files, so that the next run sends no request.
    fn remember_missing(&self, component: &Component, located: &[Located]) -> Result<()> {
        let snapshot = located.iter().find_map(|file| match file {
            Located::Cached(path) => path.parent().map(Path::to_path_buf),
            Located::OnHub(remote) => Some(PathBuf::from(&remote.commit)),
        });
        let Some(snapshot) = snapshot else { return Ok(()) };
        component.files().try_for_each(|file| self.repository.cached.remember_missing(&snapshot, file))
    }

    /// The cached paths of a file set and the shards it lists; `None` if a file is not cached.
    fn cached(&self, names: &[&str]) -> Option<Vec<PathBuf>> {
        let cache = &self.repository.cached;
        let mut paths: Vec<PathBuf> = names.iter().map(|file| cache.get(file)).collect::<Option<_>>()?;
        if names == [clip_files::PROCESSOR] && !clip_files::has_image_processor(paths.first()?) {
            return None; // of transformers 4; the hub has the other file
        }
        if is_shard_index(names) {
            let shards = clip_files::shards(paths.first()?).ok()?;
            paths.extend(shards.iter().map(|file| cache.get(file)).collect::<Option<Vec<_>>>()?);
        }
        Some(paths)
    }

    /// A file set on the hub. An index is downloaded, and the shards it lists are located too.
    fn on_hub(&self, names: &[&str]) -> Result<Vec<Located>, Fault> {
        let remote = |file: &str| self.repository.remote_file(file).map(Located::OnHub);
        let mut files: Vec<Located> = names.iter().map(|file| remote(file)).collect::<Result<_, _>>()?;
        if let (true, [Located::OnHub(index)]) = (is_shard_index(names), files.as_slice()) {
            let index_name = index.file.clone();
            let index = self.repository.download(index)?;
            for shard in clip_files::shards(&index).map_err(Fault::Local)? {
                files.push(match self.repository.cached.get(&shard) {
                    Some(path) => Located::Cached(path),
                    // A missing shard is an error of the repository, not a reason to try other weights.
                    None => remote(&shard)
                        .map_err(|fault| Fault::Answer(format!("{shard} of {index_name}: {fault}")))?,
                });
            }
        }
        Ok(files)
    }

    /// Logs the files to download and checks that they fit on the disk.
    fn announce(&self, located: &[Located]) -> Result<()> {
        let missing: Vec<&RemoteFile> = located
            .iter()
            .filter_map(|file| if let Located::OnHub(remote) = file { Some(remote) } else { None })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let hub = self.repository.hub;
        let bytes = missing.iter().filter_map(|remote| remote.size).fold(0, u64::saturating_add);
        let names: Vec<String> = missing
            .iter()
            .map(|r| format!("{} ({})", r.file, r.size.map_or("size unknown".into(), disk_space::size)))
            .collect();
        tracing::info!(
            "fetching `{}` from {} into {}: {}, {} in all",
            self.id,
            hub.endpoint,
            hub.cache.display(),
            names.join(", "),
            disk_space::size(bytes)
        );
        disk_space::check(&hub.cache, bytes)
    }

    fn explain(&self, file: &str, fault: &Fault) -> Error {
        let Self { id, revision, repository: Repository { hub, .. } } = self;
        let (endpoint, cache) = (&hub.endpoint, hub.cache.display());
        let remedy = if hub.offline {
            "fetch it on a machine with a network (dsi data fetch clip:ID) and copy the cache here"
        } else {
            remedy(file, fault)
        };
        Error::input(format!(
            "`{id}` is not a local folder, and {file} of the hub's `{id}`, revision `{revision}`, cannot be \
             fetched from {endpoint} into {cache}: {fault}; {remedy}"
        ))
    }
}

/// Whether a file set is an index of shards.
fn is_shard_index(names: &[&str]) -> bool {
    clip_files::WEIGHTS.iter().any(|weights| weights.sharded && names == [weights.file])
}
