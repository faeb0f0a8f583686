"""How much can be learnt from frozen embeddings: maps, networks and ensembles are fitted on train pairs and then search for
images that none of them was fitted on.

    pip install -r requirements.txt && python learners.py FOLDER

Four minutes on two cores. FOLDER: corpus.jsonl, images.npy and captions.npy, as `kind = "features"` reads them; every image has
the same number of captions.
A thousand train images are held out to choose by (dev); val is shown beside them."""

import json
import sys
from pathlib import Path

import numpy
import torch
from torch.nn.functional import cross_entropy, normalize

BATCH, STEPS, RATE, TEMPERATURE, HELD_OUT, RERANKED = 1024, 400, 5e-4, 0.05, 1000, 50


def unit(x):
    return normalize(x, dim=-1)


class Corpus:
    """Centred unit rows: images (images, width), captions (images, captions of each, width); fit, dev and val are rows."""

    def __init__(self, folder):
        lines = [json.loads(line) for line in open(folder / "corpus.jsonl")]
        read = lambda name: unit(torch.tensor(numpy.load(folder / name).astype(numpy.float32)))
        split = numpy.array([line["split"] for line in lines])
        train = numpy.random.default_rng(0).permutation(numpy.flatnonzero(split == "train"))
        self.dev, self.fit = torch.tensor(train[:HELD_OUT]), torch.tensor(train[HELD_OUT:])
        self.val = torch.tensor(numpy.flatnonzero(split == "val"))
        images = read("images.npy")
        captions = read("captions.npy").reshape(len(lines), -1, images.shape[1])
        self.images = unit(images - images[self.fit].mean(0))
        self.captions = unit(captions - captions[self.fit].mean((0, 1)))

    def queries(self, rows):
        """Captions of these images, and the place of each one's image among them."""
        each = self.captions.shape[1]
        return self.captions[rows].flatten(0, 1), torch.arange(len(rows)).repeat_interleave(each)

    def pairs(self, rows):
        """A caption of each, the image, and what its other captions make of it."""
        drawn = torch.randint(0, self.captions.shape[1], (len(rows),))
        captions = self.captions[rows, drawn]
        return captions, self.images[rows], unit(self.captions[rows].sum(1) - captions)


class Map(torch.nn.Module):
    """x ↦ unit(x + A·x), with `hidden` > 0 also + a network of one hidden layer."""

    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.linear = torch.nn.Linear(width, width, bias=False)
        torch.nn.init.zeros_(self.linear.weight)
        self.network = network(width, hidden, width, dropout) if hidden else None

    def forward(self, x):
        bent = self.network(x * x.shape[-1] ** 0.5) if self.network else 0
        return unit(x + self.linear(x) + bent)


def network(inputs, hidden, outputs, dropout):
    first, last = torch.nn.Linear(inputs, hidden), torch.nn.Linear(hidden, outputs)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Dropout(dropout), last)


def descend(parameters, steps, rate, decay, loss):
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, betas=(0.9, 0.98))
    cosine = lambda step: min(1, (step + 1) / 20) * (0.5 + 0.5 * numpy.cos(numpy.pi * step / steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, cosine)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()


def maps(corpus, hidden=0, dropout=0.0, decay=0.0, seed=0):
    """A map for captions and one for images, by the symmetric contrastive loss of captions with images and with stand-ins."""
    torch.manual_seed(seed)
    caption, image = (Map(corpus.images.shape[1], hidden, dropout) for _ in range(2))

    def loss():
        captions, *others = corpus.pairs(corpus.fit[torch.randperm(len(corpus.fit))[:BATCH]])
        logits = [caption(captions) @ image(other).T / TEMPERATURE for other in others]
        own = torch.arange(BATCH)
        return sum(cross_entropy(one, own) + cross_entropy(one.T, own) for one in logits)

    descend([*caption.parameters(), *image.parameters()], STEPS, RATE, decay, loss)
    return caption.eval(), image.eval()


class Pair(torch.nn.Module):
    """A score of a caption and an image that sees both: a cosine, and a network over products and distances."""

    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.network, self.scale = network(2 * width, hidden, 1, dropout), torch.nn.Parameter(torch.tensor(1 / TEMPERATURE))

    def forward(self, captions, images):
        """(b, width), (b, n, width) → (b, n)"""
        captions = captions[:, None]
        seen = torch.cat([captions * images, (captions - images).abs()], -1) * images.shape[-1] ** 0.5
        return self.scale * (captions * images).sum(-1) + self.network(seen).squeeze(-1)


def pair(corpus, caption, image, hidden=128, dropout=0.3):
    """Fitted to tell each caption's image from its nearest others."""
    with torch.no_grad():
        queries, gold = corpus.queries(corpus.fit)
        queries, images = caption(queries), image(corpus.images[corpus.fit])
        own_captions = corpus.captions[corpus.fit]
        stand_ins = image(unit(own_captions.sum(1, keepdim=True) - own_captions)).flatten(0, 1)
        nearest = torch.cat([(some @ images.T).topk(RERANKED).indices for some in queries.split(1000)])
    scorer = Pair(images.shape[1], hidden, dropout)

    def loss():
        rows = torch.randint(0, len(queries), (128,))
        rivals = nearest[rows][:, torch.randperm(RERANKED)[: RERANKED // 2]]
        own = torch.where(torch.rand(len(rows), 1) < 0.5, stand_ins[rows], images[gold[rows]])
        scores = scorer(queries[rows], torch.cat([own[:, None], images[rivals]], 1))
        is_own = torch.nn.functional.pad(rivals == gold[rows, None], (1, 0))
        return cross_entropy(scores.masked_fill(is_own, -1e9), torch.zeros(len(rows), dtype=torch.long))

    descend(scorer.parameters(), STEPS, 3e-4, 0.1, loss)
    return scorer.eval()


def recall(scores, gold):
    ranks = (scores > scores.gather(1, gold[:, None])).sum(1)
    return " / ".join(f"{100 * (ranks < k).float().mean():.1f}" for k in (1, 5, 10))


@torch.no_grad()
def print_recall(name, corpus, score):
    """A row of the table; `score` of captions, images (aligned by nobody yet) → (captions, images)."""
    row = lambda rows: recall(score(corpus.queries(rows)[0], corpus.images[rows]), corpus.queries(rows)[1])
    print(f"| {name} | {row(corpus.dev)} | {row(corpus.val)} |", flush=True)


def main(folder):
    corpus = Corpus(folder)
    cosine = lambda caption, image: lambda queries, images: caption(queries) @ image(images).T
    print("| learner | dev R@1/5/10 | val R@1/5/10 |\n|---|---|---|")
    print_recall("none: centred cosine", corpus, lambda queries, images: queries @ images.T)
    linear = [maps(corpus, seed=seed) for seed in range(3)]
    print_recall("I + A on each side", corpus, cosine(*linear[0]))
    print_recall("three of them", corpus, lambda queries, images: sum(cosine(*one)(queries, images) for one in linear))
    print_recall("and a network of 512, dropout 0.3", corpus, cosine(*maps(corpus, 512, 0.3)))
    print_recall("of 1024, dropout 0.5, decay 0.1", corpus, cosine(*maps(corpus, 1024, 0.5, 0.1)))
    caption, image = linear[0]
    scorer = pair(corpus, caption, image)

    def reranked(queries, images):
        queries, images = caption(queries), image(images)
        scores = queries @ images.T
        nearest = scores.topk(RERANKED).indices
        again = torch.cat([scorer(q, images[n]) for q, n in zip(queries.split(500), nearest.split(500))])
        return (scores - 1e6).scatter(1, nearest, again)

    print_recall("I + A, its first 50 scored again in pairs", corpus, reranked)
    with torch.no_grad():
        bank = caption(corpus.queries(corpus.fit)[0])

    def debiased(queries, images):
        """log p(x | q) − η log p(x), p(x) over the captions that were fitted on."""
        images = image(images) / TEMPERATURE
        return caption(queries) @ images.T - 0.3 * torch.logsumexp(bank @ images.T, 0)

    print_recall("I + A, less 0.3 of the images' log prior", corpus, debiased)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
