//! A CLIP as a folder: one of this disk as it is, or one of the Hugging Face hub, downloaded once.
//!
//! `encoder.path` of the configuration comes in, a folder for the readers of the encoder goes out. Which files
//! make a CLIP is said in `clip`; nothing is parsed here but the list of a model's shards: a file that is not what
//! its name says is its reader's to refuse. The cache is laid out as Python's `huggingface_hub` does it (through
//! `hf-hub`), so what one has downloaded serves the other. The transfer is [`http`](super::http)'s: `hf-hub`'s own
//! waits for a silent server for ever, never checks what came, and cannot be told otherwise.

mod cache;
mod clip_model;

use std::path::PathBuf;
use std::{env, io};

use hf_hub::{Cache, Repo, RepoType};

use self::cache::Cached;
use super::clip_files::is_plain;
use super::http::{Fault, Http, Told};
use crate::error::{Error, Result};

/// Where models come from and where they are kept.
pub struct Hub {
    /// The address before `/org/name/resolve/…`, without a slash at its end.
    pub endpoint: String,
    /// The folder that holds `models--org--name`.
    pub cache: PathBuf,
    /// What a gated or private model asks for; `None`: the file `token` beside the cache, where there is one.
    pub token: Option<String>,
    /// Whether the network is left alone: what is not cached is then missing.
    pub offline: bool,
    /// What fetches the files.
    pub http: Http,
}

impl Hub {
    /// From `HF_ENDPOINT` (else huggingface.co), `HF_HOME` (else `~/.cache/huggingface`), `HF_TOKEN` and
    /// `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// When neither `HF_HOME` nor the home folder is known.
    pub fn from_env() -> Result<Self> {
        let text = |name| env::var(name).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let home = text("HF_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(env::home_dir()?.join(".cache/huggingface")));
        let home = home.ok_or_else(|| Error::input("there is no home folder to download to; set HF_HOME"))?;
        let offline = text("HF_HUB_OFFLINE")
            .is_some_and(|t| ["1", "on", "yes", "true"].contains(&t.to_ascii_lowercase().as_str()));
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            cache: home.join("hub"),
            token: text("HF_TOKEN"),
            offline,
            http: Http::default(),
        })
    }

    /// The snapshot folder of the model `id` at `revision`. Complete in the cache, it needs no network.
    ///
    /// # Errors
    /// When `id` is no `org/name`, `revision` is not usable as a path, the hub refuses or lacks a file or cannot
    /// be reached, the disk has no room, or the transfer ends early too often. The message says what to do.
    pub fn folder(&self, id: &str, revision: &str) -> Result<PathBuf> {
        if id.split('/').count() != 2 || !id.split('/').all(is_plain) || id.contains("--") {
            let allowed = format!(
                "give a folder with {}, or an id like openai/clip-vit-base-patch32",
                clip_model::named()
            );
            return Err(Error::input(format!("`{id}` is neither a local folder nor a hub id; {allowed}")));
        }
        if !revision.split('/').all(is_plain) {
            let allowed = "give a branch, tag or commit like main or refs/pr/15";
            return Err(Error::input(format!("`{revision}` is not a revision of `{id}`; {allowed}")));
        }
        clip_model::Model { id, revision, source: Source::model(self, id, revision) }.folder()
    }

    /// The file of a dataset that some program has already downloaded into the cache.
    pub fn cached(&self, dataset: &str, revision: &str, file: &str) -> Option<PathBuf> {
        Source::dataset(self, dataset, revision).cached.get(file)
    }

    /// The address of a file of a dataset, and the token for it.
    pub fn dataset_file(&self, dataset: &str, revision: &str, file: &str) -> (String, Option<String>) {
        let source = Source::dataset(self, dataset, revision);
        (source.url(revision, file), source.token)
    }
}

/// One repository at one revision: on the hub and in the cache.
struct Source<'a> {
    hub: &'a Hub,
    /// Its path on the hub: `org/name`, or `datasets/org/name`.
    path: String,
    revision: String,
    cached: Cached,
    token: Option<String>,
}

/// A file that the hub has and the cache has not.
struct Remote {
    file: String,
    commit: String,
    tag: String,
    size: Option<u64>,
}

impl<'a> Source<'a> {
    fn model(hub: &'a Hub, id: &str, revision: &str) -> Self {
        Self::new(hub, id.to_owned(), Repo::with_revision(id.into(), RepoType::Model, revision.into()))
    }

    fn dataset(hub: &'a Hub, id: &str, revision: &str) -> Self {
        let repo = Repo::with_revision(id.into(), RepoType::Dataset, revision.into());
        Self::new(hub, format!("datasets/{id}"), repo)
    }

    fn new(hub: &'a Hub, path: String, repo: Repo) -> Self {
        let cache = Cache::new(hub.cache.clone());
        let token = hub.token.clone().or_else(|| cache.token());
        Self { hub, path, revision: repo.revision().into(), cached: Cached::new(&cache, &repo), token }
    }

    fn url(&self, revision: &str, file: &str) -> String {
        format!("{}/{}/resolve/{}/{file}", self.hub.endpoint, self.path, revision.replace('/', "%2F"))
    }

    /// What the hub has under this name. Paths are made of what it calls the commit and the content, so both are
    /// looked at closely.
    fn ask(&self, file: &str) -> Result<Remote, Fault> {
        let url = self.url(&self.revision, file);
        let Told { commit, tag, size, .. } = self.hub.http.head(&url, self.token.as_deref())?;
        let plain = |text: Option<String>| text.filter(|text| is_plain(text));
        match (plain(commit), plain(tag)) {
            (Some(commit), Some(tag)) => Ok(Remote { file: file.into(), commit, tag, size }),
            _ => Err(Fault::Answer("the header x-repo-commit or etag is missing or invalid".into())),
        }
    }

    /// Downloads a file of the commit that was told, whatever the branch has become since.
    fn download(&self, remote: &Remote) -> Result<PathBuf, Fault> {
        let url = self.url(&remote.commit, &remote.file);
        self.cached.put(remote, &self.hub.http, &url, self.token.as_deref())
    }
}

/// What the user can do about a fault at a file of the hub.
pub fn remedy(file: &str, fault: &Fault) -> &'static str {
    match fault {
        Fault::Status { code: 401 | 403, .. } => {
            "set HF_TOKEN to a token that may read it and accept its licence on its page, \
             or correct the id: some hubs answer so for one that does not exist"
        }
        Fault::Status { code: 404, .. } if file.contains("model.safetensors") => {
            "the id or revision does not exist or has no weights of these names: \
             convert its weights, or choose a revision that has them (refs/pr/…)"
        }
        Fault::Status { code: 404, .. } => "the id, the revision or the file does not exist: correct them",
        Fault::Status { code: 429, .. } => {
            "the hub has had too many questions: try again later, with HF_TOKEN set for a larger allowance, \
             or download the folder yourself and give its path"
        }
        Fault::Answer(_) => {
            "a hub does not answer so: check HF_ENDPOINT, and whether the network asks for a login"
        }
        Fault::Local(Error::Io { reason, .. }) if reason.kind() == io::ErrorKind::StorageFull => {
            "make room, and try again: what has come is kept"
        }
        Fault::Local(_) => "see that the folder can be written and has room",
        _ => "try again, or download the folder yourself and give its path",
    }
}
