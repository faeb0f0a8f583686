//! The structure of the source: layers, purity, import circles, sizes, and uses of the whole configuration.

mod circles;
mod config_use;
mod layers;
mod purity;
mod sizes;
mod source;
mod words;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    let files = [
        circles::tests,
        config_use::tests,
        layers::tests,
        purity::tests,
        sizes::tests,
        source::tests,
        words::tests,
    ];
    files.iter().flat_map(|tests| tests()).collect()
}

/// The top module that a path below `src` belongs to.
fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Asserts that the findings are exactly the exceptions: no new finding, and no obsolete exception.
#[track_caller]
fn assert_excepted(rule: &str, found: &[String], exceptions: &[&str]) {
    let new: Vec<_> = found.iter().filter(|each| !exceptions.contains(&each.as_str())).collect();
    assert!(new.is_empty(), "{rule}:\n  {}", new.into_iter().cloned().collect::<Vec<_>>().join("\n  "));
    let gone: Vec<_> = exceptions.iter().filter(|each| !found.iter().any(|found| found == *each)).collect();
    assert!(gone.is_empty(), "{rule}: these exceptions are no longer needed: {gone:?}");
}
