//! The contract of every retriever; and a beam as wide as the gallery finds what exhaustive search finds.

use std::collections::{BTreeSet, HashMap};
use std::sync::{LazyLock, OnceLock};

use dsi::config::Config;
use dsi::context::Context;
use dsi::data::corpus::{Corpus, Split};
use dsi::encoder::embedded_corpus::EmbeddedCorpus;
use dsi::ids::ImageIdx;
use dsi::modality::Modality;
use dsi::retriever::generative_variants::{DECODER, EXHAUSTIVE};
use dsi::retriever::{Query, RETRIEVERS, RankedList, Retriever, RetrieverFactory, RetrieverSpec};
use dsi::run_experiment;
use dsi::run_folder::RunFolder;
use libtest_mimic::Trial;

use crate::fixture::{IMAGES, VARIANTS, repository, trained};
use crate::harness::trial;

/// A named check of all retrievers over one model.
type Check = (&'static str, fn(&'static Model));

const CHECKS: [Check; 7] = [
    ("lists_are_sorted_unique_and_from_the_gallery", lists_are_sorted_unique_and_from_the_gallery),
    ("a_longer_list_continues_a_shorter_one", a_longer_list_continues_a_shorter_one),
    ("ranks_are_those_of_the_whole_list", ranks_are_those_of_the_whole_list),
    (
        "answers_repeat_to_the_bit_and_ignore_the_rest_of_the_batch",
        answers_repeat_to_the_bit_and_ignore_the_rest_of_the_batch,
    ),
    (
        "empty_batches_are_answered_and_bad_queries_refused",
        empty_batches_are_answered_and_bad_queries_refused,
    ),
    ("queries_are_completed_alike_alone_and_together", queries_are_completed_alike_alone_and_together),
    ("a_beam_as_wide_as_the_gallery_is_exhaustive", a_beam_as_wide_as_the_gallery_is_exhaustive),
];

/// One test per check and variant.
pub fn tests() -> Vec<Trial> {
    let of = |(check, test): Check| {
        VARIANTS.map(|(variant, _)| {
            trial(module_path!(), &format!("{check}::{variant}"), None, move || test(model(variant)))
        })
    };
    CHECKS.into_iter().flat_map(of).collect()
}

/// A model trained for a few steps. (Its corpus lives as long as the tests.)
struct Model {
    name: &'static str,
    prepared: &'static EmbeddedCorpus,
    run: RetrieverFactory<'static>,
}

/// The model of a variant, with a beam as wide as the gallery.
fn model(variant: &'static str) -> &'static Model {
    static MODELS: LazyLock<HashMap<&str, OnceLock<Model>>> =
        LazyLock::new(|| VARIANTS.map(|(name, _)| (name, OnceLock::new())).into());
    MODELS[variant].get_or_init(|| open(variant))
}

fn open(name: &'static str) -> Model {
    let space = trained(name);
    let (_, overrides) = VARIANTS.iter().find(|(variant, _)| *variant == name).unwrap();
    let wide = format!("search.beam={}", 2 * IMAGES); // an image may have two docids
    // With wildcards a beam leaves terms out that an exhaustive search has.
    let overrides = space.overrides(&[overrides, &[wide.as_str(), "search.wildcard=1"][..]].concat());
    let config = Config::load(&repository("configs/scenes.toml"), &overrides).unwrap();
    let (run, ctx) = (RunFolder::new(space.path("run")), Context::default());
    let prepared = Box::leak(Box::new(run_experiment::prepare_trained(&config, &run, &ctx).unwrap()));
    Model { name, prepared, run: run_experiment::open(&config, prepared, &run, &ctx.device).unwrap() }
}

/// A model with every retriever of the table over the images of val and test, the gallery.
fn for_each_retriever(
    model: &Model,
    mut check: impl FnMut(&str, &RetrieverSpec, &[ImageIdx], &dyn Retriever),
) {
    let gallery = gallery(&model.prepared.corpus);
    for spec in RETRIEVERS {
        let retriever = spec.build(&model.run, &gallery).unwrap();
        check(&format!("{} {spec:?}", model.name), spec, &gallery, &*retriever);
    }
}

fn gallery(corpus: &Corpus) -> Vec<ImageIdx> {
    [Split::Val, Split::Test].into_iter().flat_map(|split| corpus.images_in(split)).collect()
}

/// Queries of each kind in one call; three times this is more than one decoding batch.
const MANY: usize = 25;
const FEW: usize = 4;

/// `count` captions, photos and embeddings each, and one caption twice, completed.
fn completed(model: &Model, count: usize) -> Vec<Query> {
    model.run.complete(raw_queries(model.prepared, count)).unwrap()
}

/// Those of [`completed`] that a retriever answers.
fn queries(model: &Model, spec: &RetrieverSpec, count: usize) -> Vec<Query> {
    let answers =
        |query: &Query| query.embedding.as_ref().is_some_and(|e| spec.queries.contains(&e.modality));
    completed(model, count).into_iter().filter(answers).collect()
}

/// The same before they are completed.
fn raw_queries(prepared: &EmbeddedCorpus, count: usize) -> Vec<Query> {
    let (corpus, embeddings) = (&prepared.corpus, &prepared.embeddings);
    let images = || corpus.images().take(count);
    let sentences = images().map(|i| Query::caption(corpus.caption(corpus.captions_of(i).start)));
    let photos = images().map(|i| Query::photo(corpus.file(i).unwrap()));
    let ready = images().map(|i| Query::embedded(Modality::Image, embeddings.images.row(i.row()).to_vec()));
    let twice = [Query::caption("a cube"), Query::caption("a cube")];
    sentences.chain(photos).chain(ready).chain(twice).collect()
}

fn images(list: &RankedList) -> Vec<ImageIdx> {
    list.hits().iter().map(|hit| hit.image).collect()
}

fn lists_are_sorted_unique_and_from_the_gallery(model: &Model) {
    for_each_retriever(model, |name, spec, gallery, retriever| {
        let queries = queries(model, spec, FEW);
        for k in [0, 1, 7, gallery.len(), 10 * IMAGES] {
            let lists = retriever.retrieve(&queries, k).unwrap();
            assert_eq!(lists.len(), queries.len(), "{name}");
            for list in lists {
                let found: BTreeSet<ImageIdx> = images(&list).into_iter().collect();
                assert_eq!(found.len(), list.hits().len(), "{name}: an image comes twice");
                // The beam is wider than the gallery, so every image of it can be found.
                assert_eq!(found.len(), k.min(gallery.len()), "{name}: k = {k}");
                assert!(found.iter().all(|image| gallery.contains(image)), "{name}: outside the gallery");
                assert!(list.hits().is_sorted_by(|a, b| (b.score, a.image) < (a.score, b.image)), "{name}");
                assert!(list.hits().iter().all(|hit| hit.score.is_finite()), "{name}");
            }
        }
    });
}

fn a_longer_list_continues_a_shorter_one(model: &Model) {
    for_each_retriever(model, |name, spec, gallery, retriever| {
        let queries = &queries(model, spec, FEW);
        let [short, long] = [3, gallery.len()].map(|k| retriever.retrieve(queries, k).unwrap());
        for (short, long) in short.iter().zip(&long) {
            assert_eq!(images(short), images(long)[..3], "{name}");
        }
    });
}

fn ranks_are_those_of_the_whole_list(model: &Model) {
    for_each_retriever(model, |name, spec, gallery, retriever| {
        let queries = &queries(model, spec, FEW);
        let lists = retriever.retrieve(queries, IMAGES).unwrap();
        for gold in [gallery[0], gallery[gallery.len() - 1], ImageIdx(0)] {
            let ranked = retriever.ranked(queries, &vec![gold; queries.len()], 3).unwrap();
            for ((short, rank), whole) in ranked.iter().zip(&lists) {
                assert_eq!(*rank, whole.rank_of(gold), "{name}");
                assert_eq!(*short, whole.clone().truncated(3), "{name}");
            }
        }
    });
}

fn answers_repeat_to_the_bit_and_ignore_the_rest_of_the_batch(model: &Model) {
    for_each_retriever(model, |name, spec, _, retriever| {
        let queries = queries(model, spec, MANY);
        let together = retriever.retrieve(&queries, 10).unwrap();
        assert_eq!(together, retriever.retrieve(&queries, 10).unwrap(), "{name}");
        if spec.queries.contains(&Modality::Caption) {
            assert_eq!(together[queries.len() - 2], together[queries.len() - 1], "{name}: one query twice");
        }
        for (query, expected) in queries.iter().zip(&together) {
            let alone = &retriever.retrieve(std::slice::from_ref(query), 10).unwrap()[0];
            assert_alike(name, alone, expected, 1e-5);
        }
    });
}

fn empty_batches_are_answered_and_bad_queries_refused(model: &Model) {
    for_each_retriever(model, |name, spec, _, retriever| {
        assert!(retriever.retrieve(&[], 10).unwrap().is_empty(), "{name}");
        let good = queries(model, spec, 1).swap_remove(0);
        assert!(retriever.retrieve(&[good, Query::default()], 10).is_err(), "{name}");
    });
    let good = &completed(model, 1)[0];
    for bad in [
        Query::caption(" "),
        Query::photo("none.png"),
        Query::embedded(Modality::Image, vec![1.0]),
        Query::default(),
    ] {
        assert!(model.run.complete(vec![good.clone(), bad.clone()]).is_err(), "{bad:?}");
        assert!(model.run.complete(vec![bad.clone()]).is_err(), "{bad:?} alone");
    }
}

/// Each query has the encoder's row that it has alone. Aligned rows agree up to rounding.
fn queries_are_completed_alike_alone_and_together(model: &Model) {
    let together = completed(model, FEW);
    for (query, together) in raw_queries(model.prepared, FEW).into_iter().zip(together) {
        let alone = model.run.complete(vec![query]).unwrap().remove(0).embedding.unwrap();
        let together = together.embedding.unwrap();
        assert_eq!(alone.modality, together.modality);
        assert_eq!(alone.row, together.row);
        let (alone, together) = (alone.aligned.unwrap(), together.aligned.unwrap());
        assert!(alone.iter().zip(&together).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

fn a_beam_as_wide_as_the_gallery_is_exhaustive(model: &Model) {
    let everything: Vec<ImageIdx> = model.prepared.corpus.images().collect();
    let queries = completed(model, MANY);
    let lists = |spec: &RetrieverSpec| {
        spec.build(&model.run, &everything).unwrap().retrieve(&queries, IMAGES).unwrap()
    };
    for (beam, exhaustive) in lists(&DECODER).iter().zip(&lists(&EXHAUSTIVE)) {
        assert_eq!(beam.hits().len(), IMAGES, "{}", model.name);
        assert_alike(model.name, beam, exhaustive, 1e-4);
    }
}

/// Asserts the same scores in the same order, up to a relative rounding error; images with scores that
/// close may be swapped.
#[track_caller]
fn assert_alike(name: &str, left: &RankedList, right: &RankedList, tolerance: f32) {
    assert_eq!(left.hits().len(), right.hits().len(), "{name}");
    for (a, b) in left.hits().iter().zip(right.hits()) {
        let close = |x: f32, y: f32| (x - y).abs() <= tolerance * x.abs().max(1.0);
        assert!(close(a.score, b.score), "{name}: {a:?} {b:?}");
        if a.image != b.image {
            let elsewhere = right.hits().iter().find(|hit| hit.image == a.image);
            assert!(elsewhere.is_none_or(|hit| close(a.score, hit.score)), "{name}: {a:?} {b:?}");
        }
    }
}
