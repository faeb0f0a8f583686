//! Small corpora with every kind of count: each trains and is measured, or is refused in words.
//!
//! Cases are drawn from a fixed seed. `DSI_SIZES` is the number of cases; the default takes seconds.

mod features;
mod photos;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dsi::config::Config;
use dsi::error::{Error, Result};
use dsi::rng::{self, Rng};
use libtest_mimic::Trial;
use rand::Rng as _;

pub fn tests() -> Vec<Trial> {
    [features::tests(), photos::tests()].into_iter().flatten().collect()
}

/// What a message of the tensor library, or of a broken invariant, contains.
const INNER: [&str; 12] = [
    "shape",
    "buffer of size",
    "narrow",
    "index out of",
    "candle",
    "tensor operation",
    "broadcast",
    "matmul",
    "dtype",
    "panicked",
    "invariant",
    "cannot be taken",
];

/// A refusal names a key, or the split or the gate that is at fault.
const NAMED: [&str; 9] = [
    "index.",
    "train.",
    "tune.",
    "decoder.",
    "search.",
    "eval.",
    "pretrain.",
    "split",
    "this index cannot work",
];

/// The number of cases: `DSI_SIZES`, or this many.
fn cases(default: u64) -> u64 {
    std::env::var("DSI_SIZES").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Draws the parts of a case.
struct Draw(Rng);

impl Draw {
    fn of_case(test: &str, case: u64) -> Self {
        Self(rng::stream(0, test, case))
    }

    fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A count for a corpus of `n` things: around one, around `n`, or `most`.
    fn count(&mut self, n: usize, most: usize) -> usize {
        let drawn = self.one(&[0, 1, 2, 3, n.saturating_sub(1), n, n + 1, most]);
        drawn.min(most)
    }

    /// `key=value` for some of the keys, each with one of its values.
    fn some_of(&mut self, keys: &[(&str, &[&str])], at_most: usize) -> Vec<String> {
        let count = self.below(at_most + 1);
        let mut draw = || {
            let (key, values) = self.one(keys);
            format!("{key}={}", self.one(values))
        };
        (0..count).map(|_| draw()).collect()
    }

    /// `key=count` for some of the keys, each with the largest count that is tried.
    fn counts_of(&mut self, keys: &[(&str, usize)], n: usize, at_most: usize) -> Vec<String> {
        let count = self.below(at_most + 1);
        let mut draw = || {
            let (key, most) = self.one(keys);
            format!("{key}={}", self.count(n, most))
        };
        (0..count).map(|_| draw()).collect()
    }
}

/// A configuration of `base` and then `drawn` overrides.
///
/// # Errors
/// When it is refused.
fn config(base: &[&str], drawn: &[String]) -> Result<Config> {
    let base = base.iter().map(|&set| set.to_owned());
    Config::parse("", "sizes.toml".as_ref(), &base.chain(drawn.iter().cloned()).collect::<Vec<_>>())
}

/// Draws overrides until the configuration takes them: other tests look at those that it refuses.
fn accepted(base: &[&str], mut draw: impl FnMut() -> Vec<String>) -> (Vec<String>, Config) {
    let mut tried = std::iter::repeat_with(|| {
        let drawn = draw();
        config(base, &drawn).ok().map(|config| (drawn, config))
    });
    tried.find_map(|accepted| accepted).expect("the base alone is accepted")
}

/// Runs the cases and fails with those that end in a panic or in an error without words for a user. A case is
/// its description and its outcome.
#[track_caller]
fn all_end_well(count: u64, case: impl Fn(u64) -> (String, Result<()>)) {
    let (mut faults, mut trained) = (Vec::new(), 0);
    for number in 0..count {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(number)));
        match outcome {
            Err(_) => faults.push(format!("case {number} panics")),
            Ok((_, Ok(()))) => trained += 1,
            Ok((what, Err(error))) if !is_in_words(&error) => {
                faults.push(format!("case {number}, {what}: {error}"));
            }
            Ok(_) => {}
        }
    }
    assert!(faults.is_empty(), "{} of {count} cases:\n{}", faults.len(), faults.join("\n"));
    assert!(trained * 3 > count, "only {trained} of {count} cases are trained to the end");
}

fn is_in_words(error: &Error) -> bool {
    let text = error.to_string().to_lowercase();
    !INNER.iter().any(|word| text.contains(word)) && NAMED.iter().any(|name| text.contains(name))
}
