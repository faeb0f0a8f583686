//! The learning rate over a run: linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017).

/// Factor in [0, 1] on the peak learning rate at `step` (zero-based) of `steps`.
pub fn warmup_cosine(step: usize, steps: usize, warmup: usize) -> f64 {
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::warmup_cosine;

    #[test]
    fn rises_linearly_then_falls_to_zero() {
        assert_eq!(warmup_cosine(0, 110, 10), 0.1);
        assert_eq!(warmup_cosine(9, 110, 10), 1.0);
        assert_eq!(warmup_cosine(10, 110, 10), 1.0);
        assert!((warmup_cosine(60, 110, 10) - 0.5).abs() < 1e-12);
        assert!(warmup_cosine(110, 110, 10) < 1e-12);
        assert!(warmup_cosine(5, 5, 10).is_finite());
    }
}
