//! The row of each report that an ablation compares: captions over one gallery, at one stage.

use crate::error::{Error, Result};
use crate::eval::report::{Report, Row};
use crate::eval::row_setting::{Gallery, QueryKind};
use crate::eval::settings;
use crate::retriever::ranking_stage::Stage;

/// The row of each report that is compared: captions over this gallery.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The gallery.
    pub gallery: Gallery,
    /// The stage; `None`: the last generative stage of a report, which is what a user gets.
    pub stage: Option<Stage>,
}

impl Choice {
    /// The choice of a gallery and a stage; by default the first gallery that the base measures and the last
    /// stage.
    ///
    /// # Errors
    /// When the base does not measure that gallery.
    pub fn new(section: &settings::Eval, gallery: Option<Gallery>, stage: Option<Stage>) -> Result<Self> {
        let (split, corpus) =
            (section.gallery != settings::Gallery::Corpus, section.gallery != settings::Gallery::Split);
        let measured = |gallery: &Gallery| match gallery {
            Gallery::Split => split,
            Gallery::Folds => split && section.folds > 1,
            Gallery::Corpus => corpus,
        };
        let gallery = gallery.unwrap_or(if split { Gallery::Split } else { Gallery::Corpus });
        if !measured(&gallery) {
            let there: Vec<String> =
                Gallery::ALL.iter().filter(|g| measured(g)).map(ToString::to_string).collect();
            return Err(Error::input(format!(
                "the base does not measure the gallery {gallery}, only {}; see eval.gallery and eval.folds",
                there.join(" and ")
            )));
        }
        Ok(Self { gallery, stage })
    }

    /// The chosen row of a report.
    pub fn of<'r>(&self, report: &'r Report) -> Option<&'r Row> {
        let wanted = |row: &&Row| match self.stage {
            Some(stage) => row.stage == stage,
            None => row.stage != Stage::Exact,
        };
        self.captions(report).filter(wanted).last()
    }

    /// `R@1 57.3, R@5 81.0, R@10 88.2, ` of the chosen row; empty if the report has no such row.
    pub fn figures(&self, report: &Report) -> String {
        let recall = self.of(report).map(|row| &row.recall);
        let figures =
            recall.into_iter().flatten().map(|(k, recall)| format!("R@{k} {:.1}, ", 100.0 * recall));
        figures.collect()
    }

    /// The rows of exact search over the same captions and images.
    pub fn exact_search<'r>(&self, report: &'r Report) -> impl Iterator<Item = &'r Row> {
        self.captions(report).filter(|row| row.stage == Stage::Exact)
    }

    fn captions<'r>(&self, report: &'r Report) -> impl Iterator<Item = &'r Row> {
        let gallery = self.gallery;
        report.rows.iter().filter(move |row| row.query == QueryKind::Caption && row.gallery == gallery)
    }
}
