//! What the corpus, the configuration and the file system can tell before the first photo is embedded.
//!
//! Each job has a list of checks of the corpus. Most jobs check the same again where they use it, because
//! images whose photos cannot be read are left out in between. Checks of folders write nothing that stays.

use std::path::Path;

use crate::config::Config;
use crate::data::corpus::{Corpus, Split};
use crate::data::verify;
use crate::encoder::DualEncoder;
use crate::encoder::trainable_dual_encoder::TrainableTowers;
use crate::error::{Error, Result};
use crate::eval::{self, fit_rerank_weight};
use crate::file_io;
use crate::index::train_query_adapter;
use crate::model::checkpoint;
use crate::run_folder::RunFolder;
use crate::train;
use crate::train::teacher::Scores;

/// A check of a corpus, with `data.limit` applied, for a job.
pub type CorpusCheck = fn(&Config, &Corpus) -> Result<()>;

/// The remedy for a folder that cannot be written.
const OTHER_FOLDER: &str = "choose another folder with --out, or change who may write there";

const INDEXING: &[CorpusCheck] = &[images_to_fit_docids, images_to_learn_views];

const TRAINING: &[CorpusCheck] = &[
    |config, corpus| train::joint::require(&config.train, corpus),
    images_to_fit_docids,
    images_to_learn_views,
    evaluated_split,
    val_images_to_fit_rerank,
    |config, corpus| Scores::open(&config.train, corpus).map(drop),
];

/// What `dsi index` needs of a corpus.
///
/// # Errors
/// When the train split is empty, and docids or the adapter of image queries are learnt from it.
pub fn indexing(config: &Config, corpus: &Corpus) -> Result<()> {
    all_of(INDEXING, config, corpus)
}

/// What `dsi train` needs of a corpus.
///
/// # Errors
/// When a split is empty that is trained on, validated on, fitted on or measured, the evaluated split has
/// fewer images than folds, or `train.teacher` cannot be read or belongs to another corpus.
pub fn training(config: &Config, corpus: &Corpus) -> Result<()> {
    all_of(TRAINING, config, corpus)
}

/// The same before a training, which also says that the best checkpoint cannot be chosen without val images.
///
/// # Errors
/// As [`training`].
pub fn training_to_begin(config: &Config, corpus: &Corpus) -> Result<()> {
    training(config, corpus)?;
    if corpus.images_in(Split::Val).is_empty() {
        tracing::warn!(
            "the corpus has no images in its val split: validations measure nothing, and the last checkpoint counts as \
             the best"
        );
    }
    Ok(())
}

/// What an evaluation needs of a corpus.
///
/// # Errors
/// When the evaluated split is empty or has fewer images than folds.
pub fn evaluation(config: &Config, corpus: &Corpus) -> Result<()> {
    all_of(&[evaluated_split], config, corpus)
}

/// What `dsi pretrain` needs of a corpus, and of the folder that gets the model.
///
/// # Errors
/// When the train or the val split is empty, photos are missing, or the folder cannot be written.
pub fn pretraining(config: &Config, corpus: &Corpus) -> Result<()> {
    all_of(&[|_, corpus| train::pretrain::require(corpus)], config, corpus)?;
    verify::photos_are_there(corpus, config.data.on_bad_image)?;
    file_io::check_writable(Path::new(&config.pretrain.out), "choose another folder with pretrain.out")
}

/// What a search needs of a corpus: nothing.
///
/// # Errors
/// None.
pub fn searching(_: &Config, _: &Corpus) -> Result<()> {
    Ok(())
}

/// What an encoder must offer a configuration.
///
/// # Errors
/// When it is to be trained and cannot be, or a tower has fewer blocks than are to be trained.
pub fn encoder(config: &Config, encoder: &dyn DualEncoder) -> Result<()> {
    if !config.tunes() {
        return Ok(());
    }
    encoder.check_trainable(TrainableTowers::of(&config.tune))
}

/// Checks that a run has what it is searched and measured with.
///
/// # Errors
/// When it has no checkpoint, or no weight although `search.fit_rerank` wants a fitted one.
pub fn trained_run(config: &Config, run: &RunFolder) -> Result<()> {
    checkpoint::require(&run.checkpoints())?;
    if config.search.fit_rerank { fit_rerank_weight::read(run).map(drop) } else { Ok(()) }
}

/// Checks that a run can be written into its folder.
///
/// # Errors
/// When the folder, or one of those that the run has there already, takes no new file.
pub fn run_folder(run: &RunFolder) -> Result<()> {
    let inside = [run.checkpoints(), run.index(), run.tuned(), run.search(), run.eval()];
    let folders =
        std::iter::once(run.path().to_owned()).chain(inside.into_iter().filter(|path| path.exists()));
    folders.into_iter().try_for_each(|folder| file_io::check_writable(&folder, OTHER_FOLDER))
}

/// Checks that the result of an ablation can be written into its folder.
///
/// # Errors
/// When the folder takes no new file.
pub fn ablation_folder(folder: &Path) -> Result<()> {
    file_io::check_writable(folder, OTHER_FOLDER)
}

/// Makes these checks; a refusal mentions `data.limit` if that has reduced the corpus.
fn all_of(checks: &[CorpusCheck], config: &Config, corpus: &Corpus) -> Result<()> {
    let limit = config.data.limit;
    checks.iter().try_for_each(|check| check(config, corpus)).map_err(|error| match error {
        Error::Input(what) if limit > 0 && corpus.len() == limit => Error::Input(format!(
            "{what} (data.limit = {limit} keeps {limit} images, of all splits together)"
        )),
        other => other,
    })
}

fn evaluated_split(config: &Config, corpus: &Corpus) -> Result<()> {
    eval::require(&config.eval, corpus)
}

fn images_to_fit_docids(config: &Config, corpus: &Corpus) -> Result<()> {
    let family = config.index.family;
    if family.fits_train_images() && corpus.train_pairs().is_empty() {
        return Err(Error::input(format!(
            "index.family = \"{family}\" is fitted on the train split, and the corpus has no images there: give some \
             images that split, or choose a family that fits nothing, such as \"atomic\""
        )));
    }
    Ok(())
}

fn images_to_learn_views(config: &Config, corpus: &Corpus) -> Result<()> {
    if config.index.views == 0 {
        return Ok(());
    }
    train_query_adapter::require(&corpus.memorised(config.train.regime))
}

fn val_images_to_fit_rerank(config: &Config, corpus: &Corpus) -> Result<()> {
    if config.search.fit_rerank { fit_rerank_weight::require(corpus) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::corpus::{Builder, Entry};

    fn corpus(splits: &[Split]) -> Corpus {
        let mut builder = Builder::new(Path::new("c"), "line", None);
        for (n, &split) in splits.iter().enumerate() {
            let entry = Entry { id: n.to_string(), file: "x".into(), split, captions: vec!["x".into()] };
            builder.push(n + 1, entry).unwrap();
        }
        builder.build().unwrap()
    }

    fn config(overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|&set| set.to_owned()).collect();
        Config::parse("", Path::new("c.toml"), &overrides).unwrap()
    }

    fn refusal(check: CorpusCheck, overrides: &[&str], splits: &[Split]) -> String {
        check(&config(overrides), &corpus(splits)).unwrap_err().to_string()
    }

    #[test]
    fn each_refusal_names_the_key() {
        use Split::{Test, Train, Val};
        for (overrides, splits, parts) in [
            (&[][..], &[Val, Test][..], &["no train split"][..]),
            (&[], &[Train, Val], &["no images in its test split", "eval.split"]),
            (&["eval.folds=3"], &[Train, Test, Test], &["eval.folds = 3", "2 images"]),
            (&["search.fit_rerank=true"], &[Train, Test], &["search.fit_rerank", "val"]),
            (&["train.patience=2"], &[Train, Test], &["train.patience = 2", "set it to 0"]),
            (&["train.teacher=none.npy"], &[Train, Test], &["none.npy"]),
            (&["data.limit=1"], &[Train], &["test split", "data.limit = 1 keeps 1 images"]),
        ] {
            let text = refusal(training, overrides, splits);
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        training(&config(&[]), &corpus(&[Train, Test])).unwrap();
    }

    #[test]
    fn an_index_needs_train_images_only_where_something_is_fitted() {
        let text = refusal(indexing, &[], &[Split::Test]);
        assert!(text.contains("index.family = \"rq\"") && text.contains("atomic"), "{text}");
        let atomic = ["index.family=atomic", "decoder.grounded=false"];
        indexing(&config(&atomic), &corpus(&[Split::Test])).unwrap();
        let views = [&atomic[..], &["index.views=1", "train.regime=inductive"]].concat();
        assert!(refusal(indexing, &views, &[Split::Test]).contains("set index.views = 0"));
    }

    #[test]
    fn a_folder_that_takes_no_file_is_refused_and_nothing_stays() {
        let space = tempfile::tempdir().unwrap();
        let run = RunFolder::new(space.path().join("deep/run"));
        run_folder(&run).unwrap();
        assert_eq!(std::fs::read_dir(space.path()).unwrap().count(), 0);
        std::fs::write(space.path().join("deep"), "a file").unwrap();
        let text = run_folder(&run).unwrap_err().to_string();
        assert!(text.contains("deep/run") && text.contains("--out"), "{text}");
    }
}
