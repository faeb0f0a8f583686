"""The ids that transformers' CLIP tokenizer gives the captions of Karpathy's files, for `tests/it/parity`.

    python tokens.py OUT TOKENIZER KARPATHY.json ...

OUT gets `captions.json` and `ids.bin`: for each caption the number of its ids, then these, as 16-bit numbers.
The reference is CLIPTokenizerFast, which transformers loads by default; from `tokenizer.json` and from `vocab.json` +
`merges.txt` it must agree with itself. Where the slow tokenizer (which also repairs text by ftfy) differs is printed.
"""

import json
import pathlib
import shutil
import sys

import numpy
from transformers import CLIPTokenizer, CLIPTokenizerFast

CONTEXT = 77
ODD = [
    "it's 1984, isn't it?!", "naïve café 日本 🙂", "x\u200by", "a\tb\nc  d",
    "ﬁancé Å Ǆ ß İ", "\u00a0no\u2028break", "don't DON'T we'LL", "&amp; &lt;b&gt;", "\ufeffbom", "a" * 300, "_ - — … “q”",
    "word " * 200, "é\u0301 e\u0301", "🇩🇪👩‍👩‍👧 ½ ² Ⅷ ٣", "schÃ¶n", "\u1e9e\u0130", "a\u0000b", "\x7f\x85z",
]


def write(out, tokenizer, captions):
    """Writes the ids of captions by the tokenizer in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    fast = CLIPTokenizerFast(tokenizer_file=str(tokenizer / "tokenizer.json"))
    older = CLIPTokenizerFast(vocab_file=str(tokenizer / "vocab.json"), merges_file=str(tokenizer / "merges.txt"))
    slow = CLIPTokenizer(str(tokenizer / "vocab.json"), str(tokenizer / "merges.txt"))
    settings = dict(truncation=True, max_length=CONTEXT)
    rows = fast(captions, **settings).input_ids
    assert rows == older(captions, **settings).input_ids, "the two forms of the tokenizer differ"
    differ = [c for c, row in zip(captions, rows) if slow(c, **settings).input_ids != row]
    print(f"{len(captions)} captions; the slow tokenizer differs on {len(differ)}: {differ[:20]}")
    with open(out / "ids.bin", "wb") as ids:
        for row in rows:
            ids.write(numpy.array([len(row), *row], "<u2").tobytes())
    (out / "captions.json").write_text(json.dumps(captions))


def main():
    out, tokenizer, *files = map(pathlib.Path, sys.argv[1:])
    captions = list(ODD)
    for file in files:
        for image in json.loads(file.read_text())["images"]:
            captions += [sentence["raw"] for sentence in image["sentences"]]
    write(out, tokenizer, captions)
    shutil.copytree(tokenizer, out / "tokenizer", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
