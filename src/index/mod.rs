//! Building an index: align, then quantise, then look at the figures before anything is trained on it.

pub mod gate_table;
pub mod make_extra_docids;
pub mod train_alignment;
pub mod train_codebooks;
pub mod train_query_adapter;

use self::train_codebooks::CodebookTrainingData;
use crate::config::{Family, Index as Section, Regime};
use crate::context::Context;
use crate::data::corpus::{Corpus, Split, TrainPair};
use crate::distributed::Comm;
use crate::docid::gates::{GateReport, Limits};
use crate::docid::rq::Codebooks;
use crate::docid::suffix::{self, Collisions};
use crate::docid::tree::Tree;
use crate::docid::trie::Trie;
use crate::docid::{Code, DocidSet, atomic, distributed, numeric, reconstruction, unique_paths};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::encoder::view_embeddings::ViewEmbeddings;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::{Alignment, SideMap};
use crate::model::index_folder::{DocidIndex, IndexMeta};
use crate::model::query_adapter::QueryAdapter;
use crate::rng::{self, Rng};
use crate::run_folder::RunFolder;

/// The most vectors a codebook is fitted on; more make it slower, not better.
const MOST_POINTS: usize = 100_000;

/// What an index is built with.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The section `[index]`.
    pub index: &'a Section,
    /// Which images the adapter of image queries may learn.
    pub regime: Regime,
    /// The seed of all random streams.
    pub seed: u64,
}

/// The index of a run: read where there is one, otherwise built, checked and written. All ranks get the same.
///
/// # Errors
/// When the index on disk belongs to something else, or the one built fails its gates.
pub fn open(
    settings: &Settings,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    ctx: &Context,
) -> Result<DocidIndex> {
    // The first rank's word: it may just have thrown an old run away.
    if ctx.comm.broadcast(f64::from(DocidIndex::exists(&run.index()))) > 0.0 {
        return DocidIndex::read(&run.index(), prepared);
    }
    build(settings, prepared, run, ctx)
}

/// Builds the index, prints its figures to the log and writes it. The first rank does so, but for what takes longer the more
/// images there are: each rank embeds second views and finds codes of a share of them.
///
/// # Errors
/// When the index fails its gates: each with its figure and the remedy. Nothing is written then.
pub fn build(
    settings: &Settings,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    ctx: &Context,
) -> Result<DocidIndex> {
    let Settings { index: section, regime, seed } = *settings;
    let (corpus, comm) = (&prepared.corpus, &ctx.comm);
    let align = aligned(section, prepared, seed, ctx)?;
    let images = align.apply(Modality::Image, &prepared.embeddings.images);
    let views =
        (section.views > 0).then(|| ViewEmbeddings::embed(prepared, section.views, ctx)).transpose()?;
    // Captions are aligned as they are needed: a large corpus has five times as many of them as of images.
    let captions =
        |rows: &[usize]| align.apply(Modality::Caption, &prepared.embeddings.captions.select(rows));
    let FamilyOutput { docids, codebooks, family_levels, collisions } =
        name(section, corpus, &images, &captions, seed, ctx)?;
    if !comm.is_first() {
        comm.barrier();
        return DocidIndex::read(&run.index(), prepared);
    }
    let mut gates = GateReport::new(&docids, family_levels, collisions);
    if let Some(books) = &codebooks {
        gates = measured(gates, section, corpus, &images, &captions, &docids, books);
    }
    tracing::info!("index {}:\n{}", section.family, gate_table::table(&gates));
    let limits = Limits {
        min_perplexity: section.min_perplexity,
        max_collisions: section.max_collisions,
        min_survival: section.min_survival,
    };
    let refusals = gates.refuse(&limits);
    if !refusals.is_empty() {
        return Err(Error::input(format!("this index cannot work:\n  {}", refusals.join("\n  "))));
    }
    let (corpus_is, encoder_is) = (corpus.fingerprint(), prepared.encoder.fingerprint().to_owned());
    let meta = IndexMeta::new(section.family, &docids, corpus_is, encoder_is, gates, section.views > 0);
    let books = codebooks.as_ref();
    let seconds =
        books.map(|books| make_extra_docids::seconds(section, corpus, &images, &captions, &docids, books));
    let learnt = corpus.memorised(regime);
    let adapter =
        views.map(|views| adapter(section, &align, &images, views, &learnt, seed, ctx)).transpose()?;
    let align = align.with_adapter(adapter);
    let index = DocidIndex { meta, docids, seconds: seconds.unwrap_or_default(), codebooks, align };
    index.write(&run.index(), corpus)?;
    comm.barrier();
    Ok(index)
}

/// The alignment that the first rank learns.
fn aligned(section: &Section, prepared: &EmbeddedCorpus, seed: u64, ctx: &Context) -> Result<Alignment> {
    let comm = &ctx.comm;
    let (embeddings, pairs) = (&prepared.embeddings, prepared.corpus.train_pairs());
    let learnt = match comm.is_first() {
        true => train_alignment::learn(section, embeddings, &pairs, seed, ctx)?,
        false => Alignment::identity(embeddings.images.width()),
    };
    let side = |modality| -> Result<SideMap> {
        let SideMap { mean, map } = learnt.side(modality).clone();
        let told = |own: Matrix| comm.broadcast_matrix(own.rows(), own.width(), || Ok(own));
        Ok(SideMap { mean: told(mean)?, map: told(map)? })
    };
    Ok(Alignment::new(side(Modality::Caption)?, side(Modality::Image)?))
}

/// What brings second views of photos to the photos.
fn adapter(
    section: &Section,
    align: &Alignment,
    images: &Matrix,
    views: ViewEmbeddings,
    learnt: &[ImageIdx],
    seed: u64,
    ctx: &Context,
) -> Result<QueryAdapter> {
    let views = views.mapped(|rows| Ok(align.apply(Modality::Image, rows)))?;
    train_query_adapter::learn(section, images, &views, learnt, seed, ctx)
}

/// Aligned unit rows of the captions at these positions.
type Rows<'a> = &'a dyn Fn(&[usize]) -> Matrix;

struct FamilyOutput {
    docids: DocidSet,
    codebooks: Option<Codebooks>,
    /// Levels the family made; one more is the suffix of the collision rule.
    family_levels: usize,
    /// None where equal codes are no fault.
    collisions: Option<Collisions>,
}

/// Gives every image its docid. What is learned is learned from the train split: its images and, for residual
/// quantisation, which must serve captions too, its captions.
fn name(
    section: &Section,
    corpus: &Corpus,
    images: &Matrix,
    captions: Rows,
    seed: u64,
    ctx: &Context,
) -> Result<FamilyOutput> {
    let comm = &ctx.comm;
    let mut rng = rng::stream(seed, "docids", 0);
    let fixed = |docids: DocidSet| FamilyOutput {
        family_levels: docids.levels(),
        docids,
        codebooks: None,
        collisions: None,
    };
    let train: Vec<usize> = corpus.images_in(Split::Train).iter().map(|image| image.row()).collect();
    let pairs = corpus.train_pairs();
    match section.family {
        Family::Atomic => Ok(fixed(atomic::atomic(corpus.len())?)),
        Family::Numeric => Ok(fixed(numeric::numeric(corpus.len(), section.codes, &mut rng)?)),
        Family::Tree => {
            let tree = Tree::fit(&images.select(&train), section.codes, section.iterations, &mut rng)?;
            let (docids, _) = suffix::unique(tree.encode_all(images), &tree.codes_per_level())?;
            let family_levels = tree.codes_per_level().len();
            Ok(FamilyOutput { docids, codebooks: None, family_levels, collisions: None })
        }
        Family::Rq => {
            let books = fitted(section, images, &train, captions, &pairs, &mut rng, comm)?;
            let codes = distributed::encode_all(&books, images, section.encode_beam, comm);
            quantised(books, codes)
        }
        Family::Learned => {
            let books = fitted(section, images, &train, captions, &pairs, &mut rng, comm)?;
            let lessons = CodebookTrainingData::new(images, &train, &pairs, captions);
            let books = train_codebooks::train(section, &books, &lessons, seed, ctx)?;
            let codes = unique_paths::distinct(&books, images, section.encode_beam, comm);
            quantised(books, codes)
        }
    }
}

/// Codebooks fitted to the train split: its images and its captions.
fn fitted(
    section: &Section,
    images: &Matrix,
    train: &[usize],
    captions: Rows,
    pairs: &[TrainPair],
    rng: &mut Rng,
    comm: &Comm,
) -> Result<Codebooks> {
    let sizes = section.sizes();
    distributed::of_first(&sizes, images.width(), comm, || {
        let spoken: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        let points = points(images, train, captions, &spoken);
        Codebooks::fit(&points, &sizes, section.iterations, rng)
    })
}

/// Docids of these codes, one more level where images share theirs.
fn quantised(books: Codebooks, codes: Vec<Vec<Code>>) -> Result<FamilyOutput> {
    let (docids, collisions) = suffix::unique(codes, &books.codes_per_level())?;
    let family_levels = books.levels().len();
    Ok(FamilyOutput { docids, codebooks: Some(books), family_levels, collisions: Some(collisions) })
}

/// What codebooks are fitted on, train images and then train captions: every n-th, so that at most [`MOST_POINTS`] are
/// left.
fn points(images: &Matrix, train: &[usize], captions: Rows, spoken: &[usize]) -> Matrix {
    let count = train.len() + spoken.len();
    let chosen = (0..count).step_by(count.div_ceil(MOST_POINTS).max(1));
    let (seen, heard): (Vec<usize>, Vec<usize>) = chosen.partition(|&point| point < train.len());
    let seen: Vec<usize> = seen.into_iter().map(|point| train[point]).collect();
    let heard: Vec<usize> = heard.into_iter().map(|point| spoken[point - train.len()]).collect();
    images.select(&seen).stacked(&captions(&heard))
}

/// Figures of the codebooks, on val captions where there are any, else on train captions.
fn measured(
    gates: GateReport,
    section: &Section,
    corpus: &Corpus,
    images: &Matrix,
    captions: Rows,
    docids: &DocidSet,
    books: &Codebooks,
) -> GateReport {
    let asked = [Split::Val, Split::Train].into_iter().map(|split| corpus.captions_in(split));
    let mut asked = asked.into_iter().find(|captions| !captions.is_empty()).unwrap_or_default();
    asked.truncate(2000);
    let gold: Vec<ImageIdx> = asked.iter().map(|&caption| corpus.owner(caption)).collect();
    let queries = captions(&asked);
    let (ks, beam) = ([1, 5, 10], section.survival_beam);
    let survival = reconstruction::prefix_survival(&queries, &gold, docids, books, &Trie::new(docids), beam);
    gates
        .with_cosines(reconstruction::cosines(images, docids, books))
        .with_survival(beam, survival, reconstruction::recall(&queries, &gold, images, &[beam])[0])
        .with_recall(
            &ks,
            reconstruction::recall(&queries, &gold, &books.reconstruct_all(docids), &ks),
            reconstruction::recall(&queries, &gold, images, &ks),
        )
}
