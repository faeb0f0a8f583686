//! Looks up entries of the table of retrievers, [`RETRIEVERS`].

use super::RETRIEVERS;
use super::factory::RetrieverFactory;
use super::retriever_entry::RetrieverSpec;

/// The names of all retrievers.
pub fn names() -> impl Iterator<Item = &'static str> {
    RETRIEVERS.iter().map(|spec| spec.name)
}

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static RetrieverSpec> {
    RETRIEVERS.iter().copied().find(|spec| spec.name == name)
}

/// The entry of a table that answers `dsi search`: see [`RetrieverSpec::answers_search`].
pub fn default_for_search<'s>(
    table: &[&'s RetrieverSpec],
    run: &RetrieverFactory,
) -> Option<&'s RetrieverSpec> {
    let available = table.iter().copied().filter(|spec| spec.answers_search && spec.is_available(run));
    available.max_by_key(|spec| spec.stage as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_one_entry_is_the_baseline() {
        let unique: BTreeSet<&str> = names().collect();
        let rows: BTreeSet<(&str, &str)> =
            RETRIEVERS.iter().map(|spec| (spec.retriever, spec.stage.word())).collect();
        assert_eq!((unique.len(), rows.len()), (RETRIEVERS.len(), RETRIEVERS.len()));
        assert_eq!(RETRIEVERS.iter().filter(|spec| spec.baseline).count(), 1);
        assert!(names().all(|name| find(name).is_some_and(|found| found.name == name)));
    }
}
