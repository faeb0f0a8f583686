//! A new retriever, by the steps of `dsi::retriever`: a type, a `RetrieverSpec`, a line in the table.

use std::collections::BTreeSet;

use dsi::config::Config;
use dsi::context::Context;
use dsi::error::{Error, Result};
use dsi::eval::report::{Report, Row};
use dsi::eval::row_setting::QueryKind;
use dsi::ids::ImageIdx;
use dsi::modality::Modality;
use dsi::retriever::ranking_stage::Stage;
use dsi::retriever::{Hit, Query, RETRIEVERS, RankedList, Retriever, RetrieverFactory, RetrieverSpec};
use dsi::run_folder::RunFolder;
use dsi::{eval, run_experiment};

use crate::fixture::{Space, trained};

tests! {
    a_new_retriever_is_measured_beside_the_others,
}

/// Scores an image by the letters that a caption shares with its name. It reads words, so it answers no photos.
struct SharedLetters {
    names: Vec<(ImageIdx, BTreeSet<char>)>,
}

static SHARED_LETTERS: RetrieverSpec = RetrieverSpec {
    name: "shared-letters",
    retriever: "shared-letters",
    stage: Stage::Exact,
    baseline: false,
    answers_search: false,
    queries: &[Modality::Caption],
    needs: &[],
    enabled: |_| true,
    build: shared_letters,
    survival: None,
};

fn shared_letters(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
    let name = |&image: &ImageIdx| (image, run.prepared().corpus.id(image).chars().collect());
    Ok(Box::new(SharedLetters { names: gallery.iter().map(name).collect() }))
}

impl SharedLetters {
    fn list(&self, query: &Query) -> Result<RankedList> {
        let text = query.text.as_deref().ok_or_else(|| Error::input("this query has no words"))?;
        let letters: BTreeSet<char> = text.chars().collect();
        let hit = |(image, name): &(ImageIdx, BTreeSet<char>)| {
            let shared = name.intersection(&letters).count();
            Hit { image: *image, score: shared as f32 }
        };
        Ok(RankedList::new(self.names.iter().map(hit)))
    }
}

impl Retriever for SharedLetters {
    fn embeddings_scored(&self) -> usize {
        0
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        queries.iter().map(|query| Ok(self.list(query)?.truncated(k))).collect()
    }
}

/// The rows without what a clock decides.
fn timeless(rows: &[Row]) -> Vec<Row> {
    rows.iter().map(|row| Row { ms_per_query: 0.0, ..row.clone() }).collect()
}

fn a_new_retriever_is_measured_beside_the_others() {
    let (space, ctx) = (trained("rq"), Context::default());
    let run = RunFolder::new(space.path("run"));
    let config = Config::load(&run.config(), &[]).unwrap();
    let prepared = run_experiment::prepare_trained(&config, &run, &ctx).unwrap();
    let retrievers = run_experiment::open(&config, &prepared, &run, &ctx.device).unwrap();
    let table = [RETRIEVERS, &[&SHARED_LETTERS]].concat();
    let aside = Space::new();
    let into = RunFolder::new(aside.path("run"));
    let protocol = run_experiment::protocol(&config);
    eval::evaluate(&protocol, &table, &retrievers, &into, &ctx).unwrap().write().unwrap();

    let rows = |run: &RunFolder| Report::read(&run.eval().join("tiny-test.json")).unwrap().rows;
    let (new, others): (Vec<Row>, Vec<Row>) =
        rows(&into).into_iter().partition(|row| row.retriever == "shared-letters");
    assert_eq!(new.len(), 2, "the two galleries, by captions alone");
    for row in &new {
        assert_eq!((row.query, row.stage, row.embeddings_scored), (QueryKind::Caption, Stage::Exact, 0.0));
        assert!(row.versus_dense.contains_key(&1));
        assert!(into.eval().join(&row.files.run).is_file());
    }
    assert_eq!(timeless(&others), timeless(&rows(&run)), "it changes no other row");
}
