//! Downloads CLIPs and dataset files from the Hugging Face hub into its local cache.
//!
//! `clip_model` lists the files of a CLIP. Only `config.json` and the index of shards are parsed here; the
//! readers of the encoder check all other files. The cache has the layout of Python's `huggingface_hub`
//! (through the crate `hf-hub`), so both programs share downloads. The transfer uses [`http`](super::http),
//! because that of `hf-hub` has no time-out for a stalled server and checks no checksum.

mod cache;
mod clip_model;
mod locations;

use std::path::PathBuf;
use std::{env, io};

use hf_hub::{Cache, Repo, RepoType};

use self::cache::Cached;
use self::locations::Locations;
use super::clip_files::is_plain;
use super::http::{Fault, FileInfo, Http};
use crate::error::{Error, Result};

/// The hub's address, the local cache and the client.
pub struct Hub {
    /// The URL before `/org/name/resolve/…`, without a slash at its end.
    pub endpoint: String,
    /// The folder that holds `models--org--name`.
    pub cache: PathBuf,
    /// The access token for gated and private models.
    pub token: Option<String>,
    /// Whether to use the cache only and no network.
    pub offline: bool,
    /// The client that downloads the files.
    pub http: Http,
}

impl Hub {
    /// From `HF_ENDPOINT` (else huggingface.co), `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`, and the variables of
    /// `Locations`.
    ///
    /// # Errors
    /// When neither the cache nor the home folder is known.
    pub fn from_env() -> Result<Self> {
        let lookup = |name: &str| env::var(name).ok();
        let text = |name| lookup(name).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let Locations { cache, token } = Locations::find(&lookup, env::home_dir())?;
        let offline = text("HF_HUB_OFFLINE")
            .or_else(|| text("TRANSFORMERS_OFFLINE"))
            .is_some_and(|t| ["1", "on", "yes", "true"].contains(&t.to_ascii_lowercase().as_str()));
        let endpoint = endpoint.trim_end_matches('/').into();
        Ok(Self { endpoint, cache, token, offline, http: Http::default() })
    }

    /// The snapshot folder of the model `id` at `revision`, downloaded if the cache is incomplete.
    ///
    /// # Errors
    /// When `id` is no `org/name`, `revision` is not usable as a path, the hub refuses or lacks a file or
    /// cannot be reached, the disk is too small, or the transfer fails too often. The message has the remedy.
    pub fn folder(&self, id: &str, revision: &str) -> Result<PathBuf> {
        if id.split('/').count() != 2 || !id.split('/').all(is_plain) || id.contains("--") {
            let allowed = format!(
                "give a folder with {}, or an id like openai/clip-vit-base-patch32",
                clip_model::file_names()
            );
            return Err(Error::input(format!("`{id}` is neither a local folder nor a hub id; {allowed}")));
        }
        if !revision.split('/').all(is_plain) {
            let allowed = "give a branch, tag or commit like main or refs/pr/15";
            return Err(Error::input(format!("`{revision}` is not a revision of `{id}`; {allowed}")));
        }
        clip_model::Model { id, revision, repository: Repository::model(self, id, revision) }.folder()
    }

    /// A dataset's file in the cache.
    pub fn cached(&self, dataset: &str, revision: &str, file: &str) -> Option<PathBuf> {
        Repository::dataset(self, dataset, revision).cached.get(file)
    }

    /// The URL of a dataset's file, and the access token.
    pub fn dataset_file(&self, dataset: &str, revision: &str, file: &str) -> (String, Option<String>) {
        let repository = Repository::dataset(self, dataset, revision);
        (repository.url(revision, file), repository.token)
    }
}

/// One repository at one revision, on the hub and in the cache.
struct Repository<'a> {
    hub: &'a Hub,
    /// Its path on the hub: `org/name`, or `datasets/org/name`.
    path: String,
    revision: String,
    cached: Cached,
    token: Option<String>,
}

/// A file on the hub that is not cached.
struct RemoteFile {
    file: String,
    commit: String,
    tag: String,
    size: Option<u64>,
}

impl<'a> Repository<'a> {
    fn model(hub: &'a Hub, id: &str, revision: &str) -> Self {
        Self::new(hub, id.to_owned(), Repo::with_revision(id.into(), RepoType::Model, revision.into()))
    }

    fn dataset(hub: &'a Hub, id: &str, revision: &str) -> Self {
        let repo = Repo::with_revision(id.into(), RepoType::Dataset, revision.into());
        Self::new(hub, format!("datasets/{id}"), repo)
    }

    fn new(hub: &'a Hub, path: String, repo: Repo) -> Self {
        let cache = Cache::new(hub.cache.clone());
        let token = hub.token.clone();
        Self { hub, path, revision: repo.revision().into(), cached: Cached::new(&cache, &repo), token }
    }

    fn url(&self, revision: &str, file: &str) -> String {
        format!("{}/{}/resolve/{}/{file}", self.hub.endpoint, self.path, revision.replace('/', "%2F"))
    }

    /// The hub's description of a file. The commit and the tag become parts of paths, so unsafe ones are
    /// refused.
    fn remote_file(&self, file: &str) -> Result<RemoteFile, Fault> {
        let url = self.url(&self.revision, file);
        let FileInfo { commit, tag, size, .. } = self.hub.http.head(&url, self.token.as_deref())?;
        let plain = |text: Option<String>| text.filter(|text| is_plain(text));
        match (plain(commit), plain(tag)) {
            (Some(commit), Some(tag)) => Ok(RemoteFile { file: file.into(), commit, tag, size }),
            _ => Err(Fault::Answer("the header x-repo-commit or etag is missing or invalid".into())),
        }
    }

    /// Downloads a file of the described commit, even if the branch has moved since.
    fn download(&self, remote: &RemoteFile) -> Result<PathBuf, Fault> {
        let url = self.url(&remote.commit, &remote.file);
        self.cached.put(remote, &self.hub.http, &url, self.token.as_deref())
    }
}

/// The remedy for a fault with a file of the hub.
pub fn remedy(file: &str, fault: &Fault) -> &'static str {
    match fault {
        Fault::Status { code: 401 | 403, .. } => {
            "set HF_TOKEN to a token that may read it and accept its licence on its page, \
             or correct the id: some hubs answer like this when it does not exist"
        }
        Fault::Status { code: 404, .. } if file.contains("model.safetensors") => {
            "the id or revision does not exist or has no weights of these names: \
             convert its weights, or choose a revision that has them (refs/pr/…)"
        }
        Fault::Status { code: 404, .. } => "the id, the revision or the file does not exist: correct them",
        Fault::Status { code: 429, .. } => {
            "the hub got too many requests: try again later, set HF_TOKEN for a higher limit, \
             or download the folder yourself and give its path"
        }
        Fault::Answer(_) => {
            "this is not the answer of a hub: check HF_ENDPOINT, and whether the network requires a login"
        }
        Fault::Local(Error::Io { reason, .. }) if reason.kind() == io::ErrorKind::StorageFull => {
            "free some space and try again: the download resumes"
        }
        Fault::Local(_) => "make sure that the folder is writable and has space",
        _ => "try again, or download the folder yourself and give its path",
    }
}
