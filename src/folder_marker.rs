//! The marker of a folder that dsi made: `.dsi.json`.
//!
//! A folder without a marker belongs to somebody else: dsi neither removes nor overwrites anything in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file_io;
use crate::run_lock::LOCK;

/// The name of the file.
pub const MARKER: &str = ".dsi.json";
/// The version of the format.
const FORMAT: u32 = 1;
/// Bytes of the largest marker.
const LARGEST: u64 = 1 << 20;

/// Who made a folder, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FolderMarker {
    format: u32,
    /// The command: `dsi train`.
    pub made_by: String,
    /// A hash of what decides the content: equal for folders that are made to hold the same.
    pub id: String,
    /// The folder that relative paths of the configuration were meant from.
    #[serde(default)]
    pub started_in: PathBuf,
    /// The values that decided the content, by the key of the configuration.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The keys whose paths were local files or folders when the folder was made.
    #[serde(default)]
    pub local_paths: Vec<String>,
}

impl FolderMarker {
    /// A marker in the current version of the format, made in the working folder.
    pub fn new(made_by: &str, id: String) -> Self {
        Self {
            format: FORMAT,
            made_by: made_by.to_owned(),
            id,
            started_in: std::env::current_dir().unwrap_or_default(),
            values: BTreeMap::new(),
            local_paths: Vec::new(),
        }
    }

    /// The marker of a folder; `None` if it has none.
    ///
    /// # Errors
    /// When there is one that this version cannot read.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MARKER);
        if !path.exists() {
            return Ok(None);
        }
        let marker: Self = serde_json::from_slice(&file_io::read(&path, LARGEST)?)
            .map_err(|e| Error::file(&path, format!("is not the marker of a folder that dsi made: {e}")))?;
        if marker.format != FORMAT {
            let what = format!("has format {}; this program reads format {FORMAT}", marker.format);
            return Err(Error::file(&path, what));
        }
        Ok(Some(marker))
    }

    /// Writes the marker into its folder, which is made if it is missing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<()> {
        file_io::write_json(&folder.join(MARKER), self)
    }
}

/// Whether a folder is missing or holds nothing but a lock.
///
/// # Errors
/// When it cannot be listed, or is a file.
pub fn is_free(folder: &Path) -> Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    let mut entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_round_trips_and_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_free(folder.path()).unwrap() && is_free(&folder.path().join("missing")).unwrap());
        assert_eq!(FolderMarker::read(folder.path()).unwrap(), None);
        let marker = FolderMarker::new("dsi train", "1f".into());
        marker.write(folder.path()).unwrap();
        assert_eq!(FolderMarker::read(folder.path()).unwrap(), Some(marker.clone()));
        assert!(!is_free(folder.path()).unwrap());
        FolderMarker { format: 2, ..marker }.write(folder.path()).unwrap();
        assert!(FolderMarker::read(folder.path()).unwrap_err().to_string().contains("format 2"));
    }
}
