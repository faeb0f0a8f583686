//! A `~` at the start of a path: the user's home folder. The shell replaces it only where a word begins with it, and
//! so not in `--set data.root=~/photos` nor in a configuration file.

use std::env;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

/// A path with a leading `~` or `~/` replaced by the home folder; other paths as they are. `None` for the home folder
/// of another user (`~name`), and when there is no home folder.
pub fn expand(path: &str) -> Option<String> {
    expand_in(path, env::home_dir().filter(|home| home.is_absolute()).as_deref())
}

/// As [`expand`], with this home folder.
pub fn expand_in(path: &str, home: Option<&Path>) -> Option<String> {
    let Some(rest) = path.strip_prefix('~') else { return Some(path.to_owned()) };
    if !(rest.is_empty() || rest.starts_with(['/', MAIN_SEPARATOR])) {
        return None;
    }
    let home = home?;
    Some(home.to_str()?.trim_end_matches('/').to_owned() + rest)
}

/// As [`expand`], for an argument of the command line.
///
/// # Errors
/// In words, when the home folder is not known or another user's.
pub fn expand_argument(path: PathBuf) -> Result<PathBuf, String> {
    if !path.starts_with("~") && !starts_with_tilde(&path) {
        return Ok(path);
    }
    let expanded = path.to_str().and_then(expand).map(PathBuf::from);
    expanded.ok_or_else(|| {
        "begins with ~ and names no folder that is known here: write the path in full".to_owned()
    })
}

fn starts_with_tilde(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().first() == Some(&b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_at_the_start_is_the_home_folder() {
        let home = env::home_dir().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        assert_eq!(expand("~/photos").unwrap(), format!("{home}/photos"));
        assert_eq!(expand("~").unwrap(), home);
        assert_eq!([expand("a/~/b").unwrap(), expand("").unwrap()], ["a/~/b", ""]);
        assert_eq!(expand("~other/photos"), None);
        assert!(expand_argument("~other".into()).is_err());
        assert_eq!(expand_argument("x~".into()).unwrap(), Path::new("x~"));
    }
}
