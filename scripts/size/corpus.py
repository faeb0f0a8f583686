"""Makes a corpus of ready-made embeddings of the size of COCO out of a small one, which is repeated with noise.

    python corpus.py FROM TO [TEST]

FROM holds corpus.jsonl, images.npy and captions.npy; TO gets the same with 123,287 images (5,000 val, TEST [5,000] test, the
rest train) and 616,767 captions, 512 numbers each in half precision. Rows are written block by block: nothing large is held.
"""

import json
import sys
from pathlib import Path

import numpy as np

IMAGES = 123_287
VAL = 5_000
CAPTIONS = 616_767
WIDTH = 512
NOISE = 0.5  # the length of the noise beside a unit vector: repetitions are neighbours, not copies
BLOCK = 8_192


def main(source, target, test):
    target.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in (source / "corpus.jsonl").read_text().splitlines() if line.strip()]
    starts = np.cumsum([0] + [len(line["captions"]) for line in lines])
    images = IMAGES
    six = CAPTIONS - 5 * images  # so many images have a sixth caption, as in COCO
    splits = ["train"] * (images - VAL - test) + ["val"] * VAL + ["test"] * test
    rng = np.random.default_rng(0)
    # One direction of noise an image, shared by its captions: they stay nearer to it than to its other repetitions.
    own = rng.standard_normal((images, WIDTH), dtype=np.float32) * np.float32(NOISE / WIDTH**0.5)
    captions_of = [(n, [k % len(lines[n % len(lines)]["captions"]) for k in range(5 + (n < six))]) for n in range(images)]
    with (target / "corpus.jsonl").open("w") as out:
        for n, chosen in captions_of:
            base = lines[n % len(lines)]["captions"]
            texts = [f"{base[k]} {n} {place}" for place, k in enumerate(chosen)]
            out.write(json.dumps({"image": f"{n}.jpg", "split": splits[n], "captions": texts}) + "\n")
    sources = [n % len(lines) for n in range(images)]
    write(target / "images.npy", load(source / "images.npy"), np.array(sources), np.arange(images), own, rng)
    rows = np.array([starts[n % len(lines)] + k for n, chosen in captions_of for k in chosen])
    owners = np.array([n for n, chosen in captions_of for _ in chosen])
    assert len(rows) == CAPTIONS
    write(target / "captions.npy", load(source / "captions.npy"), rows, owners, own, rng)


def load(path):
    """Unit rows, filled up with zeros to the width."""
    rows = np.load(path).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.pad(rows, ((0, 0), (0, WIDTH - rows.shape[1])))


def write(path, base, rows, owners, own, rng):
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(rows), WIDTH))
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        noise = rng.standard_normal((len(rows[block]), WIDTH), dtype=np.float32) * np.float32(0.2 / WIDTH**0.5)
        out[block] = base[rows[block]] + own[owners[block]] + noise
    out.flush()


main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5_000)
