//! The loss of a micro-batch on one rank, and how the losses of all ranks make one.
//!
//! Each rank computes the loss of its share of the queries, and the gradients are summed over the ranks.
//! Every term therefore says how its values are averaged ([`Averaging`]), so that the sum over ranks is what
//! one process alone would have computed.
//!
//! Errors: a tensor operation fails only when the device does.

use candle_core::Tensor;

use crate::error::Result;

/// How a term's values on the ranks make its value over all ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Averaging {
    /// The mean over this rank's queries. It counts by this rank's share of the queries.
    MeanOfQueries,
    /// The mean over other items, of which this rank has this share. It counts by that share.
    MeanOfShare(f64),
    /// The same value on every rank, each with the gradients of its own items. The value counts on the first
    /// rank alone, the gradients count everywhere.
    SameOnEveryRank,
}

/// A term of the loss on this rank, not yet weighted.
pub struct TermValue {
    /// The scalar.
    pub value: Tensor,
    /// How the ranks' values make one.
    pub averaging: Averaging,
}

/// The loss of a micro-batch on this rank: a weighted sum of terms.
pub struct StepLoss {
    /// The sum of the terms that are means over this rank's queries.
    query_mean: Tensor,
    /// The sum of the other terms, as this rank contributes it to the sum over ranks.
    contribution: Option<Tensor>,
    /// This rank's share of the queries of all ranks.
    share: f64,
    queries: usize,
    is_first_rank: bool,
    logged: Vec<(&'static str, Tensor)>,
}

impl StepLoss {
    /// A loss averaged over `queries` queries, when no other rank has queries.
    pub fn mean(value: Tensor, queries: usize) -> Self {
        let logged = Vec::new();
        Self { query_mean: value, contribution: None, share: 1.0, queries, is_first_rank: true, logged }
    }

    /// The queries are this share of those of all ranks.
    pub fn set_rank(&mut self, share: f64, is_first_rank: bool) {
        (self.share, self.is_first_rank) = (share, is_first_rank);
    }

    /// Adds a term with its weight, and logs its value.
    pub fn add(&mut self, name: &'static str, weight: f64, term: TermValue) -> Result<()> {
        let TermValue { value, averaging } = term;
        match averaging {
            Averaging::MeanOfQueries => self.query_mean = (&self.query_mean + (&value * weight)?)?,
            Averaging::MeanOfShare(share) => self.contribute((&value * (weight * share))?)?,
            Averaging::SameOnEveryRank => {
                let weighted = (&value * weight)?;
                let gradients_only = !self.is_first_rank;
                self.contribute(if gradients_only { (&weighted - weighted.detach())? } else { weighted })?;
            }
        }
        self.log(name, value);
        Ok(())
    }

    /// Logs a scalar that is not part of the loss.
    pub fn log(&mut self, name: &'static str, value: Tensor) {
        self.logged.push((name, value));
    }

    fn contribute(&mut self, value: Tensor) -> Result<()> {
        self.contribution = Some(match &self.contribution {
            Some(sum) => (sum + value)?,
            None => value,
        });
        Ok(())
    }

    /// The scalar of which this rank computes gradients, which are then summed over the ranks.
    pub fn objective(&self) -> Result<Tensor> {
        let mean = if self.share == 1.0 { self.query_mean.clone() } else { (&self.query_mean * self.share)? };
        Ok(match &self.contribution {
            Some(contribution) => (mean + contribution)?,
            None => mean,
        })
    }

    /// Queries that it was computed on.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Named values for the log, each with the factor by which this rank's value counts in the sum over
    /// ranks. The values of one name are added; the first name is "loss".
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &Tensor, f64)> {
        let mean = ("loss", &self.query_mean, self.share);
        let contribution = self.contribution.iter().map(|value| ("loss", value, 1.0));
        let logged = self.logged.iter().map(|(name, value)| (*name, value, self.share));
        std::iter::once(mean).chain(contribution).chain(logged)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn scalar(value: f32) -> Tensor {
        Tensor::new(value, &Device::Cpu).unwrap()
    }

    fn number(tensor: &Tensor) -> f32 {
        tensor.to_scalar().unwrap()
    }

    fn term(value: f32, averaging: Averaging) -> TermValue {
        TermValue { value: scalar(value), averaging }
    }

    #[test]
    fn the_objectives_of_two_ranks_sum_to_that_of_one_process() {
        // Rank 0 has 3 of 4 queries and 1 of 2 captions; the contrastive value is 5 on both.
        let on_rank = |share: f64, is_first: bool, mean: f32, captions: f32| {
            let mut loss = StepLoss::mean(scalar(mean), 1);
            loss.set_rank(share, is_first);
            loss.add("margin", 2.0, term(1.0, Averaging::MeanOfQueries)).unwrap();
            loss.add("consistency", 0.5, term(captions, Averaging::MeanOfShare(0.5))).unwrap();
            loss.add("contrastive", 0.1, term(5.0, Averaging::SameOnEveryRank)).unwrap();
            number(&loss.objective().unwrap())
        };
        let sum = on_rank(0.75, true, 4.0, 2.0) + on_rank(0.25, false, 8.0, 6.0);
        let alone = (0.75 * 4.0 + 0.25 * 8.0) + 2.0 * 1.0 + 0.5 * (2.0 + 6.0) / 2.0 + 0.1 * 5.0;
        assert!((sum - alone).abs() < 1e-6, "{sum} {alone}");
    }

    #[test]
    fn a_value_that_is_the_same_on_every_rank_has_gradients_on_every_rank() {
        let x = Var::from_tensor(&scalar(3.0)).unwrap();
        let mut loss = StepLoss::mean(scalar(0.0), 1);
        loss.set_rank(0.5, false);
        let value = x.as_tensor().sqr().unwrap();
        loss.add("contrastive", 2.0, TermValue { value, averaging: Averaging::SameOnEveryRank }).unwrap();
        let objective = loss.objective().unwrap();
        assert_eq!(number(&objective), 0.0);
        assert_eq!(number(objective.backward().unwrap().get(&x).unwrap()), 12.0);
    }

    #[test]
    fn the_log_has_the_loss_first_and_unweighted_terms_after_it() {
        let mut loss = StepLoss::mean(scalar(1.0), 1);
        loss.add("margin", 2.0, term(3.0, Averaging::MeanOfQueries)).unwrap();
        loss.log("perplexity", scalar(9.0));
        let values: Vec<_> = loss.values().map(|(name, value, _)| (name, number(value))).collect();
        assert_eq!(values, [("loss", 7.0), ("margin", 3.0), ("perplexity", 9.0)]);
    }
}
