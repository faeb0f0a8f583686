"""CLIP of random weights, and the time PyTorch takes for a step of its training beside dsi's (see run.sh).

    python step.py model FOLDER TOKENIZER
    python step.py compare WORK DEVICE BATCH STEPS
"""

import json
import os
import pathlib
import shutil
import statistics
import sys
import time

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

WARM_UP = 3


def write_model(folder, tokenizer):
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).half().save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    for name in ["tokenizer.json", "vocab.json", "merges.txt"]:
        shutil.copyfile(pathlib.Path(tokenizer) / name, pathlib.Path(folder) / name)


def batches(work, count):
    """Pixels and ids of pairs; ids end where the longest caption of the batch does, as in dsi."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(work / "clip/tokenizer.json"), pad_token="<|endoftext|>")
    lines = (work / "scenes/corpus.jsonl").read_text().splitlines()
    captions = [caption for line in lines for caption in json.loads(line)["captions"]]
    at = 0
    while True:
        chosen = [captions[(at + i) % len(captions)] for i in range(count)]
        at += count
        yield torch.randn(count, 3, 224, 224), tokenizer(chosen, padding=True, return_tensors="pt").input_ids


def pytorch(work, device, count, steps, compiled):
    """Pairs a second, the median over steps, and the most memory of a GPU in GB."""
    torch.manual_seed(0)
    cuda = device != "cpu"
    model = CLIPModel.from_pretrained(work / "clip", dtype=torch.float32, attn_implementation="sdpa").to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1, fused=True)
    run = torch.compile(model) if compiled else model
    seconds, pairs = [], batches(work, count)
    for _ in range(WARM_UP + steps):
        pixels, ids = next(pairs)
        began = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
            loss = run(input_ids=ids.to(device), pixel_values=pixels.to(device), return_loss=True).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - began)
    memory = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    return count / statistics.median(seconds[WARM_UP:]), memory


def ours(work):
    lines = [json.loads(line) for line in (work / "run/metrics.jsonl").read_text().splitlines()]
    timed = [line for line in lines if "pairs_per_s" in line][WARM_UP:]
    median = lambda key: statistics.median(line.get(key, 0.0) for line in timed)
    return median("pairs_per_s"), median("gpu_memory_gb")


def compare(work, device, count, steps):
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    speed, memory = ours(work)
    print(f"dsi: {speed:.1f} pairs/s" + (f", {memory:.1f} GB" if memory else ""))
    for compiled in [False] if device == "cpu" else [False, True]:
        theirs, memory = pytorch(work, device, count, steps, compiled)
        how = "compiled" if compiled else "eager"
        memory_text = f", {memory:.1f} GB" if memory else ""
        print(f"PyTorch {torch.__version__}, {how}: {theirs:.1f} pairs/s{memory_text}; dsi is {speed / theirs:.2f} times as fast")


if __name__ == "__main__":
    if sys.argv[1] == "model":
        write_model(sys.argv[2], sys.argv[3])
    else:
        compare(pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
