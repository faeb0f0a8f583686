//! Evaluation: queries of a split through retrievers, ranks into figures, figures into files and a table.

pub mod bootstrap;
pub mod compare_runs;
mod distributed;
pub mod fit_rerank_weight;
pub mod image_to_text;
pub mod metrics;
pub mod published_results;
pub mod query_outcomes;
pub mod query_sets;
pub mod read_back;
pub mod report;
pub mod report_files;
pub mod report_table;
pub mod row_setting;
pub mod significance;
pub mod trec_files;

use std::time::Instant;

use indicatif::ProgressBar;

use crate::config::Config;
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::distributed::Comm;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::encoder::{self, MirrorTta};
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::retriever::RankedList;
use crate::retriever::factory::{RetrieverFactory, RetrieverKind};
use crate::rng;
use crate::run_folder::RunFolder;
use query_outcomes::QueryOutcomes;
use query_sets::{GalleryFolds, QuerySet};
use report::{Report, Row};
use report_files::Names;
use row_setting::{QueryKind, Setting, Stage};

/// The kinds of retriever in the order of the table, each with its stage.
const KINDS: [(RetrieverKind, Stage); 6] = [
    (RetrieverKind::Decoder, Stage::Decoder),
    (RetrieverKind::Geometry, Stage::Geometry),
    (RetrieverKind::Rerank, Stage::Rerank),
    (RetrieverKind::Exhaustive, Stage::Exact),
    (RetrieverKind::Adapted, Stage::Exact),
    (RetrieverKind::Dense, Stage::Exact),
];
/// The stages of the generative retriever among them.
const GENERATIVE: [RetrieverKind; 3] =
    [RetrieverKind::Decoder, RetrieverKind::Geometry, RetrieverKind::Rerank];

/// Images that memorisation is measured on at most.
const MEMORISED: usize = 2000;

/// The cut-offs at which a retriever is compared with dense search.
const COMPARED: [usize; 2] = [1, 10];

/// What of a configuration decides a figure, but for the seed.
const DECIDES: [&str; 15] = [
    "data.name",
    "data.kind",
    "data.limit",
    "data.train",
    "data.val",
    "data.test",
    "data.scenes_seed",
    "encoder.path",
    "encoder.revision",
    "index",
    "decoder",
    "train",
    "tune",
    "precision",
    "search",
];

/// Whether a split can be measured: better asked before a training than after it.
///
/// # Errors
/// When it has no images, or fewer than it is to have folds.
pub fn require(config: &Config, corpus: &Corpus) -> Result<()> {
    let split = config.eval.split;
    if corpus.images_in(split).is_empty() {
        return Err(Error::input(format!(
            "the corpus has no images in its {split} split; choose another with eval.split"
        )));
    }
    query_sets::pools(&config.eval, corpus, split).map(|_| ())
}

/// The hash of all of a configuration that decides a figure, but for the seed.
fn settings(config: &Config) -> String {
    config.fingerprint(&DECIDES)
}

/// Whether a report is of this configuration. (What it says does not tell which galleries it was asked for.)
pub fn is_of(report: &Report, config: &Config) -> bool {
    let wanted = (&config.data.name, config.eval.split.word(), config.seed, settings(config));
    (&report.dataset, report.split.as_str(), report.seed, report.settings.clone()) == wanted
}

/// Measures every retriever of a run on the split that the configuration names; writes the report, and for each row a
/// run file and its qrels, into the run folder. Each rank answers a share of the queries; of several, all but the first are given a
/// folder aside.
///
/// # Errors
/// When the split is empty or the disk refuses.
pub fn evaluate(
    config: &Config,
    prepared: &EmbeddedCorpus,
    parts: &RetrieverFactory,
    run: &RunFolder,
    ctx: &Context,
) -> Result<Report> {
    let (corpus, split) = (&prepared.corpus, config.eval.split);
    require(config, corpus)?;
    let encoder = (encoder::spec(config.encoder.kind).label)(&config.encoder);
    let settings = settings(config);
    let (dataset, encoder) = (config.data.name.clone(), encoder.to_owned());
    let mut report = Report::new(dataset, split.to_string(), config.seed, encoder, settings);
    let pools = query_sets::pools(&config.eval, corpus, split)?;
    let generative = |&&(kind, _): &&(RetrieverKind, Stage)| GENERATIVE.contains(&kind) && parts.has(kind);
    let last = KINDS.iter().rfind(generative).map_or(Stage::Decoder, |&(_, stage)| stage);
    let main = (pools[0].gallery, last);
    let names = Names::new(run.eval(), &config.data.name, split.word(), main);
    let bench = Bench { config, prepared, parts, names, comm: &ctx.comm };
    let photos = query_sets::images(prepared, &corpus.images_in(split));
    let mut asked = vec![query_sets::captions(prepared, split), photos.clone()];
    if config.eval.views {
        asked.extend(query_sets::views(
            prepared,
            &corpus.images_in(split),
            MirrorTta::of_queries(&config.search),
            config.seed,
        )?);
    }
    let kinds = KINDS.iter().filter(|(kind, _)| parts.has(*kind)).count();
    let bar = ctx.bar(pools.len() * (asked.len() * kinds + 1), "measuring");
    for questions in &asked {
        for pool in &pools {
            report.rows.extend(bench.rows(questions, pool, &bar)?);
        }
    }
    for pool in &pools {
        report.rows.push(bench.described(&photos, pool)?);
        bar.inc(1);
    }
    report.memorisation = Some(memorisation(prepared, parts)?);
    bar.finish_and_clear();
    report.write(&bench.names.report())?;
    Ok(report)
}

/// What all rows of an evaluation are measured with.
struct Bench<'a> {
    config: &'a Config,
    prepared: &'a EmbeddedCorpus,
    parts: &'a RetrieverFactory,
    names: Names,
    comm: &'a Comm,
}

impl Bench<'_> {
    /// The rows of all retrievers for the same queries over the same images, each compared with the dense one.
    fn rows(&self, questions: &QuerySet, pool: &GalleryFolds, bar: &ProgressBar) -> Result<Vec<Row>> {
        self.write_qrels(questions, pool)?;
        let mut measured = Vec::new();
        for (kind, stage) in KINDS.into_iter().filter(|&(kind, _)| self.parts.has(kind)) {
            measured.push(self.row(kind, stage, questions, pool)?);
            bar.inc(1);
        }
        let (dense, theirs) = measured.pop().expect("invariant: there is always a dense row, the last");
        let mut rng = rng::stream(self.config.seed, "significance", 0);
        if self.config.eval.exhaustive && pool.folds.len() == 1 {
            let decoder = &mut measured[0].0;
            decoder.survival = self.parts.survival(&pool.folds[0], &questions.queries, &questions.gold)?;
            let text: Vec<String> =
                decoder.survival.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
            let (query, gallery) = (questions.kind, pool.gallery);
            tracing::info!("right prefixes kept, %, level by level ({query}, {gallery}): {}", text.join(" "));
        }
        let mut rows: Vec<Row> = Vec::with_capacity(measured.len() + 1);
        for (mut row, ours) in measured {
            let mut at =
                |k| (k, significance::compare(&ours, &theirs, k, self.config.eval.bootstrap, &mut rng));
            row.versus_dense = COMPARED.map(&mut at).into();
            rows.push(row);
        }
        rows.push(dense);
        Ok(rows)
    }

    /// One row: the answers of a retriever, fold by fold.
    fn row(
        &self,
        kind: RetrieverKind,
        stage: Stage,
        questions: &QuerySet,
        pool: &GalleryFolds,
    ) -> Result<(Row, QueryOutcomes)> {
        let asked = pool.asked(&questions.gold);
        let (mut lists, mut ranks) = (Vec::new(), Vec::new());
        let (mut seconds, mut name, mut touched) = (0.0, String::new(), 0);
        for (images, range) in pool.folds.iter().zip(&asked) {
            let retriever = self.parts.build(kind, images);
            let (batch, depth) = (self.config.eval.batch, self.config.eval.depth);
            let own = self.comm.share(range.len());
            let here = range.start + own.start..range.start + own.end;
            let queries = questions.queries[here.clone()].chunks(batch);
            let began = Instant::now();
            let mut found = Vec::with_capacity(own.len());
            for (queries, gold) in queries.zip(questions.gold[here].chunks(batch)) {
                found.extend(retriever.ranked(queries, gold, depth)?);
            }
            for (list, rank) in distributed::gathered(own, found, range.len(), depth, self.comm) {
                lists.push(list);
                ranks.push(rank);
            }
            seconds += began.elapsed().as_secs_f64();
            name = retriever.name().to_owned();
            touched = touched.max(retriever.touched().min(images.len()));
        }
        let answers = QueryOutcomes::new(ranks, questions.gold.clone(), asked);
        let ms_per_query = 1000.0 * seconds / questions.queries.len() as f64;
        let setting = self.setting(name, stage, questions.kind, pool, touched, ms_per_query);
        self.write_run(&setting, questions, &lists)?;
        Ok((self.measured(setting, &answers)?, answers))
    }

    /// The row of exact search for captions by photos.
    fn described(&self, photos: &QuerySet, pool: &GalleryFolds) -> Result<Row> {
        let corpus = &self.prepared.corpus;
        let found = image_to_text::describe(self.prepared, photos, pool, self.config.eval.depth);
        let kind = QueryKind::ImageToCaption;
        let setting =
            self.setting("dense".into(), Stage::Exact, kind, pool, found.touched, found.ms_per_query);
        let named = |list: &Vec<(usize, f32)>| -> Vec<(String, f32)> {
            list.iter().map(|&(caption, score)| (query_sets::caption_id(corpus, caption), score)).collect()
        };
        let lists = photos.ids.iter().zip(found.lists.iter().map(named));
        trec_files::write_run(&self.names.path(&setting.files.run), "dense-exact", lists)?;
        for (name, range) in setting.files.qrels.iter().zip(pool.asked(&photos.gold)) {
            let own = photos.gold[range].iter().flat_map(|&image| {
                corpus.captions_of(image).map(move |n| (corpus.id(image), query_sets::caption_id(corpus, n)))
            });
            trec_files::write_qrels(&self.names.path(name), own)?;
        }
        self.measured(setting, &found.answers)
    }

    fn setting(
        &self,
        retriever: String,
        stage: Stage,
        query: QueryKind,
        pool: &GalleryFolds,
        touched: usize,
        ms_per_query: f64,
    ) -> Setting {
        Setting {
            files: self.names.of(query, pool, &retriever, stage),
            retriever,
            stage,
            query,
            gallery: pool.gallery,
            regime: self.config.train.regime,
            images: pool.images(),
            touched: touched as f64,
            ms_per_query,
        }
    }

    fn measured(&self, setting: Setting, answers: &QueryOutcomes) -> Result<Row> {
        let mut rng = rng::stream(self.config.seed, "bootstrap", 0);
        Row::measure(setting, answers, self.config.eval.bootstrap, &mut rng)
    }

    fn write_run(&self, setting: &Setting, questions: &QuerySet, lists: &[RankedList]) -> Result<()> {
        let corpus = &self.prepared.corpus;
        let named = |list: &RankedList| -> Vec<(&str, f32)> {
            list.hits().iter().map(|hit| (corpus.id(hit.image), hit.score)).collect()
        };
        let tag = format!("{}-{}", setting.retriever, setting.stage);
        let lists = questions.ids.iter().zip(lists.iter().map(named));
        trec_files::write_run(&self.names.path(&setting.files.run), &tag, lists)
    }

    fn write_qrels(&self, questions: &QuerySet, pool: &GalleryFolds) -> Result<()> {
        let asked = pool.asked(&questions.gold);
        for (name, range) in self.names.qrels(questions.kind, pool).iter().zip(asked) {
            let gold = questions.gold[range.clone()].iter().map(|&image| self.prepared.corpus.id(image));
            trec_files::write_qrels(&self.names.path(name), questions.ids[range].iter().zip(gold))?;
        }
        Ok(())
    }
}

/// Share of the images whose photo makes the decoder, alone, spell their own docid among all of the corpus.
fn memorisation(prepared: &EmbeddedCorpus, parts: &RetrieverFactory) -> Result<f64> {
    let everything: Vec<ImageIdx> = prepared.corpus.images().collect();
    let stride = everything.len().div_ceil(MEMORISED);
    let asked: Vec<ImageIdx> = everything.iter().copied().step_by(stride).collect();
    let questions = query_sets::images(prepared, &asked);
    let lists = parts.build(RetrieverKind::Decoder, &everything).retrieve(&questions.queries, 1)?;
    let own = lists.iter().zip(&questions.gold).filter(|(list, image)| list.rank_of(**image) == Some(1));
    Ok(own.count() as f64 / asked.len() as f64)
}
