//! Finds the archives of a corpus and gives each its split.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::data::corpus::Split;
use crate::data::corpus::photo_path::slashed;
use crate::data::corpus::unused::{Reason, UnusedList};
use crate::error::{Error, Result};

/// The words that stand for a split.
const WORDS: [(&str, Split); 6] = [
    ("train", Split::Train),
    ("restval", Split::Train),
    ("val", Split::Val),
    ("valid", Split::Val),
    ("validation", Split::Val),
    ("test", Split::Test),
];
/// The ends of compressed archives.
const COMPRESSED: [&str; 10] =
    [".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4", ".tar.z"];
/// The ends that programs give to a download that is not finished.
const UNFINISHED: [&str; 6] =
    [".tar.part", ".tar.partial", ".tar.tmp", ".tar.incomplete", ".tar.crdownload", ".tar.aria2"];

/// One archive.
#[derive(Debug)]
pub struct Shard {
    /// Its file.
    pub path: PathBuf,
    /// The split of its samples.
    pub split: Split,
    /// Its path below the folder of the corpus.
    below: PathBuf,
}

impl Shard {
    /// Its path below the folder of the corpus, for messages.
    pub fn label(&self) -> String {
        slashed(&self.below)
    }

    /// Its path below the folder of the corpus without its extension, for ids.
    pub fn stem(&self) -> String {
        slashed(&self.below.with_extension(""))
    }
}

/// The archives in a folder and in its direct subfolders, sorted by path.
///
/// # Errors
/// When there is none, one has no split, or one is there under two names.
pub fn find(folder: &Path, unused: &mut UnusedList) -> Result<Vec<Shard>> {
    let mut archives = BTreeSet::new();
    let (files, folders) = list(folder, folder, &mut archives, unused)?;
    let mut others = files;
    for inner in folders {
        let (files, deeper) = list(&inner, folder, &mut archives, unused)?;
        others.extend(files);
        deeper.iter().for_each(|path| unused.add(Reason::DeepFolder, label(path, folder)));
    }
    others.iter().for_each(|path| unused.add(why_no_archive(path, &archives), label(path, folder)));
    if archives.is_empty() {
        let what = "holds no .tar archives, and data.kind = \"webdataset\" needs some";
        return Err(Error::file(folder, format!("{what}{}", unused.clause())));
    }
    refuse_two_names(&archives)?;
    archives.into_iter().map(|path| shard(path, folder)).collect()
}

/// The other files and the folders of a folder, sorted; its archives are added to `archives`.
fn list(
    folder: &Path,
    root: &Path,
    archives: &mut BTreeSet<PathBuf>,
    unused: &mut UnusedList,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.map(|entry| entry.map(|e| e.path()).map_err(Error::io("list", folder)));
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for path in paths.collect::<Result<BTreeSet<PathBuf>>>()? {
        let is_archive = has_end(&path, ".tar") && !has_start(&path, "._");
        match fs::metadata(&path) {
            Err(_) if has_start(&path, ".") => unused.add(Reason::NoArchive, label(&path, root)),
            Err(_) => unused.add(Reason::DeadLink, label(&path, root)),
            Ok(found) if found.is_dir() => folders.push(path),
            Ok(found) if is_archive && found.is_file() => _ = archives.insert(path),
            Ok(_) if is_archive => unused.add(Reason::NoRegularFile, label(&path, root)),
            Ok(_) => files.push(path),
        }
    }
    Ok((files, folders))
}

/// Why a file is not read as an archive. A compressed archive does no harm beside its unpacked form.
fn why_no_archive(path: &Path, archives: &BTreeSet<PathBuf>) -> Reason {
    let unpacked = |end: &str| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archives.contains(&path.with_file_name(format!("{}.tar", &name[..name.len() - end.len()])))
    };
    let end = |ends: &[&'static str]| ends.iter().find(|end| has_end(path, end)).copied();
    match (end(&COMPRESSED), end(&UNFINISHED)) {
        _ if has_start(path, "._") => Reason::Apple,
        (Some(end), _) if !unpacked(end) => Reason::Compressed,
        (_, Some(_)) => Reason::Unfinished,
        _ => Reason::NoArchive,
    }
}

fn has_start(path: &Path, start: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

fn has_end(path: &Path, end: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().to_ascii_lowercase().ends_with(end))
}

fn label(path: &Path, root: &Path) -> String {
    slashed(path.strip_prefix(root).unwrap_or(path))
}

/// Refuses an archive that a link adds a second time.
fn refuse_two_names(archives: &BTreeSet<PathBuf>) -> Result<()> {
    let mut real: BTreeMap<PathBuf, &PathBuf> = BTreeMap::new();
    for path in archives {
        let target = path.canonicalize().map_err(Error::io("read", path))?;
        if let Some(first) = real.insert(target, path) {
            let what = format!("is the same file as {}; remove one of the two", first.display());
            return Err(Error::file(path, what));
        }
    }
    Ok(())
}

fn shard(path: PathBuf, root: &Path) -> Result<Shard> {
    let split = split(&path, root)?;
    let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
    Ok(Shard { path, split, below })
}

/// The split given by the path of an archive below `root`.
fn split(shard: &Path, root: &Path) -> Result<Split> {
    let name = shard.strip_prefix(root).unwrap_or(shard).to_string_lossy().to_ascii_lowercase();
    let words: BTreeSet<&str> = name.split(|c: char| !c.is_alphabetic()).collect();
    let found: Vec<Split> =
        WORDS.iter().filter(|(word, _)| words.contains(word)).map(|(_, split)| *split).collect();
    match found.first() {
        Some(split) if found.iter().all(|other| other == split) => Ok(*split),
        _ => {
            let words = WORDS.map(|(word, _)| word).join(", ");
            let what =
                format!("its name says no split, or several: have one of {words} in it, as in train-000.tar");
            Err(Error::file(shard, what))
        }
    }
}
