"""A teacher for `train.teacher` that also uses the captions of the images, not their embeddings alone.

    python captions.py FOLDER teacher.npy

FOLDER: corpus.jsonl, images.npy and captions.npy, as `kind = "features"` reads them. The score of a train caption and a train
image is the mean of two cosines: with the image, and with the nearest of its captions other than the query itself. Val and test
captions are neither queries nor neighbours: their rows stay zero. Images outside the train split come last."""

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
    train_captions = numpy.flatnonzero(is_train[owner])
    first = numpy.flatnonzero(numpy.diff(owner[train_captions], prepend=-1))  # of each image's captions
    scores = numpy.lib.format.open_memmap(out, mode="w+", dtype="<f2", shape=(len(captions), len(images)))
    for start in range(0, len(train_captions), AT_ONCE):
        queries = train_captions[start : start + AT_ONCE]
        caption_cosines = captions[queries] @ captions[train_captions].T
        caption_cosines[numpy.arange(len(queries)), start + numpy.arange(len(queries))] = -1
        image_cosines = captions[queries] @ images.T
        nearest = numpy.full_like(image_cosines, -1)
        nearest[:, owner[train_captions[first]]] = numpy.maximum.reduceat(caption_cosines, first, axis=1)
        scores[queries] = numpy.where(is_train, (image_cosines + nearest) / 2, image_cosines - 1)
    scores.flush()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
