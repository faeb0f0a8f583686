//! The folder of an encoder: a local one as it is, or a model of the Hugging Face hub, downloaded once.
//!
//! `encoder.path` of the configuration comes in; a folder in one of the layouts of [`super::clip_files`] goes
//! out.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Folders that shipped configurations keep local files in.
const LOCAL_FOLDERS: [&str; 3] = ["data", "runs", "configs"];

/// The folder of a CLIP: `path` itself if it is a local folder, else the cached snapshot of the hub's model
/// `path` (`org/name`) at `revision` (a branch, tag or commit), downloaded if the cache is incomplete. A
/// local folder takes precedence over a hub id of the same name; its content is not checked here. `progress`:
/// of the download.
///
/// # Errors
/// When `path` is neither, looks like a local folder that is not there, the hub does not give a file, or the hub is
/// needed and this build lacks the feature `fetch`.
pub fn find(path: &str, revision: &str, progress: Progress) -> Result<PathBuf> {
    if Path::new(path).is_dir() {
        return Ok(path.into());
    }
    if looks_local(path) {
        return Err(Error::input(format!(
            "`{path}` is neither a local folder nor a hub id{}",
            meant_from(path)
        )));
    }
    tracing::info!("`{path}` is no local folder{}: looking for it on the hub", meant_from(path));
    from_hub(path, revision, progress)
}

/// Whether a path that is not there was meant as a local one: it has not the form `org/name` of a hub's id, its first
/// part is a local folder, or one that this project's configurations keep local files in.
fn looks_local(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    path.split('/').count() != 2
        || path.starts_with(['.', '~'])
        || LOCAL_FOLDERS.contains(&first)
        || Path::new(path).exists()
        || Path::new(first).is_dir()
}

/// `, meant from /home/me`; nothing for an absolute path.
fn meant_from(path: &str) -> String {
    match std::env::current_dir() {
        Ok(folder) if Path::new(path).is_relative() => {
            format!(" (relative paths are meant from {})", folder.display())
        }
        _ => String::new(),
    }
}

#[cfg(feature = "fetch")]
fn from_hub(id: &str, revision: &str, progress: Progress) -> Result<PathBuf> {
    let mut hub = super::hub::Hub::from_env()?;
    hub.http.progress = progress;
    hub.folder(id, revision)
}

#[cfg(not(feature = "fetch"))]
fn from_hub(id: &str, _revision: &str, _progress: Progress) -> Result<PathBuf> {
    Err(Error::input(format!(
        "`{id}` is not a local folder, and this build cannot fetch it from the hub; build with the feature `fetch`, \
         or give the path of a local folder"
    )))
}

#[cfg(test)]
mod local_tests {
    use super::*;

    #[test]
    fn what_looks_like_a_local_folder_is_not_looked_for_on_the_hub() {
        for path in ["data/scenes-clip", "./clip", "/no/such/clip", "a/b/c", "clip", "src/clip", "../x"] {
            assert!(looks_local(path), "{path}");
        }
        assert!(!looks_local("openai/clip-vit-base-patch32"));
        let message = find("data/no-such-clip", "main", Progress::Hidden).unwrap_err().to_string();
        assert!(
            message.contains(
                "`data/no-such-clip` is neither a local folder nor a hub id (relative paths are meant from"
            ),
            "{message}"
        );
    }
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
