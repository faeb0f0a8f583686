//! All randomness is a named stream of one seed.
//!
//! A stream is derived from `(seed, name, index)` and nothing else, so what a step draws does not depend on
//! earlier draws. A run that resumes at step N therefore needs no saved generator state.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of every stream: portable, so one seed gives one result on every platform.
pub type Rng = ChaCha8Rng;

/// The stream called `name` at position `index` (a step, an epoch, an image number) of `seed`.
pub fn stream(seed: u64, name: &str, index: u64) -> Rng {
    let mut hasher = blake3::Hasher::new_derive_key("dsi 2026 random streams");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(name.as_bytes());
    Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn streams_repeat_and_differ_by_each_part_of_their_name() {
        let first = |seed, name, index| stream(seed, name, index).next_u64();
        assert_eq!(first(1, "a", 2), first(1, "a", 2));
        assert_ne!(first(1, "a", 2), first(2, "a", 2));
        assert_ne!(first(1, "a", 2), first(1, "b", 2));
        assert_ne!(first(1, "a", 2), first(1, "a", 3));
    }
}
