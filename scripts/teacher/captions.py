"""A teacher for `train.teacher` that knows more than the embeddings of images: what other captions say of them.

    python captions.py FOLDER teacher.npy

FOLDER: corpus.jsonl, images.npy and captions.npy, as `kind = "features"` reads them. The score of a train caption and a train
image is the mean of two cosines: with the image, and with the nearest of its captions but the one that asks. Val and test
captions neither ask nor speak; their rows stay zero, and images that are not of the train split come last."""

import json
import sys
from pathlib import Path

import numpy

AT_ONCE = 512


def unit(path):
    rows = numpy.load(path).astype(numpy.float32)
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def main(folder, out):
    lines = [json.loads(line) for line in open(folder / "corpus.jsonl")]
    images, captions = unit(folder / "images.npy"), unit(folder / "captions.npy")
    owner = numpy.repeat(numpy.arange(len(lines)), [len(line["captions"]) for line in lines])
    is_train = numpy.array([line["split"] == "train" for line in lines])
    speaking = numpy.flatnonzero(is_train[owner])
    first = numpy.flatnonzero(numpy.diff(owner[speaking], prepend=-1))  # of each image's captions
    scores = numpy.lib.format.open_memmap(out, mode="w+", dtype="<f2", shape=(len(captions), len(images)))
    for start in range(0, len(speaking), AT_ONCE):
        asking = speaking[start : start + AT_ONCE]
        told = captions[asking] @ captions[speaking].T
        told[numpy.arange(len(asking)), start + numpy.arange(len(asking))] = -1
        seen = captions[asking] @ images.T
        nearest = numpy.full_like(seen, -1)
        nearest[:, owner[speaking[first]]] = numpy.maximum.reduceat(told, first, axis=1)
        scores[asking] = numpy.where(is_train, (seen + nearest) / 2, seen - 1)
    scores.flush()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
