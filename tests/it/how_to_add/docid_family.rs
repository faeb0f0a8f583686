//! How to add a docid family: one that sorts images by one coordinate of their embeddings and numbers them.
//!
//! Images with similar coordinates share their first codes.

use std::collections::BTreeSet;

use dsi::docid::families::{CodebookTools, DocidFamily, FamilyInput, FamilyOutput, FamilySettings};
use dsi::docid::gates::GateReport;
use dsi::docid::trie::Trie;
use dsi::docid::{Code, Docid, DocidSet};
use dsi::error::Result;
use dsi::ids::ImageIdx;
use dsi::matrix::Matrix;

tests! {
    a_new_family_gives_every_image_its_own_docid,
}

/// Two levels: the block of √n images in the order of the first coordinate, and the place within the block.
struct Sorted;

impl DocidFamily for Sorted {
    fn name(&self) -> &'static str {
        "sorted"
    }

    fn about(&self) -> &'static str {
        "The place of the image in the order of one coordinate, in two digits."
    }

    fn codes_are_unique(&self) -> bool {
        true
    }

    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput> {
        let count = input.images.rows();
        let block = (1..=count).find(|side| side * side >= count).unwrap_or(1);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| input.images.row(a)[0].total_cmp(&input.images.row(b)[0]));
        let mut docids = vec![Docid::new(Vec::new()); count];
        for (place, image) in order.into_iter().enumerate() {
            docids[image] = Docid::new(vec![(place / block) as Code, (place % block) as Code]);
        }
        let docids = DocidSet::new(docids, vec![count.div_ceil(block), block])?;
        Ok(FamilyOutput { family_levels: docids.levels(), docids, codebooks: None, collisions: None })
    }
}

/// One process, and no training.
struct Plain;

impl CodebookTools for Plain {}

fn a_new_family_gives_every_image_its_own_docid() {
    let images = Matrix::new(1, (0..10).map(|image| ((image * 7) % 10) as f32).collect());
    let input = FamilyInput {
        settings: &FamilySettings { codebook_sizes: Vec::new(), codes: 4, iterations: 1, encode_beam: 1 },
        seed: 0,
        images: &images,
        train_images: &[],
        train_captions: &[],
        captions: &|_| Matrix::new(1, Vec::new()),
        tools: &Plain,
    };
    let FamilyOutput { docids, family_levels, collisions, .. } = Sorted.assign(&input).unwrap();
    assert_eq!(docids.of(ImageIdx(0)).codes(), [0, 0], "the smallest coordinate comes first");
    assert_eq!(docids.of(ImageIdx(1)).codes(), [1, 3], "7 is the last of the second block of four");
    assert_eq!(docids.iter().map(Docid::codes).collect::<BTreeSet<_>>().len(), 10);
    // What an index does with them: it measures the codes and builds the trie.
    let gates = GateReport::new(&docids, family_levels, collisions);
    assert_eq!(gates.levels.iter().map(|level| level.used).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(Trie::new(&docids).len(1), 10, "a leaf for each image");
}
