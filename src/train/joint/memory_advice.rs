//! What takes less memory, where a device has none left: what a failed step advises.

use crate::config::{Config, Train};
use crate::train::step_failure::MemoryAdvice;

/// The fewest batches of which a step may be made that ask the same queries; else half of the batch, and half of the
/// contrastive loss's pairs. Each of `ranks` needs a query, and the loss two pairs. None where no less will do.
pub(super) fn memory_advice(config: &Config, ranks: usize) -> Option<MemoryAdvice> {
    let (section, pairs) = (&config.train, config.tune.contrastive_pairs);
    let split = |parts: usize| {
        let (batch, accumulate) = (section.batch / parts, section.accumulate * parts);
        Config { train: Train { batch, accumulate, ..section.clone() }, ..config.clone() }
    };
    let parts = 2..=section.batch / ranks;
    let found = parts.clone().map(split).find(|split| split.asks_as(config));
    let same = found.is_some();
    let mut settings = Vec::new();
    if let Some(Config { train, .. }) = found.or_else(|| parts.contains(&2).then(|| split(2))) {
        settings.push(format!("--set train.batch={}", train.batch));
        settings.push(format!("--set train.accumulate={}", train.accumulate));
    }
    if !config.tune.contrastive.is_zero() && pairs / 2 >= ranks.max(2) {
        settings.push(format!("--set tune.contrastive_pairs={}", pairs / 2));
    }
    (!settings.is_empty()).then(|| MemoryAdvice { settings: settings.join(" "), same })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WeightSchedule;

    /// The advice for a batch of which a half are captions, with this many contrasted pairs (0: no such loss).
    fn advice(batch: usize, pairs: usize, ranks: usize) -> Option<(String, bool)> {
        let mut config = Config::default();
        config.train = Train { batch, accumulate: 1, caption_share: 0.5, ..config.train };
        config.tune.contrastive = WeightSchedule::constant(if pairs > 0 { 1.0 } else { 0.0 });
        config.tune.contrastive_pairs = pairs;
        memory_advice(&config, ranks).map(|MemoryAdvice { settings, same }| (settings, same))
    }

    #[test]
    fn a_lighter_step_asks_the_same_where_it_can_and_halves_what_fills_memory() {
        for (batch, pairs, ranks, wanted) in [
            (48, 0, 1, Some(("--set train.batch=24 --set train.accumulate=2", true))),
            (18, 0, 1, Some(("--set train.batch=6 --set train.accumulate=3", true))),
            (
                48,
                256,
                1,
                Some((
                    "--set train.batch=24 --set train.accumulate=2 --set tune.contrastive_pairs=128",
                    false,
                )),
            ),
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
