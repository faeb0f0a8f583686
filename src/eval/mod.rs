//! Evaluation: queries of a split through retrievers, ranks into figures, figures into files and a table.

pub mod bootstrap;
pub mod metrics;
pub mod report;
pub mod setting;
pub mod table;
pub mod trec;

use std::time::Instant;

use crate::config::{self, Config};
use crate::data::corpus::{Corpus, Split};
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::model::features::Prepared;
use crate::model::modality::Modality;
use crate::progress;
use crate::retriever::build::{Kind, Parts};
use crate::retriever::{Query, RankedList, Retriever};
use crate::rng;
use crate::run::RunFolder;
use report::{Report, Row};
use setting::{Gallery, QueryKind, Setting, Stage};

/// The kinds of retriever in the order of the table, each with its stage.
const KINDS: [(Kind, Stage); 5] = [
    (Kind::Decoder, Stage::Decoder),
    (Kind::Geometry, Stage::Geometry),
    (Kind::Rerank, Stage::Rerank),
    (Kind::Exhaustive, Stage::Exact),
    (Kind::Dense, Stage::Exact),
];

/// Length of the lists in a run file.
const DEPTH: usize = 100;
/// Images that memorisation is measured on at most.
const MEMORISED: usize = 2000;

/// Queries of one kind, each with the image it asks for.
struct Questions {
    kind: QueryKind,
    queries: Vec<Query>,
    gold: Vec<ImageIdx>,
    /// Names for run files.
    ids: Vec<String>,
}

/// Whether a split can be measured: better asked before a training than after it.
///
/// # Errors
/// When it has no images.
pub fn require(corpus: &Corpus, split: Split) -> Result<()> {
    if corpus.images_in(split).is_empty() {
        return Err(Error::input(format!(
            "the corpus has no images in its {split} split; choose another with eval.split"
        )));
    }
    Ok(())
}

/// Measures every retriever of a run on a split; writes the report, a run file and its qrels into the run folder.
///
/// # Errors
/// When the split is empty or the disk refuses.
pub fn evaluate(
    config: &Config,
    prepared: &Prepared,
    parts: &Parts,
    split: Split,
    run: &RunFolder,
) -> Result<Report> {
    let corpus = &prepared.corpus;
    require(corpus, split)?;
    let encoder = if prepared.encoder.is_some() { &config.encoder.path } else { "features" };
    let mut report =
        Report::new(config.data.name.clone(), split.to_string(), config.seed, encoder.to_owned());
    let stem = run.eval().join(format!("{}-{split}", config.data.name));
    let questions = [captions(prepared, split), images(prepared, &corpus.images_in(split))];
    let galleries = galleries(config.eval.gallery, corpus, split);
    let kinds: Vec<_> = KINDS.into_iter().filter(|&(kind, _)| parts.has(kind)).collect();
    // The run file has the last stage of the generative retriever, for captions over the first gallery.
    let main =
        kinds.iter().rposition(|&(kind, _)| matches!(kind, Kind::Decoder | Kind::Geometry | Kind::Rerank));
    let bar = progress::bar(questions.len() * galleries.len() * kinds.len(), "measuring");
    for (q, questions) in questions.iter().enumerate() {
        for (g, (gallery, images)) in galleries.iter().enumerate() {
            for (k, &(kind, stage)) in kinds.iter().enumerate() {
                let retriever = parts.build(kind, images);
                let (row, lists) = measure(config, &*retriever, questions, stage, *gallery, images)?;
                report.rows.push(row);
                if (q, g, Some(k)) == (0, 0, main) {
                    write_trec(&stem, &*retriever, stage, corpus, questions, &lists)?;
                }
                bar.inc(1);
            }
        }
    }
    report.memorisation = Some(memorisation(prepared, parts)?);
    bar.finish_and_clear();
    report.write(&stem.with_added_extension("json"))?;
    Ok(report)
}

fn galleries(wanted: config::Gallery, corpus: &Corpus, split: Split) -> Vec<(Gallery, Vec<ImageIdx>)> {
    let of_split = || (Gallery::Split, corpus.images_in(split));
    let of_corpus = || (Gallery::Corpus, corpus.images().collect());
    match wanted {
        config::Gallery::Split => vec![of_split()],
        config::Gallery::Corpus => vec![of_corpus()],
        config::Gallery::Both => vec![of_split(), of_corpus()],
    }
}

fn captions(prepared: &Prepared, split: Split) -> Questions {
    let corpus = &prepared.corpus;
    let captions = corpus.captions_in(split);
    let query =
        |&n: &usize| Query::Embedding(Modality::Caption, prepared.embeddings.captions.row(n).to_vec());
    let id = |&n: &usize| {
        let image = corpus.owner(n);
        format!("{}#{}", corpus.id(image), n - corpus.captions_of(image).start)
    };
    Questions {
        kind: QueryKind::Caption,
        queries: captions.iter().map(query).collect(),
        gold: captions.iter().map(|&n| corpus.owner(n)).collect(),
        ids: captions.iter().map(id).collect(),
    }
}

fn images(prepared: &Prepared, images: &[ImageIdx]) -> Questions {
    let row = |image: &ImageIdx| prepared.embeddings.images.row(image.row()).to_vec();
    Questions {
        kind: QueryKind::Image,
        queries: images.iter().map(|image| Query::Embedding(Modality::Image, row(image))).collect(),
        gold: images.to_vec(),
        ids: images.iter().map(|&image| prepared.corpus.id(image).to_owned()).collect(),
    }
}

fn measure(
    config: &Config,
    retriever: &dyn Retriever,
    questions: &Questions,
    stage: Stage,
    gallery: Gallery,
    images: &[ImageIdx],
) -> Result<(Row, Vec<RankedList>)> {
    let began = Instant::now();
    let mut lists = Vec::with_capacity(questions.queries.len());
    let mut ranks = Vec::with_capacity(questions.queries.len());
    for (queries, gold) in
        questions.queries.chunks(config.eval.batch).zip(questions.gold.chunks(config.eval.batch))
    {
        for (list, &image) in retriever.retrieve(queries, images.len())?.into_iter().zip(gold) {
            ranks.push(list.rank_of(image));
            lists.push(list.truncated(DEPTH));
        }
    }
    let setting = Setting {
        retriever: retriever.name().to_owned(),
        stage,
        query: questions.kind,
        gallery,
        regime: config.train.regime,
        images: images.len(),
        touched: retriever.touched().min(images.len()) as f64,
        ms_per_query: 1000.0 * began.elapsed().as_secs_f64() / questions.queries.len() as f64,
    };
    let mut rng = rng::stream(config.seed, "bootstrap", 0);
    let row = Row::measure(setting, &ranks, &questions.gold, config.eval.bootstrap, &mut rng)?;
    Ok((row, lists))
}

fn write_trec(
    stem: &std::path::Path,
    retriever: &dyn Retriever,
    stage: Stage,
    corpus: &Corpus,
    questions: &Questions,
    lists: &[RankedList],
) -> Result<()> {
    let tag = format!("{}-{stage}", retriever.name());
    let named = questions.ids.iter().zip(lists);
    trec::write_run(&stem.with_added_extension("run"), &tag, named, |image| corpus.id(image))?;
    let gold = questions.ids.iter().zip(questions.gold.iter().map(|&image| corpus.id(image)));
    trec::write_qrels(&stem.with_added_extension("qrels"), gold)
}

/// Share of the images whose photo makes the decoder, alone, spell their own docid among all of the corpus.
fn memorisation(prepared: &Prepared, parts: &Parts) -> Result<f64> {
    let everything: Vec<ImageIdx> = prepared.corpus.images().collect();
    let stride = everything.len().div_ceil(MEMORISED);
    let asked: Vec<ImageIdx> = everything.iter().copied().step_by(stride).collect();
    let questions = images(prepared, &asked);
    let lists = parts.build(Kind::Decoder, &everything).retrieve(&questions.queries, 1)?;
    let own = lists.iter().zip(&questions.gold).filter(|(list, image)| list.rank_of(**image) == Some(1));
    Ok(own.count() as f64 / asked.len() as f64)
}
