//! A CLIP as a folder: one of this disk as it is, or one of the Hugging Face hub, downloaded once.
//!
//! `encoder.path` of the configuration comes in, a folder for the readers of the encoder goes out. Nothing is
//! parsed here: a file that is not what its name says (an HTML page where JSON should be) is its reader's to
//! refuse. Transfer and cache are `hf-hub`'s; the cache is laid out as Python's `huggingface_hub` does it, so
//! what one has downloaded serves the other.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind::UnexpectedEof, IsTerminal};
use std::path::{Path, PathBuf};
use std::{env, fs};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::error::{Error, Result};

/// What a CLIP consists of, the weights last because they are large. All rows are required; a row lists ways to
/// meet it, the first that the repository has is taken; a way lists files that go together.
const FILES: [&[&[&str]]; 4] = [
    &[&["config.json"]],
    &[&["preprocessor_config.json"]],
    &[&["tokenizer.json"], &["vocab.json", "merges.txt"]],
    &[&["model.safetensors"]],
];

/// The folder of a CLIP in Hugging Face's layout: `path` itself where that is a local folder, else the cached
/// snapshot of the hub's model `path` (`org/name`) at `revision` (a branch, tag or commit), downloaded where it
/// is not complete. A local folder goes before a hub id of the same name, and is not looked into.
///
/// # Errors
/// When `path` is neither, or the hub does not give a file: see [`Hub::folder`].
pub fn folder(path: &str, revision: &str) -> Result<PathBuf> {
    if Path::new(path).is_dir() { Ok(path.into()) } else { Hub::from_env()?.folder(path, revision) }
}

/// Where models come from and where they are kept.
pub struct Hub {
    /// The address before `/org/name/resolve/…`, without a slash at its end.
    pub endpoint: String,
    /// The folder that holds `models--org--name`.
    pub cache: PathBuf,
    /// What a gated or private model asks for; `None`: the file `token` beside the cache, where there is one.
    pub token: Option<String>,
}

impl Hub {
    /// From `HF_ENDPOINT` (else huggingface.co), `HF_HOME` (else `~/.cache/huggingface`) and `HF_TOKEN`.
    ///
    /// # Errors
    /// When neither `HF_HOME` nor the home folder is known.
    pub fn from_env() -> Result<Self> {
        let text = |name| env::var(name).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let home = text("HF_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(env::home_dir()?.join(".cache/huggingface")));
        let home = home.ok_or_else(|| Error::input("there is no home folder to download to; set HF_HOME"))?;
        let endpoint = endpoint.trim_end_matches('/').into();
        Ok(Self { endpoint, cache: home.join("hub"), token: text("HF_TOKEN") })
    }

    /// The snapshot folder of the model `id` at `revision`. Complete in the cache, it needs no network.
    ///
    /// # Errors
    /// When `id` is no `org/name`, `revision` is not usable as a path, the hub refuses or lacks a file or cannot
    /// be reached, or the transfer ends early. The message says what to do.
    pub fn folder(&self, id: &str, revision: &str) -> Result<PathBuf> {
        if id.split('/').count() != 2 || !id.split('/').all(is_plain) || id.contains("--") {
            let files = FILES.map(named).join(", ");
            let allowed = format!("give a folder with {files}, or an id like openai/clip-vit-base-patch32");
            return Err(Error::input(format!("`{id}` is neither a local folder nor a hub id; {allowed}")));
        }
        if !revision.split('/').all(is_plain) {
            let allowed = "give a branch, tag or commit like main or refs/pr/15";
            return Err(Error::input(format!("`{revision}` is not a revision of `{id}`; {allowed}")));
        }
        self.model(id, revision)?.folder()
    }

    fn model<'a>(&'a self, id: &'a str, revision: &'a str) -> Result<Model<'a>> {
        let cache = Cache::new(self.cache.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone().or_else(|| cache.token()))
            .with_progress(io::stderr().is_terminal())
            .build()
            .map_err(|e| Error::input(format!("cannot prepare to download `{id}`: {e}")))?;
        let repo = Repo::with_revision(id.into(), RepoType::Model, revision.into());
        Ok(Model { hub: self, id, revision, cached: cache.repo(repo.clone()), remote: api.repo(repo), api })
    }
}

/// One model at one revision, in the cache and on the hub.
struct Model<'a> {
    hub: &'a Hub,
    id: &'a str,
    revision: &'a str,
    cached: CacheRepo,
    remote: ApiRepo,
    api: Api,
}

impl Model<'_> {
    /// A branch may have moved since a part of it was cached: the files then lie in the folders of two commits.
    /// The cache follows the newer one, so a second pass completes that.
    fn folder(&self) -> Result<PathBuf> {
        for _ in 0..2 {
            let mut folders = BTreeSet::new();
            for ways in FILES {
                let paths = self.fetch(ways).map_err(|e| self.explain(&named(ways), &e))?;
                folders.extend(paths.iter().filter_map(|path| path.parent()).map(Path::to_path_buf));
            }
            if let (Some(folder), true) = (folders.pop_first(), folders.is_empty()) {
                return Ok(folder);
            }
        }
        Err(Error::input(format!("the hub's `{}` changes while it is fetched; try again", self.id)))
    }

    /// The paths of the files of the first way that is cached, else of the first that the hub has.
    fn fetch(&self, ways: &[&[&str]]) -> Result<Vec<PathBuf>, ApiError> {
        let cached = |files: &&[&str]| files.iter().map(|file| self.cached.get(file)).collect();
        if let Some(paths) = ways.iter().find_map(cached) {
            return Ok(paths);
        }
        let (way, others) = ways.split_first().expect("invariant: a row has a way");
        match way.iter().map(|file| self.download(file)).collect() {
            Err(absent) if status(&absent) == Some(404) && !others.is_empty() => self.fetch(others),
            fetched => fetched,
        }
    }

    /// `hf-hub` makes paths of what the server calls the commit and the content, and believes a body without a
    /// length to be whole wherever it ends; so both are checked here.
    fn download(&self, file: &str) -> Result<PathBuf, ApiError> {
        let told = self.api.metadata(&self.remote.url(file))?;
        if !is_plain(told.commit_hash()) || !told.etag().split('/').all(is_plain) {
            return Err(ApiError::InvalidHeader("x-repo-commit or etag"));
        }
        let path = self.remote.download(file)?;
        let length = fs::metadata(&path)?.len();
        if length < told.size() as u64 {
            // Left alone, it would count as cached: the content, and the link to it where the system has links.
            fs::remove_file(path.canonicalize()?)?;
            fs::remove_file(&path).ok();
            let what = format!("{length} of {} bytes came", told.size());
            return Err(io::Error::new(UnexpectedEof, what).into());
        }
        Ok(path)
    }

    fn explain(&self, file: &str, error: &ApiError) -> Error {
        let Self { hub: Hub { endpoint, cache, .. }, id, revision, .. } = self;
        let (cache, remedy) = (cache.display(), remedy(file, error));
        Error::input(format!(
            "`{id}` is not a local folder, and {file} of the hub's `{id}`, revision `{revision}`, cannot be \
             fetched from {endpoint} into {cache}: {error}; {remedy}"
        ))
    }
}

fn remedy(file: &str, error: &ApiError) -> &'static str {
    match (status(error), error) {
        (Some(401 | 403), _) => {
            "set HF_TOKEN to a token that may read it and accept its licence on its page, \
             or correct the id: some hubs answer so for one that does not exist"
        }
        (Some(404), _) if file == "model.safetensors" => {
            "the id or revision does not exist or has no model.safetensors: \
             convert its weights, or choose a revision that has them (refs/pr/…)"
        }
        (Some(404), _) => "the id, the revision or the file does not exist: correct them",
        (Some(416), _) | (_, ApiError::InvalidResume) => "delete the *.part files there, and try again",
        (_, ApiError::LockAcquisition(_)) => "another process downloads it: try again when that is done",
        (_, ApiError::MissingHeader(_) | ApiError::InvalidHeader(_)) => {
            "a hub does not answer so: check HF_ENDPOINT, and whether the network asks for a login"
        }
        (_, ApiError::IoError(e)) if e.kind() != UnexpectedEof => {
            "try again; if that does not help, see that the folder can be written and has room"
        }
        _ => "try again, or download the folder yourself and give its path",
    }
}

/// A row of [`FILES`] in words.
fn named(ways: &[&[&str]]) -> String {
    ways.iter().map(|files| files.join(" + ")).collect::<Vec<_>>().join(" or ")
}

/// Whether text is safe as one part of an address and of a path.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !part.is_empty() && !part.starts_with(['-', '.']) && !part.contains("..") && part.chars().all(allowed)
}

/// The status a server refused with. By its text, for `hf-hub` does not export the type of its errors.
fn status(error: &ApiError) -> Option<u16> {
    let ApiError::RequestError(error) = error else { return None };
    error.to_string().strip_prefix("http status: ")?.parse().ok()
}
