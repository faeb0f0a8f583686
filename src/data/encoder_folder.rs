//! The folder of an encoder: a local one as it is, or a model of the Hugging Face hub, downloaded once.
//!
//! `encoder.path` of the configuration comes in; a folder in one of the layouts of [`super::clip_files`] goes
//! out.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::progress::Progress;

/// The folder of a CLIP: `path` itself if it is a local folder, else the cached snapshot of the hub's model
/// `path` (`org/name`) at `revision` (a branch, tag or commit), downloaded if the cache is incomplete. A
/// local folder takes precedence over a hub id of the same name; its content is not checked here. `progress`:
/// of the download.
///
/// # Errors
/// When `path` is neither, the hub does not give a file, or the hub is needed and this build lacks the
/// feature `fetch`.
pub fn find(path: &str, revision: &str, progress: Progress) -> Result<PathBuf> {
    if Path::new(path).is_dir() { Ok(path.into()) } else { from_hub(path, revision, progress) }
}

#[cfg(feature = "fetch")]
fn from_hub(id: &str, revision: &str, progress: Progress) -> Result<PathBuf> {
    let mut hub = super::hub::Hub::from_env()?;
    hub.http.progress = progress;
    hub.folder(id, revision)
}

#[cfg(not(feature = "fetch"))]
fn from_hub(id: &str, _revision: &str, _progress: Progress) -> Result<PathBuf> {
    Err(crate::error::Error::input(format!(
        "`{id}` is not a local folder, and this build cannot fetch it from the hub; build with the feature `fetch`, \
         or give the path of a local folder"
    )))
}

#[cfg(all(test, not(feature = "fetch")))]
mod tests {
    use super::*;

    #[test]
    fn a_hub_id_names_the_missing_feature() {
        let message = find("org/clip", "main", Progress::Hidden).unwrap_err().to_string();
        assert!(message.contains("build with the feature `fetch`"), "{message}");
    }
}
