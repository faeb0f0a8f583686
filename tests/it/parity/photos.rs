//! Preprocessing against transformers' `CLIPImageProcessor`, whose crops `scripts/parity/photos.py` wrote.

use std::fs;
use std::path::{Path, PathBuf};

use dsi::data::photos::{self, Photo};
use dsi::data::preprocess::Preprocess;

use crate::harness::{Need::Parity, parity};

tests! {
    real_photos_are_cropped_as_by_transformers if Parity("photos"),
    drawn_photos_of_every_kind_are_cropped_as_by_transformers,
}

/// Absolute differences between two crops, in levels of 0..255: sum, count and maximum.
#[derive(Default, Clone, Copy)]
struct Apart {
    sum: u64,
    count: u64,
    most: u8,
}

impl Apart {
    fn of(ours: &[u8], theirs: &[u8]) -> Self {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).fold(Self::default(), |apart, (a, b)| {
            let by = a.abs_diff(*b);
            Self { sum: apart.sum + u64::from(by), count: apart.count + 1, most: apart.most.max(by) }
        })
    }

    fn mean(self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    fn and(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, count: self.count + other.count, most: self.most.max(other.most) }
    }
}

/// Compares all photos of a case: `preprocessor_config.json`, `photos.json` (paths; relative ones start at
/// the case's folder) and `crops.bin`.
fn compare(case: &Path) {
    let preprocess = Preprocess::from_json(&case.join("preprocessor_config.json")).unwrap();
    let paths: Vec<PathBuf> = serde_json::from_slice(&fs::read(case.join("photos.json")).unwrap()).unwrap();
    let crops = fs::read(case.join("crops.bin")).unwrap();
    let area = 3 * preprocess.side() * preprocess.side();
    assert_eq!(crops.len(), area * paths.len(), "{}", case.display());
    let mut all = Apart::default();
    let mut far = Vec::new();
    for (path, theirs) in paths.iter().zip(crops.chunks_exact(area)) {
        let ours = preprocess.apply(&photos::read(&Photo::File(case.join(path))).unwrap());
        let apart = Apart::of(&ours, theirs);
        all = all.and(apart);
        if apart.most > 2 || apart.mean() > 0.25 {
            far.push(format!("{}: mean {:.3}, most {}", path.display(), apart.mean(), apart.most));
        }
    }
    println!("{}: {} photos, mean {:.5}, most {}", case.display(), paths.len(), all.mean(), all.most);
    assert!(far.is_empty(), "{} of {} photos are far:\n{}", far.len(), paths.len(), far.join("\n"));
}

fn real_photos_are_cropped_as_by_transformers() {
    compare_all(&parity("photos"));
}

fn drawn_photos_of_every_kind_are_cropped_as_by_transformers() {
    compare_all(&super::fixture(""));
}

fn compare_all(folder: &Path) {
    let mut cases = super::folders(folder);
    cases.retain(|case| case.join("crops.bin").exists());
    assert!(!cases.is_empty(), "no case in {}", folder.display());
    cases.iter().for_each(|case| compare(case));
}
