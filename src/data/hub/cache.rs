//! The cache of one repository, in the layout of Python's `huggingface_hub`: `blobs/TAG` has the content,
//! `snapshots/COMMIT/FILE` links to it, `refs/REVISION` names the commit, and `.no_exist/COMMIT/FILE` marks a
//! file that the commit lacks.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo};

use super::RemoteFile;
use crate::data::http::{Checksum, Download, Fault, Http};
use crate::error::{Error, Result};

/// The cached files of one repository at one revision.
pub struct Cached {
    repo: CacheRepo,
    folder: PathBuf,
}

impl Cached {
    /// The cache of `repo`.
    pub fn new(cache: &Cache, repo: &Repo) -> Self {
        Self { folder: cache.path().join(repo.folder_name()), repo: cache.repo(repo.clone()) }
    }

    /// A file of the commit that the revision last pointed to, or of the revision itself if it is a commit.
    pub fn get(&self, file: &str) -> Option<PathBuf> {
        self.repo.get(file)
    }

    /// Whether the cache remembers that the snapshot's commit has no such file.
    pub fn is_known_missing(&self, snapshot: &Path, file: &str) -> bool {
        self.missing_marker(snapshot, file).exists()
    }

    /// Remembers that the commit of a snapshot folder has no such file.
    pub fn remember_missing(&self, snapshot: &Path, file: &str) -> Result<()> {
        crate::file_io::write_atomic(&self.missing_marker(snapshot, file), |_| Ok(()))
    }

    fn missing_marker(&self, snapshot: &Path, file: &str) -> PathBuf {
        let commit = snapshot.file_name().unwrap_or_default();
        self.folder.join(".no_exist").join(commit).join(file)
    }

    /// Downloads a file if its content is not cached, links it into its snapshot, and points the revision to
    /// its commit.
    pub fn put(
        &self,
        remote: &RemoteFile,
        http: &Http,
        url: &str,
        token: Option<&str>,
    ) -> Result<PathBuf, Fault> {
        let blob = self.folder.join("blobs").join(&remote.tag);
        let is_whole = |length: u64| remote.size.is_none_or(|size| size == length);
        if !fs::metadata(&blob).is_ok_and(|blob| is_whole(blob.len())) {
            let checksum = Checksum::of_tag(&remote.tag);
            let RemoteFile { file: name, size, .. } = remote;
            http.download(&Download {
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

/// Puts the content into the snapshot as `file`: a relative link, so that the cache can be moved, or a copy
/// on a system without links.
fn link(blob: &Path, snapshot: &Path, file: &str) -> Result<()> {
    fs::create_dir_all(snapshot).map_err(Error::io("create", snapshot))?;
    let path = snapshot.join(file);
    if path.exists() {
        return Ok(());
    }
    fs::remove_file(&path).ok(); // a dangling link
    let name = blob.file_name().unwrap_or_default();
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(Path::new("../../blobs").join(name), &path);
    #[cfg(not(unix))]
    let made = fs::copy(blob, &path).map(|_| name).map(drop);
    made.map_err(Error::io("create", &path))
}
