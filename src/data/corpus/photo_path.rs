//! The path of a photo in a corpus file: its spelling is normalised first, then it is checked.
//!
//! `./a.png`, `x//a.png` and `x/../a.png` are spellings of paths inside the folder. An absolute path inside the folder
//! is one too. What leads out of the folder is refused: a corpus file comes from elsewhere and must not open other files.

use std::path::{Component, Path, PathBuf};

/// A relative path without `.`, `..` and empty parts; `None` if it is absolute or leads out of its start.
pub fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => _ = parts.pop()?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.into_iter().collect())
}

/// A normal path as an id: with slashes on every system.
pub fn slashed(normal: &Path) -> String {
    let parts: Vec<_> = normal.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The folder of the photos, under all its names.
#[derive(Debug, Clone)]
pub struct PhotoFolder {
    given: PathBuf,
    /// Absolute: as it is given, and without links.
    roots: Vec<PathBuf>,
}

impl PhotoFolder {
    /// The folder at this path, which need not exist.
    pub fn new(folder: &Path) -> Self {
        let stated = std::path::absolute(folder).map(|path| resolved(&path));
        let roots = stated.into_iter().chain(folder.canonicalize()).collect();
        Self { given: folder.to_owned(), roots }
    }

    /// The path of a photo below the folder.
    ///
    /// # Errors
    /// When it names no file, is a web address or leads out of the folder: the clause begins with the path.
    pub fn relative(&self, path: &Path) -> Result<PathBuf, String> {
        let inside = normal(path).or_else(|| self.below_a_root(path)).ok_or_else(|| self.outside(path))?;
        if inside.as_os_str().is_empty() {
            return Err(format!("the path `{}` names no file; give the path of a photo", path.display()));
        }
        if path.to_string_lossy().contains("://") {
            let path = path.display();
            return Err(format!(
                "`{path}` is a web address; download the photo and give the path of its file"
            ));
        }
        Ok(inside)
    }

    /// The photo of a path below the folder.
    pub fn join(&self, relative: &Path) -> PathBuf {
        self.given.join(relative)
    }

    fn below_a_root(&self, path: &Path) -> Option<PathBuf> {
        let below =
            |full: &Path| self.roots.iter().find_map(|root| full.strip_prefix(root).ok().map(Path::to_owned));
        let spelled = self.roots.iter().find_map(|root| below(&resolved(&root.join(path))));
        spelled.or_else(|| {
            // The folder may be written with other links than in the configuration.
            let parent = path.parent().filter(|_| path.is_absolute())?.canonicalize().ok()?;
            below(&parent.join(path.file_name()?))
        })
    }

    fn outside(&self, path: &Path) -> String {
        format!(
            "the path `{}` leads out of the photo folder {}; only photos inside it are read: move them there, or give a \
             folder that holds all photos as data.images",
            path.display(),
            self.given.display()
        )
    }
}

/// An absolute path without `.` and `..`; at the root, `..` stays there.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = resolved.pop(),
            other => resolved.push(other),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_equal() {
        let folder = PhotoFolder::new(Path::new("photos/."));
        let current = std::env::current_dir().unwrap();
        let absolute = current.join("photos/x/a.png").display().to_string();
        for spelling in
            ["x/a.png", "./x/a.png", ".//x/./a.png", "y/../x/a.png", "../photos/x/a.png", &absolute]
        {
            assert_eq!(folder.relative(Path::new(spelling)).unwrap(), Path::new("x/a.png"), "{spelling}");
        }
        assert_eq!(folder.join(Path::new("x/a.png")), Path::new("photos/x/a.png"));
    }

    #[test]
    fn what_leads_out_is_refused_with_the_reason() {
        let folder = PhotoFolder::new(Path::new("photos"));
        let refusal = |path: &str| folder.relative(Path::new(path)).unwrap_err();
        for outside in ["/etc/passwd", "../a.png", "a/../../b.png", "../photos2/a.png"] {
            assert!(
                refusal(outside).starts_with(&format!("the path `{outside}` leads out of the photo folder"))
            );
        }
        assert!(refusal("x/..").contains("names no file"));
        assert!(refusal("https://example.org/a.png").contains("is a web address"));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_behind_a_link_is_known_under_both_names() {
        let space = tempfile::tempdir().unwrap();
        let (real, link) = (space.path().join("real"), space.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for (folder, path) in [(&link, &real), (&real, &link), (&real, &real)] {
            assert_eq!(PhotoFolder::new(folder).relative(&path.join("a.png")).unwrap(), Path::new("a.png"));
        }
    }
}
