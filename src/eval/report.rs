//! The report of an evaluation, as a JSON file with stable names: the source of every table.
//!
//! Ranks go in, one [`Row`] per (retriever, stage, query, gallery) comes out. The format has a version; a
//! file of another version, or with unknown names, is refused.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bootstrap;
use super::query_outcomes::QueryOutcomes;
use super::row_setting::{Files, Gallery, QueryKind, Regime, Setting};
use super::significance::Difference;
use crate::error::{Error, Result};
use crate::file_io;
use crate::ranking::metrics;
use crate::retriever::ranking_stage::Stage;
use crate::rng::Rng;

/// The version of the format.
const VERSION: u32 = 2;
/// The largest report that is read.
const MAX_BYTES: u64 = 16 << 20;
/// The cut-offs at which recall is reported.
pub const CUTOFFS: [usize; 3] = [1, 5, 10];

/// All rows of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    version: u32,
    /// Name of the data set.
    pub dataset: String,
    /// Split whose queries were measured.
    pub split: String,
    /// Seed of the run.
    pub seed: u64,
    /// Name of the encoder.
    pub encoder: String,
    /// Hash of all of the configuration that decides a figure, except for the seed: reports that agree in it
    /// are repetitions of one experiment.
    pub settings: String,
    /// One row per measured combination, in the order of the table.
    pub rows: Vec<Row>,
    /// Share of images whose own photo makes the decoder spell their docid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memorisation: Option<f64>,
}

/// One line of the table: a [`Setting`] and what was measured in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name of the retriever.
    pub retriever: String,
    /// What its ranking is made with.
    pub stage: Stage,
    /// What the queries are.
    pub query: QueryKind,
    /// Which images can be returned.
    pub gallery: Gallery,
    /// Whether training saw them.
    pub regime: Regime,
    /// Number of queries.
    pub queries: usize,
    /// How many images can be returned; the number in the largest fold of a gallery with folds.
    pub images: usize,
    /// Galleries that the figures are means over.
    pub folds: usize,
    /// Cut-off → recall, in 0..=1.
    pub recall: BTreeMap<usize, f64>,
    /// Cut-off → `[low, high]`, the 95% interval of recall over images.
    pub recall_ci95: BTreeMap<usize, [f64; 2]>,
    /// Mean reciprocal rank at 10, in 0..=1.
    pub mrr10: f64,
    /// nDCG at 10, in 0..=1.
    pub ndcg10: f64,
    /// Median rank of the right image.
    pub median_rank: f64,
    /// Image embeddings that were compared with a query, at most.
    #[serde(rename = "touched")]
    pub embeddings_scored: f64,
    /// Mean time per query in milliseconds.
    pub ms_per_query: f64,
    /// The run file with the lists, and the qrels file of each fold.
    pub files: Files,
    /// For each level of the docids, the share of queries of which the search kept a right prefix; empty
    /// without `eval.exhaustive`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub survival: Vec<f64>,
    /// Cut-off → recall against the dense row of the same queries and gallery; empty in that row itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub versus_dense: BTreeMap<usize, Difference>,
}

impl Row {
    /// Measures a row from the outcomes of all its queries.
    ///
    /// # Errors
    /// When there are no queries or no resamples, or embeddings or time are not finite.
    pub fn measure(
        setting: Setting,
        outcomes: &QueryOutcomes,
        resamples: usize,
        rng: &mut Rng,
    ) -> Result<Self> {
        check(&setting, outcomes, resamples)?;
        let recall = |k| outcomes.over_folds(|ranks| metrics::recall_at(ranks, k));
        let mut interval = |k| bootstrap::interval95(&outcomes.hits(k), outcomes.clusters(), resamples, rng);
        Ok(Self {
            queries: outcomes.count(),
            images: setting.images,
            recall: CUTOFFS.map(|k| (k, recall(k))).into(),
            recall_ci95: CUTOFFS.map(|k| (k, interval(k))).into(),
            mrr10: outcomes.over_folds(|ranks| metrics::mrr_at(ranks, 10)),
            ndcg10: outcomes.ndcg10(),
            median_rank: outcomes.over_folds(|ranks| metrics::median_rank(ranks, setting.images)),
            folds: outcomes.folds(),
            files: setting.files,
            survival: Vec::new(),
            versus_dense: BTreeMap::new(),
            retriever: setting.retriever,
            stage: setting.stage,
            query: setting.query,
            gallery: setting.gallery,
            regime: setting.regime,
            embeddings_scored: setting.embeddings_scored,
            ms_per_query: setting.ms_per_query,
        })
    }
}

fn check(setting: &Setting, outcomes: &QueryOutcomes, resamples: usize) -> Result<()> {
    let refuse = |what: String| Err(Error::input(format!("cannot measure {}: {what}", setting.retriever)));
    if outcomes.count() == 0 {
        return refuse("there are no queries; choose a split that has some".into());
    }
    if resamples == 0 {
        return refuse("0 bootstrap resamples; at least 1 is needed, 1000 is usual".into());
    }
    let (scored, ms) = (setting.embeddings_scored, setting.ms_per_query);
    if !(scored.is_finite() && ms.is_finite()) {
        return refuse(format!("{scored} embeddings and {ms} ms per query must both be finite"));
    }
    Ok(())
}

impl Report {
    /// A report without rows.
    pub fn new(dataset: String, split: String, seed: u64, encoder: String, settings: String) -> Self {
        Self {
            version: VERSION,
            dataset,
            split,
            seed,
            encoder,
            settings,
            rows: Vec::new(),
            memorisation: None,
        }
    }

    /// Writes the report as JSON, all or nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        file_io::write_json(path, self)
    }

    /// Reads a report that [`Report::write`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is of another version, or is not exactly such a report.
    pub fn read(path: &Path) -> Result<Self> {
        /// Read first, so that a file of a newer version is not called malformed.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let text = file_io::read_text(path, MAX_BYTES)?;
        let malformed = |e: serde_json::Error| Error::file(path, format!("is not an evaluation report: {e}"));
        let Versioned { version } = serde_json::from_str(&text).map_err(malformed)?;
        if version != VERSION {
            let what =
                format!("is a report of version {version}, this program reads {VERSION}; evaluate again");
            return Err(Error::file(path, what));
        }
        serde_json::from_str(&text).map_err(malformed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "one fold")]

    use super::*;
    use crate::ids::ImageIdx;
    use crate::rng::stream;

    fn setting() -> Setting {
        Setting {
            retriever: "generative".into(),
            stage: Stage::Decoder,
            query: QueryKind::Caption,
            gallery: Gallery::Split,
            regime: Regime::Inductive,
            images: 1000,
            embeddings_scored: 50.0,
            ms_per_query: 1.5,
            files: Files { run: "a.run".into(), qrels: vec!["a.qrels".into()] },
        }
    }

    fn outcomes(ranks: &[Option<usize>], clusters: &[u32]) -> QueryOutcomes {
        QueryOutcomes::new(
            ranks.to_vec(),
            clusters.iter().map(|&row| ImageIdx(row)).collect(),
            vec![0..ranks.len()],
        )
    }

    /// Four queries over two images; every figure is exact in binary, so JSON keeps it.
    pub fn sample() -> Report {
        let mut report = Report::new("scenes".into(), "test".into(), 7, "clip".into(), "00".into());
        let outcomes = outcomes(&[Some(1), Some(2), None, Some(1)], &[0, 0, 3, 3]);
        report.rows.push(Row::measure(setting(), &outcomes, 100, &mut stream(1, "test", 0)).unwrap());
        report
    }

    #[test]
    fn a_row_has_the_figures_of_its_ranks() {
        let row = sample().rows.remove(0);
        assert_eq!((row.queries, row.images), (4, 1000));
        assert_eq!(row.recall, BTreeMap::from([(1, 0.5), (5, 0.75), (10, 0.75)]));
        assert_eq!((row.mrr10, row.median_rank), (0.625, 1.5));
        // Resampling two images, each with one hit of two at 1, can only ever give a half.
        assert_eq!(row.recall_ci95[&1], [0.5, 0.5]);
        assert_eq!(row.recall_ci95[&5], [0.5, 1.0]);
    }

    #[test]
    fn the_file_has_stable_names_in_numeric_order_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eval/report.json");
        sample().write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), sample());
        let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        let head = r#"{"version":2,"dataset":"scenes","split":"test","seed":7,"encoder":"clip","settings":"00","rows":[{"#;
        let row = concat!(
            r#""retriever":"generative","stage":"decoder","query":"caption","gallery":"split","#,
            r#""regime":"inductive","queries":4,"images":1000,"folds":1,"recall":{"1":0.5,"5":0.75,"10":0.75},"#,
            r#""recall_ci95":{"1":[0.5,0.5],"5":[0.5,1.0],"10":[0.5,1.0]},"mrr10":0.625,"ndcg10":"#,
        );
        assert!(text.starts_with(&format!("{head}{row}")), "{text}");
        let files = r#""files":{"run":"a.run","qrels":["a.qrels"]}"#;
        let end = format!(r#","median_rank":1.5,"touched":50.0,"ms_per_query":1.5,{files}}}]}}"#);
        assert!(text.ends_with(&end), "{text}");
    }

    #[test]
    fn files_of_another_version_or_with_unknown_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let text = serde_json::to_string(&sample()).unwrap();
        for (from, to, said) in [
            (r#""version":2"#, r#""version":3,"new":0"#, "version 3"),
            (r#""seed":7"#, r#""seed":7,"sead":8"#, "sead"),
            (r#""queries":4"#, r#""queries":4,"more":1"#, "more"),
            (r#""decoder""#, r#""decodr""#, "decodr"),
            (r#""5":0.75"#, r#""five":0.75"#, "quotes"),
            (r#"{"version""#, r#"["version""#, "report.json"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = Report::read(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_row_without_meaning_is_refused() {
        let measure = |setting, ranks: &[Option<usize>], clusters: &[u32], resamples| {
            let outcomes = outcomes(ranks, clusters);
            Row::measure(setting, &outcomes, resamples, &mut stream(1, "test", 0)).unwrap_err().to_string()
        };
        assert!(measure(setting(), &[], &[], 9).contains("no queries"));
        assert!(measure(setting(), &[None], &[0], 0).contains("resamples"));
        let timeless = Setting { ms_per_query: f64::NAN, ..setting() };
        assert!(measure(timeless, &[None], &[0], 9).contains("NaN ms"));
    }
}
