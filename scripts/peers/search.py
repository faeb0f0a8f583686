"""Searches the same vectors with dsi and with faiss; see search.sh."""

import argparse
import json
import subprocess
import time
from pathlib import Path

import faiss
import numpy as np

QUERIES = 2000
K = 10
# The decoder's cost does not depend on the number of images, and its docids of all dimensions take long to make.
DECODER_MOST = 200_000


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Real:
    """Embeddings of images and captions, and a mixture that is fitted to them."""

    def __init__(self, images, captions):
        self.images, self.captions = unit(images), unit(captions)
        self.each = len(captions) // len(images)
        kmeans = faiss.Kmeans(images.shape[1], min(256, len(images) // 8), niter=20, seed=1)
        kmeans.train(self.images)
        _, owner = kmeans.index.search(self.images, 1)
        self.members = [np.flatnonzero(owner[:, 0] == c) for c in range(kmeans.k)]
        self.members = [m for m in self.members if len(m) > 2]

    def draw(self, count, rng):
        """Images: a mean of two members of a cluster, and what tells two further ones apart, by half."""
        weights = np.array([len(m) for m in self.members], dtype=float)
        rows = np.empty((count, self.images.shape[1]), dtype=np.float32)
        for start in range(0, count, 100_000):
            part = min(100_000, count - start)
            clusters = rng.choice(len(self.members), part, p=weights / weights.sum())
            picks = np.stack([rng.choice(self.members[c], 4) for c in clusters])
            a, b, c, d = (self.images[picks[:, n]] for n in range(4))
            w = rng.uniform(0, 1, (part, 1))
            noise = rng.normal(0, 0.3 / np.sqrt(rows.shape[1]), rows[:part].shape)
            rows[start : start + part] = unit(w * a + (1 - w) * b + 0.5 * (c - d) + noise)
        return rows

    def collection(self, count, rng):
        """Images, queries and the right image of each query."""
        if count <= len(self.images):
            chosen = np.sort(rng.choice(len(self.images), count, replace=False))
            right = rng.integers(0, count, min(QUERIES, count))
            queries = self.captions[chosen[right] * self.each + rng.integers(0, self.each, len(right))]
            return self.images[chosen], queries, right
        images = self.draw(count, rng)
        right = rng.integers(0, count, QUERIES)
        model = rng.integers(0, len(self.captions), QUERIES)
        gap = self.captions[model] - self.images[model // self.each]
        return images, unit(images[right] + gap).astype(np.float32), right


def recall(found, right, k):
    return float(np.mean([r in row[:k] for row, r in zip(found, right)]))


def timed(index, queries, right):
    index.search(queries[:8], K)
    began = time.perf_counter()
    found = np.concatenate([index.search(queries[n : n + 1], K)[1] for n in range(len(queries))])
    ms = (time.perf_counter() - began) * 1e3 / len(queries)
    return {"ms": ms, "recall1": recall(found, right, 1), "recall5": recall(found, right, 5), "recall10": recall(found, right, K)}


def of_faiss(who, make, images, queries, right, bytes_per_image, probes=(None,)):
    faiss.omp_set_num_threads(2)
    began = time.perf_counter()
    index = make(images)
    build = time.perf_counter() - began
    faiss.omp_set_num_threads(1)
    for nprobe in probes:
        if nprobe:
            faiss.ParameterSpace().set_index_parameter(index, "nprobe", nprobe)
        yield {
            "who": who, "images": len(images), "threads": 1, "batch": 1, "probes": nprobe or 0,
            **timed(index, queries, right), "bytes_per_image": bytes_per_image, "build_s": build,
        }


def factory(spec):
    def make(images):
        index = faiss.index_factory(images.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
        index.train(images[:: max(1, len(images) // 100_000)])
        index.add(images)
        return index
    return make


def faiss_rows(images, queries, right):
    count, width = images.shape
    yield from of_faiss("faiss-flat", factory("Flat"), images, queries[:200], right[:200], 4 * width)
    if count >= 5000:
        lists = 256
        probes = (1, 4, 8, 16, 32, 64)
        for size in (12, 16):
            yield from of_faiss("faiss-ivfpq", factory(f"IVF{lists},PQ{size}"), images, queries, right, size, probes)
            yield from of_faiss("faiss-opq-ivfpq", factory(f"OPQ{size},IVF{lists},PQ{size}"), images, queries, right, size, probes)
        if count <= 200_000:
            yield from of_faiss("faiss-hnsw", factory("HNSW32"), images, queries, right, 4 * width + 256)


def dsi_rows(args, images, queries, right, size):
    folder = args.out / str(size)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images.astype(np.float32))
    np.save(folder / "queries.npy", queries.astype(np.float32))
    np.savetxt(folder / "right.txt", right, fmt="%d")
    common = [args.dsi, "bench", "search", "--images", folder / "images.npy", "--queries", folder / "queries.npy",
              "--right", folder / "right.txt"]
    rows = []
    for more in (["--probes", "0,1,4,8,16,32,64"], ["--probes", "0,32", "--decoder", "--candidates", "10,50"]):
        if "--decoder" in more and size > DECODER_MOST:
            continue
        found = subprocess.run([*map(str, common), *more], check=True, capture_output=True, text=True).stdout
        rows += json.loads(found)["rows"]
    (folder / "images.npy").unlink()
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsi", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    args = parser.parse_args()
    real = Real(np.load(args.images).astype(np.float32), np.load(args.captions).astype(np.float32))
    rows = []
    for size in args.sizes:
        images, queries, right = real.collection(size, np.random.default_rng(size))
        simulated = size > len(real.images)
        of_size = dsi_rows(args, images, queries, right, size) + list(faiss_rows(images, queries, right))
        rows += [{**row, "simulated": simulated} for row in of_size]
        (args.out / "search.json").write_text(json.dumps({"rows": rows}, indent=1))
        for row in of_size:
            print(f"{row['who']:16} {size:9} probes {row['probes']:3} {row['ms']:8.3f} ms  {row['bytes_per_image']:6.1f} bytes  "
                  f"R@1/5/10 {100 * row['recall1']:.1f}/{100 * row['recall5']:.1f}/{100 * row['recall10']:.1f}", flush=True)


main()
