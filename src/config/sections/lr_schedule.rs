//! The course of the learning rate over a training.

use crate::config_schema::choice;

choice! {
    /// The course of the learning rate after the warm-up.
    LrSchedule {
        /// Half a cosine down to zero (Loshchilov and Hutter 2017).
        Cosine = "cosine",
        /// A straight line down to zero.
        Linear = "linear",
        /// The peak until the end.
        Constant = "constant",
    }
}
