//! Checks that a download fits on the disk, and formats sizes.

use std::path::Path;

use crate::error::{Error, Result};

/// Checks that the disk of `folder`, which need not exist yet, has `needed` bytes free.
///
/// # Errors
/// When it has fewer: the message names both sizes. A disk that does not report its free space passes.
pub fn check(folder: &Path, needed: u64) -> Result<()> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    match fs4::available_space(there) {
        Ok(free) if free < needed => Err(Error::file(
            folder,
            format!(
                "needs {}, and {} are free; make room, or choose another folder",
                size(needed),
                size(free)
            ),
        )),
        _ => Ok(()),
    }
}

/// A number of bytes in decimal units: `13.5 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match UNITS.iter().find(|(_, unit)| bytes as f64 >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_small_a_disk_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("not/yet/made");
        check(&inside, 1).unwrap();
        check(Path::new("neither-is-this"), 1).unwrap();
        let message = check(&inside, u64::MAX).unwrap_err().to_string();
        assert!(message.contains("made: needs 18446744073.7 GB") && message.contains("free"), "{message}");
    }

    #[test]
    fn sizes_have_decimal_units() {
        assert_eq!(
            [999, 1_000, 36_745_453, 13_510_573_713].map(size),
            ["999 bytes", "1.0 kB", "36.7 MB", "13.5 GB"]
        );
    }
}
