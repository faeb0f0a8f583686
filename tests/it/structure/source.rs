//! Reads the project's source files: code without comments and strings, and imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

tests! {
    comments_strings_and_tests_are_left_out,
    paths_are_resolved_to_files,
}

/// A source file.
pub struct Source {
    /// Its path below `src`.
    pub path: String,
    pub text: String,
    /// The text without its comments and the contents of its strings, line by line as it was.
    pub with_tests: String,
    /// The same without its tests.
    pub code: String,
}

/// All files below `src`.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let with_tests = stripped(&text).replace("$crate::", ""); // paths of macros are no imports
        let code = if path.ends_with("tests.rs") { String::new() } else { without_tests(&with_tests) };
        Source { path, text, with_tests, code }
    };
    files.into_iter().map(source).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Code without comments and the contents of strings.
pub fn stripped(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = skipped(rest, code.chars().next_back());
        let (taken, shown) = match skipped {
            Some(length) => (length, if c == '/' { "" } else { "\"\"" }),
            None => (c.len_utf8(), &rest[..c.len_utf8()]),
        };
        code.push_str(shown);
        if skipped.is_some() {
            code.extend(rest[..taken].chars().filter(|&c| c == '\n'));
        }
        rest = &rest[taken..];
    }
    code
}

/// The length of the comment, string or character that some code begins with.
fn skipped(rest: &str, before: Option<char>) -> Option<usize> {
    let inside_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if !inside_word && let Some(hashes) = raw_string(rest) {
        let end = format!("\"{}", "#".repeat(hashes));
        let start = rest.find('"')? + 1;
        return Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()));
    }
    match rest.as_bytes() {
        [b'"', ..] => Some(string(rest)),
        [b'\'', b'\\', _, ..] => Some(rest[3..].find('\'')? + 4),
        [b'\'', ..] => {
            let mut chars = rest[1..].chars();
            let length = chars.next()?.len_utf8();
            (chars.next()? == '\'').then_some(length + 2)
        }
        _ => None,
    }
}

/// The number of hashes of a raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = rest.bytes().take_while(|&b| b == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The length of an ordinary string.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// Code without what only tests have; the lines stay.
fn without_tests(code: &str) -> String {
    let starts = ["#[cfg(test)]", "#[cfg(all(test,"].iter().filter_map(|mark| code.find(mark));
    let Some(start) = starts.min() else { return code.to_owned() };
    let end = start + item(&code[start..]);
    let lines = code[start..end].matches('\n').count();
    code[..start].to_owned() + &"\n".repeat(lines) + &without_tests(&code[end..])
}

/// The length of the item that some code begins with: to its semicolon or its closing brace.
fn item(code: &str) -> usize {
    match code.find(['{', ';']) {
        Some(at) if code[at..].starts_with('{') => at + braces(&code[at..]),
        Some(at) => at + 1,
        None => code.len(),
    }
}

/// The length of a block, from its brace to the one that closes it.
pub fn braces(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// A path as an import or an expression has it, in parts: `["crate", "nn", "gradients", "Gradients"]`.
pub type Parts = Vec<String>;

/// The paths of some code: of its `use` statements, each member of a group for itself, and of its
/// expressions.
pub fn paths(code: &str) -> Vec<Parts> {
    let (uses, rest) = uses(code);
    let private = uses.iter().filter(|(public, _)| !public).map(|(_, tree)| tree);
    private.flat_map(|tree| members(tree)).chain(inline(&rest)).collect()
}

/// The same, with those of `pub use` statements.
pub fn every_path(code: &str) -> Vec<Parts> {
    let (uses, rest) = uses(code);
    uses.iter().flat_map(|(_, tree)| members(tree)).chain(inline(&rest)).collect()
}

/// The names that code takes from elsewhere and gives to all, each with its path.
fn reexports(code: &str) -> BTreeMap<String, Parts> {
    let (uses, _) = uses(code);
    let public = uses.iter().filter(|(public, _)| *public).flat_map(|(_, tree)| members(tree));
    public.filter_map(|parts| Some((parts.last()?.clone(), parts))).collect()
}

/// The trees of the `use` statements of some code, whether each is public, and the code without them.
fn uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut found, mut rest, mut left) = (Vec::new(), String::new(), code);
    while let Some(at) = next_use(left) {
        let line = left[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = left[at..].find(';').map_or(left.len(), |end| at + end);
        rest.push_str(&left[..line]);
        found.push((left[line..at].contains("pub"), left[at + 4..end].to_owned()));
        left = &left[end..];
    }
    (found, rest + left)
}

fn next_use(code: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + code[from..].find("use ")?;
        let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || (line.starts_with("pub") && !line.contains('{')) {
            return Some(at);
        }
        from = at + 4;
    }
}

/// The paths of a `use` tree.
fn members(tree: &str) -> Vec<Parts> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let parts: Parts = path.split("::").map(|part| part.trim().to_owned()).collect();
        return if parts == [""] { Vec::new() } else { vec![parts] };
    };
    let prefix: Parts = tree[..open].split("::").map(|part| part.trim().to_owned()).collect();
    let prefix: Parts = prefix.into_iter().filter(|part| !part.is_empty()).collect();
    let inner = &tree[open + 1..open + braces(&tree[open..]) - 1];
    let of = |member: &str| members(member).into_iter().map(|path| [prefix.clone(), path].concat());
    commas(inner).into_iter().flat_map(of).map(without_self).collect()
}

fn without_self(mut path: Parts) -> Parts {
    if path.len() > 1 && path.last().is_some_and(|part| part == "self") {
        path.pop();
    }
    path
}

/// The members of a group, which commas outside inner groups divide.
fn commas(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inner[start..]);
    found
}

/// The paths of at least two parts in expressions and types.
fn inline(code: &str) -> Vec<Parts> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let candidates = code.split(|c| !word(c)).filter(|path| path.contains("::"));
    let parts = |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    candidates.map(parts).filter(|parts: &Parts| parts.len() > 1).collect()
}

/// Which file imports from which, by their paths below `src`.
pub struct Imports {
    pub files: BTreeMap<String, BTreeSet<String>>,
    /// The files that name the tensor library.
    pub candle: BTreeSet<String>,
}

/// A module's path of names, of a file's.
fn module(path: &str) -> Parts {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

impl Imports {
    pub fn of(sources: &[Source]) -> Self {
        let modules: BTreeMap<Parts, &Source> =
            sources.iter().filter(|s| s.path != "main.rs").map(|s| (module(&s.path), s)).collect();
        let exported: BTreeMap<&str, BTreeMap<String, Parts>> =
            sources.iter().map(|s| (s.path.as_str(), reexports(&s.code))).collect();
        let resolver = Resolver { modules, exported };
        let (mut files, mut candle) = (BTreeMap::new(), BTreeSet::new());
        for source in sources {
            let paths = paths(&source.code);
            if every_path(&source.code).iter().any(|path| path[0].starts_with("candle")) {
                candle.insert(source.path.clone());
            }
            let found = paths.iter().filter_map(|path| resolver.file(&source.path, path, 0));
            let others = found.filter(|file| *file != source.path).map(str::to_owned);
            files.insert(source.path.clone(), others.collect());
        }
        Self { files, candle }
    }

    /// The files that a file imports from, and those that these import from.
    pub fn reached(&self, from: &str) -> BTreeSet<&str> {
        let (mut found, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for next in self.files.get(file).into_iter().flatten() {
                if found.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        found
    }
}

struct Resolver<'a> {
    modules: BTreeMap<Parts, &'a Source>,
    exported: BTreeMap<&'a str, BTreeMap<String, Parts>>,
}

impl<'a> Resolver<'a> {
    /// The file that defines what a path in another file names, if it is one of this crate.
    fn file(&self, from: &str, path: &[String], depth: usize) -> Option<&'a str> {
        let own = module(from);
        let (mut at, mut rest): (Parts, &[String]) = match path[0].as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (own, &path[1..]),
            "super" => (own[..own.len().checked_sub(1)?].to_vec(), &path[1..]),
            _ => (own, path),
        };
        while let [first, others @ ..] = rest
            && first == "super"
        {
            at.pop()?;
            rest = others;
        }
        let start = at.len();
        while let [first, others @ ..] = rest {
            at.push(first.clone());
            if !self.modules.contains_key(&at) {
                at.pop();
                break;
            }
            rest = others;
        }
        // A word that is neither a module of this file's nor has a prefix is a local name, or another
        // crate's.
        let local = !["crate", "self", "super"].contains(&path[0].as_str()) && at.len() == start;
        if local {
            return None;
        }
        let file = self.modules.get(&at)?.path.as_str();
        let exported = rest.first().and_then(|name| self.exported.get(file)?.get(name));
        match exported {
            Some(elsewhere) if depth < 4 => self.file(file, elsewhere, depth + 1).or(Some(file)),
            _ => Some(file),
        }
    }
}

fn comments_strings_and_tests_are_left_out() {
    let text = "let a = \"// \\\" {\"; // b {\nlet c: &'static str = r#\"{\"\"#; let d = ['{', '\\''];\n";
    assert_eq!(stripped(text), "let a = \"\"; \nlet c: &'static str = \"\"; let d = [\"\", \"\"];\n");
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    assert_eq!(without_tests(code), "fn a() {}\n\n\n\n\nfn c() {}\n");
}

fn paths_are_resolved_to_files() {
    let source = |(path, code): (&str, &str)| {
        let [path, text, with_tests, code] = [path, "", code, code].map(str::to_owned);
        Source { path, text, with_tests, code }
    };
    let sources = [
        ("lib.rs", "pub mod a;\n"),
        ("a/mod.rs", "mod b;\npub use b::{Item, other};\n"),
        ("a/b.rs", "use super::c::d;\nfn f() -> std::io::Result<()> { d::g() }\n"),
        ("a/c.rs", "mod d;\nfn f() { d::g(candle_core::Device::Cpu) }\n"),
        ("a/c/d.rs", "use crate::{a::Item, e};\n"),
        ("e.rs", "use crate::a::{self, c as other};\n"),
    ];
    let imports = Imports::of(&sources.map(source));
    let of = |path: &str| imports.files[path].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("a/mod.rs"), [""; 0]);
    assert_eq!(of("a/b.rs"), ["a/c/d.rs"]);
    assert_eq!(of("a/c.rs"), ["a/c/d.rs"]);
    assert_eq!(of("a/c/d.rs"), ["a/b.rs", "e.rs"]);
    assert_eq!(of("e.rs"), ["a/c.rs", "a/mod.rs"]);
    assert_eq!(imports.candle, BTreeSet::from(["a/c.rs".to_owned()]));
    assert!(imports.reached("a/c/d.rs").contains("a/c.rs"));
}
