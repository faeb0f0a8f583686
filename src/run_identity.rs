//! Whose folder a run folder is, and what the run in it was made with.
//!
//! The marker of a run folder ([`FolderMarker`]) keeps the values that decided the run, so that a configuration that
//! was edited afterwards is noticed, and the folder that relative paths were meant from, so that a run can be opened
//! from anywhere.
//!
//! Errors name the folder and the way out. None of them proposes to delete anything.

use std::path::{Path, PathBuf};

use crate::config::{Config, Scope};
use crate::error::{Error, Result};
use crate::file_io;
use crate::folder_marker::FolderMarker;
use crate::run_folder::RunFolder;

/// Hexadecimal digits of a run's id.
const ID_DIGITS: usize = 16;
/// The start of every configuration that dsi writes. Earlier versions wrote no markers.
const CONFIG_HEAD: &[u8] = b"# A resolved configuration, written by dsi ";

/// Marks a folder as the run of this configuration. `made_by`: the command.
///
/// # Errors
/// When the disk refuses.
pub fn mark(run: &RunFolder, config: &Config, made_by: &str) -> Result<()> {
    let mut marker = FolderMarker::new(made_by, id(config, Scope::Run));
    marker.values = config.record(Scope::Run);
    let mut config = config.clone();
    let paths = paths(&mut config).map(|(key, path)| (key, PathBuf::from(path.as_str())));
    // Where the run began says nothing about absolute paths.
    if paths.iter().all(|(_, path)| path.as_os_str().is_empty() || path.is_absolute()) {
        marker.started_in = PathBuf::new();
    }
    let local = paths.iter().filter(|(_, path)| path.exists());
    marker.local_paths = local.map(|(key, _)| (*key).to_owned()).collect();
    marker.write(run.path())
}

/// Equal for configurations that agree in the keys of a scope.
pub fn id(config: &Config, scope: Scope) -> String {
    config.fingerprint(&scope.keys())[..ID_DIGITS].to_owned()
}

/// Refuses a folder in which somebody else keeps files under the names that a run writes.
///
/// # Errors
/// Then, with those names.
pub fn require_own(run: &RunFolder) -> Result<()> {
    let occupied = run.occupied();
    if occupied.is_empty() || FolderMarker::read(run.path())?.is_some() || has_config_of_dsi(run) {
        return Ok(());
    }
    let what = format!(
        "holds {}, which dsi did not write; dsi neither overwrites nor removes files of others: choose another folder",
        occupied.join(", ")
    );
    Err(Error::file(run.path(), what))
}

/// Whether dsi wrote the configuration in the folder. Its values may have been edited since.
fn has_config_of_dsi(run: &RunFolder) -> bool {
    file_io::read(&run.config(), 1 << 20).is_ok_and(|text| text.starts_with(CONFIG_HEAD))
}

/// Refuses a configuration that was changed since the run was made with it. Runs of earlier versions kept no values.
///
/// # Errors
/// Then, with every key that differs.
pub fn require_unchanged(run: &RunFolder, config: &Config) -> Result<()> {
    let Some(marker) = FolderMarker::read(run.path())? else { return Ok(()) };
    let now = config.record(Scope::Run);
    let changed = marker.values.iter().filter(|(key, value)| now.get(*key).is_some_and(|now| now != *value));
    let changed: Vec<String> = changed
        .map(|(key, value)| format!("{key}: {} now, {value} when the run was made", now[key]))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let what =
        format!("was edited after the run was made; restore these values:\n  {}", changed.join("\n  "));
    Err(Error::file(run.config(), what))
}

/// Finds the relative paths of a run's configuration: from the working folder, else from the folder in which the run
/// began. A path that is in neither stays as it is, and so does one that is not that of the run as it was `made`.
///
/// # Errors
/// When the encoder was a local folder and is in neither place: its path is never taken for a hub's id then.
pub fn find_paths(run: &RunFolder, made: &Config, config: &mut Config) -> Result<()> {
    let Some(marker) = FolderMarker::read(run.path())? else { return Ok(()) };
    // A run with an encoder of its own needs no other.
    let needs_encoder = !config.tunes();
    let was_local = |key: &str| marker.local_paths.iter().any(|local| local == key);
    let mut made = made.clone();
    for ((key, value), (_, before)) in paths(config).into_iter().zip(paths(&mut made)) {
        let path = Path::new(value.as_str());
        if value != before || path.exists() || !was_local(key) {
            continue;
        }
        let from_start = marker.started_in.join(path);
        if from_start.exists() {
            *value = from_start.display().to_string();
        } else if key == "encoder.path" && needs_encoder {
            let what = format!(
                "was a local folder when this run began in {}, and is neither there nor in the working folder; give its \
                 place with --set encoder.path=FOLDER",
                marker.started_in.display()
            );
            return Err(Error::file(path, what));
        }
    }
    Ok(())
}

/// The keys whose paths a run needs again when it is opened.
fn paths(config: &mut Config) -> [(&'static str, &mut String); 4] {
    [
        ("data.root", &mut config.data.root),
        ("encoder.path", &mut config.encoder.path),
        ("encoder.cache", &mut config.encoder.cache),
        ("train.teacher", &mut config.train.teacher),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|&set| set.to_owned()).collect();
        Config::parse("", Path::new("x"), &overrides).unwrap()
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let space = tempfile::tempdir().unwrap();
        let run = RunFolder::new(space.path());
        std::fs::write(space.path().join("notes.txt"), "mine").unwrap();
        require_own(&run).unwrap();
        std::fs::write(run.config(), "model: theirs").unwrap();
        std::fs::create_dir(run.eval()).unwrap();
        let refusal = require_own(&run).unwrap_err().to_string();
        assert!(refusal.contains("holds config.toml, eval, which dsi did not write"), "{refusal}");
        std::fs::write(run.config(), config(&[]).to_toml()).unwrap();
        require_own(&run).unwrap();
    }

    #[test]
    fn an_edited_configuration_is_noticed() {
        let space = tempfile::tempdir().unwrap();
        let run = RunFolder::new(space.path());
        let made = config(&["index.levels=3"]);
        mark(&run, &made, "dsi train").unwrap();
        require_unchanged(&run, &made).unwrap();
        require_unchanged(&run, &config(&["index.levels=3", "search.k=3"])).unwrap();
        let refusal =
            require_unchanged(&run, &config(&["index.levels=7", "seed=4"])).unwrap_err().to_string();
        assert!(
            refusal.contains("index.levels: 7 now, 3 when") && refusal.contains("seed: 4 now"),
            "{refusal}"
        );
    }

    #[test]
    fn paths_are_found_where_the_run_began() {
        let space = tempfile::tempdir().unwrap();
        let run = RunFolder::new(space.path().join("run"));
        let mut marker = FolderMarker::new("dsi train", String::new());
        marker.started_in = space.path().to_owned();
        marker.local_paths = vec!["data.root".into(), "encoder.path".into()];
        marker.write(run.path()).unwrap();
        for name in ["my-photos", "my-clip"] {
            std::fs::create_dir(space.path().join(name)).unwrap();
        }
        let mut found = config(&["data.root=my-photos", "encoder.path=my-clip"]);
        find_paths(&run, &found.clone(), &mut found).unwrap();
        assert_eq!(Path::new(&found.data.root), space.path().join("my-photos"));
        assert_eq!(Path::new(&found.encoder.path), space.path().join("my-clip"));
        let mut lost = config(&["encoder.path=some/clip"]);
        let refusal = find_paths(&run, &lost.clone(), &mut lost).unwrap_err().to_string();
        assert!(refusal.contains("--set encoder.path=FOLDER"), "{refusal}");
        let mut other = config(&["encoder.path=org/clip"]);
        find_paths(&run, &config(&["encoder.path=some/clip"]), &mut other).unwrap();
        assert_eq!(other.encoder.path, "org/clip");
    }
}
