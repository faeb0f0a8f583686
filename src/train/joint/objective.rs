//! The loss of a step of joint training: which candidates each query has, and what the model makes of them.

use candle_core::Tensor;

use super::Joint;
use crate::error::Result;
use crate::model::beam_search::{Settings, beams};
use crate::model::candidate_table::{CandidateTable, Candidates};
use crate::model::generative_model::Queries;
use crate::model::lookahead::Lookahead;
use crate::model::losses::{PrefixTargets, consistency, cross_entropy, listwise, margin};
use crate::nn::dropout::Dropout;
use crate::nn::tensors;
use crate::rng::{self, Rng};
use crate::train::docid_state::DocidState;
use crate::train::query_batches::QueryBatch;
use crate::train::step::MicroBatch;
use crate::train::task::StepLoss;
use crate::train::teacher::{Teacher, TeacherTarget, beam_negatives};

/// What a step asks.
pub(super) struct Asked {
    pub captions: QueryBatch,
    pub images: QueryBatch,
    /// Aligned unit rows of both.
    pub rows: [Tensor; 2],
    /// Both together.
    pub queries: Queries,
}

/// What the listwise loss and those beside it are computed from: the step scores of a few candidates a query.
struct Scored {
    candidates: Candidates,
    /// (queries, candidates, levels)
    scores: Tensor,
    /// [`PrefixTargets`] of the same shape.
    hidden: Tensor,
    mass: Tensor,
}

impl Joint<'_> {
    /// Candidates and targets of a batch, whose queries have these rows.
    fn targets(
        &self,
        named: &DocidState,
        teacher: &Teacher,
        (batch, rows): (&QueryBatch, &Tensor),
        rng: &mut Rng,
    ) -> Result<Vec<TeacherTarget>> {
        let (count, queries) = (self.section.beam_negatives, batch.gold.len());
        let told = self.told.as_ref();
        // Where images are named anew, the teacher knows queries by the encoder as it is, and images by the one that named them.
        let known = match self.config.tune.reassign_every {
            0 => &batch.rows,
            _ => &tensors::to_matrix(&rows.detach())?,
        };
        if count == 0 || queries == 0 {
            return teacher.targets(batch, known, &vec![Vec::new(); queries], told);
        }
        let queries = Queries::of(rows.detach(), &batch.modalities)?;
        let lookahead = self.lookahead.then(|| Lookahead::new(teacher.trie(), &named.candidate_table));
        let settings = Settings {
            beam: self.beam,
            geometry: None,
            lookahead: lookahead.as_ref(),
            leaves: &[],
            wildcard: 1.0,
        };
        let kept = beams(&self.model.dsi, teacher.trie(), &queries, settings)?;
        let rivals: Vec<Vec<usize>> =
            kept.iter().map(|beams| beam_negatives(beams, teacher.trie(), count, rng)).collect();
        teacher.targets(batch, known, &rivals, told)
    }

    /// Hard candidates, what the model makes of them, and the mass that each of their prefixes should get.
    fn scored(
        &self,
        candidate_table: &CandidateTable,
        queries: &Queries,
        targets: &[TeacherTarget],
        dropout: &mut Dropout,
    ) -> Result<Scored> {
        let docids = candidate_table.docids();
        let (gold, even) = (self.section.target_gold as f32, self.section.label_smoothing as f32);
        let target = |target: &TeacherTarget| {
            let codes: Vec<&[u32]> =
                target.images.iter().map(|&row| docids.get(row.into()).codes()).collect();
            PrefixTargets::new(&codes, &target.mass, gold, even)
        };
        let prefixes: Vec<PrefixTargets> = targets.iter().map(target).collect();
        let images: Vec<Vec<usize>> = targets.iter().map(|target| target.images.clone()).collect();
        let candidates = candidate_table.candidates(&images, self.device)?;
        let scores = self.model.dsi.step_scores(queries, &candidates, dropout)?;
        let tensor = |part: fn(&PrefixTargets) -> &Vec<f32>| {
            let values: Vec<f32> = prefixes.iter().flat_map(part).copied().collect();
            Tensor::from_vec(values, scores.shape(), self.device)
        };
        let (hidden, mass) = (tensor(|t| &t.hidden)?, tensor(|t| &t.mass)?);
        Ok(Scored { candidates, scores, hidden, mass })
    }

    /// The listwise loss, with the margin and the consistency beside it where they have a weight at this step.
    pub(super) fn ranking(&self, batch: MicroBatch, asked: &Asked) -> Result<StepLoss> {
        let Asked { captions, images, queries, .. } = asked;
        let mut rng = rng::stream(self.seed, &self.comm.stream_name("rivals"), batch.number() as u64);
        let named = &self.docids;
        let mut targets =
            self.targets(named, &named.caption_teacher, (captions, &asked.rows[0]), &mut rng)?;
        targets.extend(self.targets(named, &named.image_teacher, (images, &asked.rows[1]), &mut rng)?);
        let mut dropout_rng =
            rng::stream(self.seed, &self.comm.stream_name("dropout"), batch.number() as u64);
        let mut dropout = Dropout::new(self.dropout, &mut dropout_rng);
        let Scored { candidates, scores, hidden, mass } =
            self.scored(&named.candidate_table, queries, &targets, &mut dropout)?;
        let mut total = listwise(&scores, &hidden, &mass)?;
        let (mut parts, mut beside) = (Vec::new(), None);
        let weights = [&self.section.margin, &self.section.consistency].map(|w| w.at(batch.step().0));
        if weights[0] > 0.0 {
            let margin = margin(&scores, &hidden, self.section.margin_size)?;
            total = (total + (&margin * weights[0])?)?;
            parts.push(("margin", margin));
        }
        if weights[1] > 0.0 && !captions.gold.is_empty() {
            let count = captions.gold.len();
            let siblings = self.siblings(captions, batch)?;
            let others = self.model.dsi.step_scores(&siblings, &candidates.first(count)?, &mut dropout)?;
            let of_captions = |x: &Tensor| x.narrow(0, 0, count)?.contiguous();
            let consistency = consistency(&of_captions(&scores)?, &others, &of_captions(&hidden)?)?;
            // A mean over captions, whose share of a rank may be another than its share of queries.
            let share = count as f64 / self.source.captions_a_step() as f64;
            beside = Some((&consistency * (weights[1] * share))?);
            parts.push(("consistency", consistency));
        }
        Ok(StepLoss { total, parts, pairs: queries.count(), share: 1.0, beside })
    }

    /// The loss with CLIP's own beside it, where that has a weight at this step.
    pub(super) fn with_contrastive(&self, loss: StepLoss, batch: MicroBatch) -> Result<StepLoss> {
        let weight = self.contrastive.at(batch.step().0);
        let Some(live) = self.live.as_ref().filter(|_| weight > 0.0) else {
            return Ok(loss);
        };
        let contrastive = live.contrastive(batch.number())?;
        let weighed = (&contrastive * weight)?;
        // Every rank has all of it, with the gradients of its own rows: its value counts once.
        let weighed = if self.comm.is_first() { weighed } else { (&weighed - weighed.detach())? };
        let beside = Some(match loss.beside {
            Some(beside) => (beside + weighed)?,
            None => weighed,
        });
        let parts = [loss.parts, vec![("contrastive", contrastive)]].concat();
        Ok(StepLoss { beside, parts, ..loss })
    }

    /// Another caption of each caption's image.
    fn siblings(&self, captions: &QueryBatch, batch: MicroBatch) -> Result<Queries> {
        let own = self.comm.share(self.source.captions_a_step());
        let siblings = self.source.siblings(batch.number())[own].to_vec();
        let rows = match &self.live {
            Some(live) => live.caption_queries(&siblings)?,
            None => tensors::from_matrix(&self.source.caption_rows(&siblings), self.device)?,
        };
        Queries::of(rows, &captions.modalities)
    }

    /// The classical objective, on the gold docid alone.
    pub(super) fn classical(&self, batch: MicroBatch, asked: &Asked) -> Result<StepLoss> {
        let Asked { captions, images, queries, .. } = asked;
        let mut rng = rng::stream(self.seed, &self.comm.stream_name("dropout"), batch.number() as u64);
        let mut dropout = Dropout::new(self.dropout, &mut rng);
        let gold: Vec<Vec<usize>> = captions.gold.iter().chain(&images.gold).map(|&row| vec![row]).collect();
        let candidates = self.docids.candidate_table.candidates(&gold, self.device)?;
        let total = cross_entropy(&self.model.dsi.step_scores(queries, &candidates, &mut dropout)?)?;
        Ok(StepLoss { total, parts: Vec::new(), pairs: queries.count(), share: 1.0, beside: None })
    }
}
