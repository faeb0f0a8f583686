//! Declares tests, and ignores those that this machine cannot run.
//!
//! A test that needs a GPU, MPI or photographs is reported as ignored where that is missing. `DSI_REQUIRE` lists
//! what must not be missing (`DSI_REQUIRE=mpi,photos`): tests that lack it fail.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use dsi::nn::device;
use libtest_mimic::{Failed, Trial};

use crate::fixture::repository;

/// Lists the tests of a file: functions without arguments, each with what it needs after `if`.
macro_rules! tests {
    ($($(#[$attribute:meta])* $name:ident $(if $need:expr)?),+ $(,)?) => {
        pub fn tests() -> Vec<libtest_mimic::Trial> {
            let mut trials = Vec::new();
            $($(#[$attribute])* {
                let need: &[$crate::harness::Need] = &[$($need)?];
                trials.push($crate::harness::trial(module_path!(), stringify!($name), need.first(), $name));
            })+
            trials
        }
    };
}

/// What a test needs of its machine.
#[derive(Clone, Copy)]
pub enum Need {
    /// A GPU, and a program built with `--features cuda`.
    Gpu,
    /// `mpirun`, and a program built with `--features mpi`.
    Mpi,
    /// A file in the folder of real data: `DSI_SHARED`, or `../shared` by default.
    Photos(&'static str),
    /// A folder that `scripts/parity/run.sh` made in the folder `DSI_PARITY`.
    Parity(&'static str),
    /// The right to mount a file system in a new namespace.
    Mount,
}

/// The words allowed in `DSI_REQUIRE`.
const WORDS: [&str; 5] = ["gpu", "mpi", "photos", "parity", "mount"];

impl Need {
    /// Its word in `DSI_REQUIRE`.
    fn word(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Mpi => "mpi",
            Self::Photos(_) => "photos",
            Self::Parity(_) => "parity",
            Self::Mount => "mount",
        }
    }

    /// Why it is missing on this machine; `None` if it is there.
    fn missing(self) -> Option<String> {
        match self {
            Self::Gpu => device::cuda(0).err().map(|why| why.to_string()),
            Self::Mpi => missing_mpi(),
            Self::Photos(file) => missing_file(shared(file), "DSI_SHARED"),
            Self::Parity(part) => missing_file(parity(part), "DSI_PARITY"),
            Self::Mount => missing_mount(),
        }
    }
}

fn missing_file(path: PathBuf, variable: &str) -> Option<String> {
    (!path.exists()).then(|| format!("{} is not there (set {variable})", path.display()))
}

fn missing_mpi() -> Option<String> {
    if !cfg!(feature = "mpi") {
        return Some("this program was built without --features mpi".into());
    }
    let found = |folder: PathBuf| folder.join("mpirun").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    (!std::env::split_paths(&path).any(found)).then(|| "there is no mpirun on the PATH".into())
}

fn missing_mount() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let try_it = || {
        let mount = ["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"];
        match Command::new("unshare").args(mount).output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(why) => Some(format!("unshare: {why}")),
        }
    };
    MISSING.get_or_init(try_it).clone()
}

/// A file in the folder of real data.
pub fn shared(file: &str) -> PathBuf {
    let folder = std::env::var_os("DSI_SHARED").map_or_else(|| repository("../shared"), PathBuf::from);
    folder.join(file)
}

/// A folder that `scripts/parity/run.sh` made.
pub fn parity(part: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("DSI_PARITY").unwrap_or_default()).join(part)
}

/// The words of `DSI_REQUIRE`.
///
/// # Panics
/// On an unknown word.
fn required() -> &'static [String] {
    static REQUIRED: OnceLock<Vec<String>> = OnceLock::new();
    REQUIRED.get_or_init(|| {
        let list = std::env::var("DSI_REQUIRE").unwrap_or_default();
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        let known = |word: &str| assert!(WORDS.contains(&word), "DSI_REQUIRE: {word} is none of {WORDS:?}");
        words.inspect(|word| known(word)).map(str::to_owned).collect()
    })
}

/// The trial of a test in a module. Without its `need` it is ignored, or fails if `DSI_REQUIRE` names the need.
pub fn trial(module: &str, name: &str, need: Option<&Need>, test: impl FnOnce() + Send + 'static) -> Trial {
    let module = module.split_once("::").map_or("", |(_crate, path)| path);
    let name = format!("{module}::{name}");
    let passes = move || {
        test();
        Ok(())
    };
    let Some(need) = need else { return Trial::test(name, passes) };
    let kind = format!("needs {}", need.word());
    match need.missing() {
        None => Trial::test(name, passes).with_kind(kind),
        Some(why) => {
            let ignored = !required().iter().any(|word| word == need.word());
            Trial::test(name, move || Err(Failed::from(why))).with_kind(kind).with_ignored_flag(ignored)
        }
    }
}
