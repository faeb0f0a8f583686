//! Where the hub's cache and token are, by the rules of Python's `huggingface_hub`
//! (github.com/huggingface/huggingface_hub, src/huggingface_hub/constants.py), so that both programs share downloads.
//!
//! | | |
//! |---|---|
//! | home | `HF_HOME`, else `huggingface` in `XDG_CACHE_HOME`, else `~/.cache/huggingface` |
//! | cache | `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE` (older), else `hub` in the home |
//! | token | `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN` (older), else the file `HF_TOKEN_PATH`, else `token` in the home |
//!
//! A value may begin with `~` and hold `$NAME` and `${NAME}`. An empty value is as none.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::home_folder::expand_in;

/// Bytes of the longest token file.
const MAX_TOKEN: u64 = 1 << 16;

/// Looks up an environment variable.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where things are.
#[derive(Debug, PartialEq, Eq)]
pub struct Locations {
    /// The folder that holds `models--org--name`.
    pub cache: PathBuf,
    /// The access token.
    pub token: Option<String>,
}

impl Locations {
    /// By the variables that `lookup` knows and the user's home folder.
    ///
    /// # Errors
    /// When a home folder is needed and unknown.
    pub fn find(lookup: Lookup, user_home: Option<PathBuf>) -> Result<Self> {
        let values = Values { lookup, user_home };
        let home = || {
            values.home().ok_or_else(|| Error::input("there is no home folder to download to; set HF_HOME"))
        };
        let cache = values.path("HF_HUB_CACHE").or_else(|| values.path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.map_or_else(|| home().map(|home| home.join("hub")), Ok)?;
        let stated = values.text("HF_TOKEN").or_else(|| values.text("HUGGING_FACE_HUB_TOKEN"));
        let file = || values.path("HF_TOKEN_PATH").or_else(|| Some(values.home()?.join("token")));
        let token = stated.or_else(|| {
            let text = crate::file_io::read_text(&file()?, MAX_TOKEN).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        });
        Ok(Self { cache, token })
    }
}

struct Values<'a> {
    lookup: Lookup<'a>,
    user_home: Option<PathBuf>,
}

impl Values<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|text| self.expanded(&text))
    }

    fn home(&self) -> Option<PathBuf> {
        let in_cache = || Some(self.path("XDG_CACHE_HOME")?.join("huggingface"));
        let in_home = || Some(self.user_home.as_ref()?.join(".cache/huggingface"));
        self.path("HF_HOME").or_else(in_cache).or_else(in_home)
    }

    /// The path with the home folder for `~` and values for variables; what is unknown stays.
    fn expanded(&self, text: &str) -> PathBuf {
        let in_home = expand_in(text, self.user_home.as_deref());
        self.with_variables(in_home.as_deref().unwrap_or(text)).into()
    }

    fn with_variables(&self, text: &str) -> String {
        let mut parts = text.split('$');
        let mut expanded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = variable(part);
            match (self.lookup)(name) {
                Some(value) if !name.is_empty() => expanded.extend([&value, rest]),
                _ => expanded.extend(["$", part]),
            }
        }
        expanded
    }
}

/// The name behind a `$`, and what follows it.
fn variable(text: &str) -> (&str, &str) {
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, rest);
    }
    text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<Locations> {
        let lookup =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, v)| (*v).to_owned());
        Locations::find(&lookup, Some("/home/me".into()))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (variables, cache) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/c"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", " "), ("XDG_CACHE_HOME", "")], "/home/me/.cache/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "new")], "new"),
            (&[("HF_HOME", "~/x")], "/home/me/x/hub"),
            (&[("XDG_CACHE_HOME", "~")], "/home/me/huggingface/hub"),
            (&[("HF_HUB_CACHE", "~me/x$NONE")], "~me/x$NONE"),
            (&[("HF_HUB_CACHE", "$SCRATCH/a${N}b"), ("SCRATCH", "/s"), ("N", "1")], "/s/a1b"),
        ] {
            assert_eq!(find(variables).unwrap().cache, PathBuf::from(cache), "{variables:?}");
        }
        let homeless = Locations::find(&|_| None, None).unwrap_err().to_string();
        assert!(homeless.contains("set HF_HOME"), "{homeless}");
        let cache = |name: &str| (name == "HF_HUB_CACHE").then(|| "/x".to_owned());
        assert_eq!(Locations::find(&cache, None).unwrap().cache, PathBuf::from("/x"));
    }

    #[test]
    fn the_token_is_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(folder.path().join("token"), " of-home\n").unwrap();
        std::fs::write(folder.path().join("other"), "of-path").unwrap();
        let home = ("HF_HOME", &*path(""));
        let token = |variables: &[(&str, &str)]| find(variables).unwrap().token;
        assert_eq!(token(&[home]).as_deref(), Some("of-home"));
        assert_eq!(token(&[home, ("HF_HUB_CACHE", "/elsewhere")]).as_deref(), Some("of-home"));
        assert_eq!(token(&[home, ("HF_TOKEN_PATH", &path("other"))]).as_deref(), Some("of-path"));
        assert_eq!(token(&[home, ("HF_TOKEN", "stated")]).as_deref(), Some("stated"));
        assert_eq!(token(&[home, ("HF_TOKEN_PATH", &path("none"))]), None);
    }
}
