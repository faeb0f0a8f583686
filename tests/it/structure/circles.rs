//! The files inside a folder of `src` do not import each other in a circle.
//!
//! A file may use the definitions of its parent module (`super::…`): together they are one module.

use std::collections::BTreeSet;

use super::source::{Imports, sources};
use super::{assert_excepted, top};

tests! {
    no_files_of_a_folder_import_in_a_circle,
    a_circle_is_found,
}

/// The remaining circles. New ones are refused.
const EXCEPTIONS: &[&str] = &[];

/// Whether `parent` is the file of a module that `file` lies in.
fn is_inside(file: &str, parent: &str) -> bool {
    let folder = parent.trim_end_matches("mod.rs").trim_end_matches(".rs").trim_end_matches('/');
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The files that a file reaches by imports inside its top folder, but for those of what its parents define.
fn reached<'a>(imports: &'a Imports, from: &str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(file) = open.pop() {
        let next = imports.files.get(&file).into_iter().flatten();
        for next in next.filter(|next| top(next) == top(from) && !is_inside(&file, next)) {
            if found.insert(next.as_str()) {
                open.push(next.clone());
            }
        }
    }
    found
}

/// The circles, each as a list of its files.
fn circles(imports: &Imports) -> BTreeSet<String> {
    let of = |file: &String| {
        let own = reached(imports, file);
        let back = |other: &&str| reached(imports, other).contains(file.as_str());
        let members: Vec<&str> = own.iter().copied().filter(back).collect();
        (!members.is_empty()).then(|| members.join(", "))
    };
    imports.files.keys().filter_map(of).collect()
}

fn no_files_of_a_folder_import_in_a_circle() {
    let found: Vec<String> = circles(&Imports::of(&sources())).into_iter().collect();
    assert_excepted("files of a folder import in a circle", &found, EXCEPTIONS);
}

fn a_circle_is_found() {
    let files = [("a/b.rs", "a/c.rs"), ("a/c.rs", "a/d.rs"), ("a/d.rs", "a/b.rs"), ("a/d/e.rs", "a/d.rs")];
    let files = files.map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])));
    let imports = Imports { files: files.into(), candle: BTreeSet::new() };
    assert_eq!(circles(&imports), BTreeSet::from(["a/b.rs, a/c.rs, a/d.rs".to_owned()]));
}
