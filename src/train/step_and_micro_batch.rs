//! The two counters of a training: optimiser steps, and the micro-batches whose gradients a step accumulates.

/// An optimiser step of a run, zero-based. Weight schedules, validations, checkpoints and the log count
/// steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(pub usize);

/// One forward and backward pass. Random streams and the order of training examples count micro-batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicroBatch {
    number: usize,
    accumulate: usize,
}

impl Step {
    /// The micro-batches of this step, where each step accumulates `accumulate` of them.
    pub fn micro_batches(self, accumulate: usize) -> impl Iterator<Item = MicroBatch> {
        let first = self.0 * accumulate;
        (first..first + accumulate).map(move |number| MicroBatch { number, accumulate })
    }
}

impl MicroBatch {
    /// Micro-batch `number` (zero-based) of a run whose steps accumulate `accumulate` (at least one) of them.
    pub fn nth(number: usize, accumulate: usize) -> Self {
        Self { number, accumulate }
    }

    /// Its zero-based number within the run.
    pub fn number(self) -> usize {
        self.number
    }

    /// The step that takes its gradients.
    pub fn step(self) -> Step {
        Step(self.number / self.accumulate)
    }

    /// Whether it is the first of its step.
    pub fn is_first(self) -> bool {
        self.number.is_multiple_of(self.accumulate)
    }

    /// Whether it is the last of its step, after which the optimiser moves the weights.
    pub fn is_last(self) -> bool {
        (self.number + 1).is_multiple_of(self.accumulate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_its_micro_batches_in_order() {
        let batches: Vec<MicroBatch> = Step(2).micro_batches(3).collect();
        assert_eq!(batches, [6, 7, 8].map(|number| MicroBatch::nth(number, 3)));
        assert!(batches.iter().all(|batch| batch.step() == Step(2)));
        assert_eq!(batches.iter().map(|batch| batch.is_first()).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(batches.iter().map(|batch| batch.is_last()).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn without_accumulation_a_micro_batch_is_a_step() {
        let batch = MicroBatch::nth(5, 1);
        assert_eq!(batch.step(), Step(5));
        assert!(batch.is_first() && batch.is_last());
    }
}
