//! A search by any retriever of a run: it opens the run's corpus and the embeddings of all images.

use anyhow::{Context as _, Result, bail};

use super::Search;
use crate::cli::open_run::OpenedRun;
use crate::config_schema::shared_limits::BEAM;
use crate::data::photos::Photo;
use crate::docid::Docid;
use crate::ids::ImageIdx;
use crate::output;
use crate::retriever::generative_variants::GEOMETRY;
use crate::retriever::registry::{default_for_search, find};
use crate::retriever::{Query, RETRIEVERS, Retriever as _, RetrieverFactory, settings};
use crate::run_experiment::early_checks::searching;
use crate::searcher::Hit;

/// The images that the run's retriever finds.
pub fn search(args: &Search) -> Result<Vec<Hit>> {
    let opened = OpenedRun::new(args.run.clone(), &args.overrides(), searching)?;
    let query = match (&args.caption, &args.image) {
        (Some(caption), _) => Query::caption(caption),
        (None, Some(photo)) => Query::photo(photo),
        (None, None) => bail!("--retriever takes a caption, or --image FILE"),
    };
    let trained = opened.retrievers()?;
    let retriever = match &args.retriever {
        Some(name) => find(name).context("invariant: clap accepts only names of the table")?,
        // Even if geometry has no weight, this beam has the prior.
        None => default_for_search(RETRIEVERS, &trained).unwrap_or(&GEOMETRY),
    };
    let gallery: Vec<ImageIdx> = opened.prepared.corpus.images().collect();
    let query = trained.complete(vec![query])?;
    let lists = retriever.build(&trained, &gallery)?.retrieve(&query, opened.config.search.k)?;
    let hits = lists[0].hits();
    say_if_short(hits.len(), gallery.len(), &opened.config.search);
    Ok(hits.iter().map(|found| hit(&trained, found.image, found.score)).collect())
}

fn hit(trained: &RetrieverFactory, image: ImageIdx, score: f32) -> Hit {
    let corpus = &trained.prepared().corpus;
    let docid: &Docid = trained.index().docids.of(image);
    Hit {
        image: corpus.id(image).to_owned(),
        file: corpus.photo(image).map(Photo::path),
        docid: docid.clone(),
        score,
    }
}

/// Says why a list is shorter than wanted: there are no more images, or the beam ends with no more.
fn say_if_short(hits: usize, images: usize, search: &settings::Search) {
    if hits >= search.k {
        return;
    }
    let why = if hits == images { "there are no more".to_owned() } else { beam_is_short(search, images) };
    output::message(format!("the list has {hits} images, not {}: {why}", search.k));
}

fn beam_is_short(search: &settings::Search, images: usize) -> String {
    let (wanted, beam) = (search.k.min(images), search.beam);
    let largest = usize::try_from(*BEAM.end()).unwrap_or(usize::MAX);
    let better = if wanted > beam { wanted } else { 2 * beam };
    match better.min(largest) {
        better if better > beam => format!(
            "that is all a beam of {beam} gives; set search.beam higher, e.g. --set search.beam={better}"
        ),
        _ => format!("that is all a beam of {beam} gives, the largest search.beam"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_list_names_the_beam_that_would_be_long_enough() {
        let advice = |k, beam, images| {
            beam_is_short(&settings::Search { k, beam, ..settings::Search::default() }, images)
        };
        let start = "that is all a beam of 20 gives";
        let set = |beam: usize| format!("{start}; set search.beam higher, e.g. --set search.beam={beam}");
        assert_eq!(
            [advice(30, 20, 80), advice(1000, 20, 80), advice(1000, 20, 1000)],
            [set(30), set(80), set(512)]
        );
        assert_eq!(advice(15, 20, 80), set(40), "several docids of one image");
        assert!(advice(600, 512, 1000).ends_with("the largest search.beam"));
    }
}
