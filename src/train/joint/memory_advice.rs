//! The settings that a joint training is advised to change when its device runs out of memory.

use crate::encoder::tune_settings::Tune;
use crate::train::settings::Train;
use crate::train::step_failure::MemoryAdvice;

/// Settings of a step that takes less memory on `ranks` ranks; `None` if no such step is possible.
///
/// At best a step has the same queries in more micro-batches: the fewest that make this possible. Otherwise
/// half of the batch. Half of the contrastive loss's pairs too. Every rank needs a query, and the contrastive
/// loss two pairs.
pub(super) fn memory_advice(train: &Train, tune: &Tune, ranks: usize) -> Option<MemoryAdvice> {
    let contrasts = !tune.contrastive.is_zero();
    let parts = 2..=train.batch / ranks;
    let same = parts
        .clone()
        .map(|parts| split(train, parts))
        .find(|split| !contrasts && queries_of_a_step(split) == queries_of_a_step(train));
    let keeps_queries = same.is_some();
    let mut settings = Vec::new();
    if let Some(train) = same.or_else(|| parts.contains(&2).then(|| split(train, 2))) {
        settings.push(format!("--set train.batch={}", train.batch));
        settings.push(format!("--set train.accumulate={}", train.accumulate));
    }
    let pairs = tune.contrastive_pairs / 2;
    if contrasts && pairs >= ranks.max(2) {
        settings.push(format!("--set tune.contrastive_pairs={pairs}"));
    }
    (!settings.is_empty()).then(|| MemoryAdvice { settings: settings.join(" "), keeps_queries })
}

/// The section with each micro-batch split into this many.
fn split(train: &Train, parts: usize) -> Train {
    Train { batch: train.batch / parts, accumulate: train.accumulate * parts, ..train.clone() }
}

/// Queries of a step, and caption queries among them.
fn queries_of_a_step(train: &Train) -> [usize; 2] {
    [train.batch, train.captions_a_batch()].map(|count| count * train.accumulate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::weight_schedule::WeightSchedule;

    /// The advice for a batch of which a half are captions, with this many contrasted pairs (0: no
    /// contrastive loss).
    fn advice(batch: usize, pairs: usize, ranks: usize) -> Option<(String, bool)> {
        let train = Train { batch, accumulate: 1, caption_share: 0.5, ..Train::default() };
        let contrastive = WeightSchedule::constant(if pairs > 0 { 1.0 } else { 0.0 });
        let tune = Tune { contrastive, contrastive_pairs: pairs, ..Tune::default() };
        memory_advice(&train, &tune, ranks).map(|advice| (advice.settings, advice.keeps_queries))
    }

    #[test]
    fn a_step_keeps_its_queries_if_possible_and_is_halved_otherwise() {
        let halved_too = "--set train.batch=24 --set train.accumulate=2 --set tune.contrastive_pairs=128";
        for (batch, pairs, ranks, wanted) in [
            (48, 0, 1, Some(("--set train.batch=24 --set train.accumulate=2", true))),
            (18, 0, 1, Some(("--set train.batch=6 --set train.accumulate=3", true))),
            (48, 256, 1, Some((halved_too, false))),
            (1, 256, 1, Some(("--set tune.contrastive_pairs=128", false))),
            (4, 0, 4, None),
            (4, 8, 4, Some(("--set tune.contrastive_pairs=4", false))),
            (1, 2, 1, None),
        ] {
            let found = advice(batch, pairs, ranks);
            let found = found.as_ref().map(|(settings, same)| (settings.as_str(), *same));
            assert_eq!(found, wanted, "{batch} {pairs} {ranks}");
        }
    }
}
