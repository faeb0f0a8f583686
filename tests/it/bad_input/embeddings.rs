//! Bad files of ready-made embeddings.

use std::fs;

use dsi::data::npy::{self, Precision};
use dsi::matrix::Matrix;

use crate::fixture::{Program, SMALL, Space};

tests! {
    a_teacher_of_another_shape_is_refused_before_anything_is_built,
    embeddings_of_the_wrong_shape_or_type_are_refused,
    embeddings_that_changed_under_a_run_are_noticed,
}

/// Images of the features corpus; each has two captions.
const FEATURES: usize = 24;

fn numbers(rows: usize, width: usize) -> Matrix {
    let number = |n: usize| ((n * 37 % 101) as f32 - 50.0) / 50.0;
    Matrix::new(width, (0..rows * width).map(number).collect())
}

/// Writes a valid folder of ready-made embeddings.
fn write_features(space: &Space, width: usize) {
    let split = |n: usize| ["train", "train", "val", "test"][n % 4];
    let line = |n| {
        format!(
            "{{\"image\": \"{n}\", \"split\": \"{}\", \"captions\": [\"one {n}\", \"two {n}\"]}}\n",
            split(n)
        )
    };
    space.write("corpus/corpus.jsonl", (0..FEATURES).map(line).collect::<String>());
    for (name, rows) in [("images.npy", FEATURES), ("captions.npy", 2 * FEATURES)] {
        npy::write(&space.path("corpus").join(name), &numbers(rows, width), Precision::Single).unwrap();
    }
}

fn own_features(space: &Space, command: &str) -> Program {
    space.run(command).config("configs/features.toml").sets(SMALL).sets(&space.folders()[..2])
}

fn a_teacher_of_another_shape_is_refused_before_anything_is_built() {
    let space = Space::new();
    write_features(&space, 8);
    let teacher = |rows, width| {
        let path = space.path("teacher.npy");
        npy::write(&path, &numbers(rows, width), Precision::Half).unwrap();
        own_features(&space, "train").sets(&[format!("train.teacher={}", path.display())]).out("run").output()
    };
    teacher(FEATURES, 2 * FEATURES).refused(&["train.teacher", "24 × 48", "48 captions", "24 images"]);
    assert!(!space.path("run").exists());
    teacher(2 * FEATURES, FEATURES).succeeded();
}

fn embeddings_of_the_wrong_shape_or_type_are_refused() {
    let space = Space::new();
    write_features(&space, 8);
    own_features(&space, "index").out("fine").output().succeeded();
    let images = space.path("corpus/images.npy");
    let good = fs::read(&images).unwrap();
    let header = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    let nan = [&good[..good.len() - 4], &f32::NAN.to_le_bytes()].concat();
    let zero = [&good[..good.len() - 32], &[0; 32]].concat();
    for (what, bytes, parts) in [
        ("another type", header("<f4", "<f8"), &["descr", "<f8", "<f2", "<f4"][..]),
        ("column-major", header("False", "True "), &["fortran_order", "ascontiguousarray"]),
        ("three dimensions", header("(24, 8)", "(2,12,8)"), &["shape", "two dimensions"]),
        ("more rows than there are", header("(24, 8)", "(99, 8)"), &["bytes", "header"]),
        ("truncated", good[..good.len() - 1].to_vec(), &["bytes", "header"]),
        ("cut in the header", good[..20].to_vec(), &["header"]),
        ("empty", Vec::new(), &["header"]),
        ("not an array", b"PK\x03\x04 a zip archive".to_vec(), &["is not a .npy file", "numpy.save"]),
        ("an LFS pointer", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), &["git lfs pull"]),
        ("NaN", nan, &["row 23", "NaN"]),
        ("a row of zeros", zero, &["row 23", "all zeros"]),
    ] {
        fs::write(&images, bytes).unwrap();
        let index = own_features(&space, "index").out("run");
        index.output().about(what).refused(&[&["images.npy"], parts].concat());
    }
    for (rows, width, parts) in [
        (FEATURES - 1, 8, ["images.npy", "has 23 rows", "24 images"]),
        (FEATURES, 5, ["captions.npy", "8 wide", "images.npy 5"]),
    ] {
        npy::write(&images, &numbers(rows, width), Precision::Half).unwrap();
        own_features(&space, "index").out("run").output().refused(&parts);
    }
    fs::remove_file(&images).unwrap();
    own_features(&space, "index").out("run").output().refused(&["images.npy", "cannot read"]);
}

fn embeddings_that_changed_under_a_run_are_noticed() {
    let space = Space::new();
    write_features(&space, 8);
    own_features(&space, "train").out("run").output().succeeded();
    write_features(&space, 16);
    space.run("eval").of("run").output().refused(&["index", "another encoder"]);
    own_features(&space, "train")
        .out("run")
        .args(["--resume"])
        .output()
        .refused(&["index", "another encoder"]);
    write_features(&space, 8);
    let images = space.path("corpus/images.npy");
    let mut bytes = fs::read(&images).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 0x20;
    fs::write(&images, bytes).unwrap();
    space.run("eval").of("run").output().refused(&["index", "another encoder"]);
}
