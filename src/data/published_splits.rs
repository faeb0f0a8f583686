//! The published split sizes of known datasets; a corpus with such a name is checked against them.

use super::corpus::Split;

/// A published dataset.
#[derive(Debug)]
pub struct Known {
    /// The name, as in Karpathy's files.
    pub name: &'static str,
    /// Images of the train, val and test splits; `restval` counts as train.
    images: [usize; 3],
}

/// Karpathy & Fei-Fei 2015; COCO's `restval` counts as train, as is usual.
const KNOWN: [Known; 3] = [
    Known { name: "flickr8k", images: [6_000, 1_000, 1_000] },
    Known { name: "flickr30k", images: [29_000, 1_014, 1_000] },
    Known { name: "coco", images: [113_287, 5_000, 5_000] },
];

impl Known {
    /// Number of images of a split.
    pub fn images(&self, split: Split) -> usize {
        self.images[split as usize]
    }
}

/// The published dataset of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_order_of_the_splits() {
        let of = |name: &str| Split::ALL.map(|split| find(name).unwrap().images(split));
        assert_eq!(of("flickr30k"), [29_000, 1_014, 1_000]);
        assert_eq!(of("coco").iter().sum::<usize>(), 123_287);
        assert!(find("scenes").is_none());
    }
}
