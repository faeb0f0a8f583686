"""Writes the cases of one published shape: random weights, saved in every way that its library saves them.

    python models.py OUT SHAPE TOKENIZER PHOTOS

SHAPE is one of shapes.py, or `open-clip`. One shape at a time, because the large ones are gigabytes: run.sh compares
and deletes each before it makes the next.
"""

import json
import pathlib
import random
import shutil
import sys

import torch
from safetensors.torch import save_file

import cases
from shapes import SHAPES, random_model, spread

F32, F16 = 2e-5, 2e-3
OPEN_CLIP = "ViT-B-32-quickgelu"


def save_tokenizer(tokenizer, folder):
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder)


def transformers_cases(out, shape, tokenizer, photos):
    model = random_model(SHAPES[shape])
    images, texts, captions = cases.hugging_face(model, cases.tokenizer_of(tokenizer), photos)
    side = model.config.vision_config.image_size

    def case(form, bar, save):
        folder = out / f"{shape}-{form}"
        cases.write_references(folder, photos, images, texts, captions, bar)
        save(folder / "encoder")
        cases.processor(side).save_pretrained(folder / "encoder")
        save_tokenizer(tokenizer, folder / "encoder")

    def pickled(folder):
        model.save_pretrained(folder, safe_serialization=False)

    case("f32", F32, model.save_pretrained)
    if shape == "vit-b-32":
        size = sum(p.numel() * 4 for p in model.parameters())
        case("sharded", F32, lambda folder: model.save_pretrained(folder, max_shard_size=size // 3))
    case("pickled", F32, pickled)
    model = model.half()
    case("f16", F16, model.save_pretrained)


def open_clip_cases(out, tokenizer, photos):
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    torch.manual_seed(1)
    model = spread(open_clip.create_model(OPEN_CLIP, pretrained=None).eval())
    config = open_clip.get_model_config(OPEN_CLIP)
    side, context = config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"]
    tokens = cases.tokenizer_of(tokenizer)
    images, texts, captions = cases.open_clip(model, tokens, photos, side, context)
    for form in ("safetensors", "pickled"):
        folder = out / f"open-clip-{form}"
        cases.write_references(folder, photos, images, texts, captions, F32)
        save_for_hf(model, tokens, config, folder / "encoder", safe_serialization=form == "safetensors")
    folder = out / "open-clip-f16"
    cases.write_references(folder, photos, images, texts, captions, F16)
    shutil.copytree(out / "open-clip-safetensors" / "encoder", folder / "encoder")
    half = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(half, folder / "encoder" / "open_clip_model.safetensors")


def main():
    out, shape, tokenizer, folder = sys.argv[1:]
    out, tokenizer = pathlib.Path(out), pathlib.Path(tokenizer)
    found = sorted(p.resolve() for p in pathlib.Path(folder).iterdir() if p.is_file())
    photos = random.Random(0).sample(found, min(24, len(found)))
    if shape == "open-clip":
        open_clip_cases(out, tokenizer, photos)
    else:
        transformers_cases(out, shape, tokenizer, photos)


main()
