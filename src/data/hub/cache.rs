//! The cache of one repository, as Python's `huggingface_hub` lays it out: `blobs/TAG` has the content,
//! `snapshots/COMMIT/FILE` links to it, `refs/REVISION` names the commit, `.no_exist/COMMIT/FILE` says that the
//! commit has no such file.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo};

use super::Remote;
use crate::data::http::{Checksum, Fault, Http, Wanted};
use crate::error::{Error, Result};

/// The cached files of one repository at one revision.
pub struct Cached {
    repo: CacheRepo,
    folder: PathBuf,
}

impl Cached {
    /// Those of `repo`.
    pub fn new(cache: &Cache, repo: &Repo) -> Self {
        Self { folder: cache.path().join(repo.folder_name()), repo: cache.repo(repo.clone()) }
    }

    /// A file of the commit that the revision was last seen at, or, where the revision is a commit, of that.
    pub fn get(&self, file: &str) -> Option<PathBuf> {
        self.repo.get(file)
    }

    /// Whether that commit was seen to have no such file.
    pub fn lacks(&self, snapshot: &Path, file: &str) -> bool {
        self.absent(snapshot, file).exists()
    }

    /// Remembers that the commit of a snapshot folder has no such file.
    pub fn note_lack(&self, snapshot: &Path, file: &str) -> Result<()> {
        crate::file_io::write_atomic(&self.absent(snapshot, file), |_| Ok(()))
    }

    fn absent(&self, snapshot: &Path, file: &str) -> PathBuf {
        let commit = snapshot.file_name().unwrap_or_default();
        self.folder.join(".no_exist").join(commit).join(file)
    }

    /// Downloads a file where its content is not here yet, links it into its snapshot, and moves the revision to
    /// that commit.
    pub fn put(
        &self,
        remote: &Remote,
        http: &Http,
        url: &str,
        token: Option<&str>,
    ) -> Result<PathBuf, Fault> {
        let blob = self.folder.join("blobs").join(&remote.tag);
        let is_whole = |length: u64| remote.size.is_none_or(|size| size == length);
        if !fs::metadata(&blob).is_ok_and(|blob| is_whole(blob.len())) {
            let checksum = Checksum::of_tag(&remote.tag);
            let Remote { file: name, size, .. } = remote;
            http.download(&Wanted {
                name,
                url,
                token,
                path: &blob,
                size: *size,
                checksum: checksum.as_ref(),
            })?;
        }
        let snapshot = self.repo.pointer_path(&remote.commit);
        link(&blob, &snapshot, &remote.file).map_err(Fault::Local)?;
        self.repo
            .create_ref(&remote.commit)
            .map_err(Error::io("write", &self.folder))
            .map_err(Fault::Local)?;
        Ok(snapshot.join(&remote.file))
    }
}

/// Makes `file` in the snapshot stand for the content: a link that survives a move of the cache, or where the
/// system has no links the content itself.
fn link(blob: &Path, snapshot: &Path, file: &str) -> Result<()> {
    fs::create_dir_all(snapshot).map_err(Error::io("create", snapshot))?;
    let path = snapshot.join(file);
    if path.exists() {
        return Ok(());
    }
    fs::remove_file(&path).ok(); // a link to content that is gone
    let name = blob.file_name().unwrap_or_default();
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(Path::new("../../blobs").join(name), &path);
    #[cfg(not(unix))]
    let made = fs::copy(blob, &path).map(|_| name).map(drop);
    made.map_err(Error::io("create", &path))
}
