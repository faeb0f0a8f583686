"""What PyTorch finds as the gradients of CLIP's contrastive loss, for small CLIPs in transformers' layout.

    python gradients.py CASE …

Each CASE is a folder with encoder/; it gets gradients.safetensors: the loss, and the gradient of every parameter by its
name. Pixels and ids are by formulas that tests/it/parity/gradients.rs repeats.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import CLIPModel

CAPTIONS = [[638, 1, 2, 639], [638, 300, 17, 4, 5, 639], [638, 9, 639]]


def pixels(count, side):
    numbers = torch.arange(count * 3 * side * side, dtype=torch.float64)
    return ((numbers * 37 % 101) / 50 - 1).float().reshape(count, 3, side, side)


def write(case):
    model = CLIPModel.from_pretrained(case / "encoder", dtype=torch.float32, attn_implementation="eager").train()
    longest = max(map(len, CAPTIONS))
    ids = torch.tensor([ids + [639] * (longest - len(ids)) for ids in CAPTIONS])
    side = model.config.vision_config.image_size
    loss = model(input_ids=ids, pixel_values=pixels(len(CAPTIONS), side), return_loss=True).loss
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    save_file({**found, "loss": loss.detach().reshape(1)}, case / "gradients.safetensors")


if __name__ == "__main__":
    for case in sys.argv[1:]:
        write(pathlib.Path(case))
