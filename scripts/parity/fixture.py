"""Makes tests/fixture/parity again: small random CLIPs in several layouts, drawn pictures, what the libraries of the
requirements make of them.

    python fixture.py

Weights are kept as f16, half the size, and are rounded to that before anything is computed from them, in f32.
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizerFast

import cases
import gradients
import photos
import pictures
import tokens
from captions import every_length
from shapes import random_model, shape, spread, tower

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "fixture" / "parity"
# The project's own small vocabulary: CLIP's is not the project's to copy.
TOKENIZER = ROOT / "data" / "scenes-clip" / "tokenizer.json"
VOCABULARY, CONTEXT, SIDE, BAR = 640, 24, 32, 2e-5
SHAPES = {
    "portrait": (30, 50),
    "landscape": (50, 30),
    "square": (33, 33),
    "tiny": (11, 7),
    "dot": (2, 2),
    "strip": (90, 5),
}
SETTINGS = {
    "shortest": {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}},
    "margin": {"size": 30, "crop_size": 20},
    "squash": {"size": {"height": 20, "width": 28}, "crop_size": {"height": 16, "width": 16}},
}


def rounded(model):
    return model.half().float()


def config(act, end):
    sizes = dict(vocab_size=VOCABULARY, max_position_embeddings=CONTEXT)
    return shape(tower(12, 2, 3, **sizes), tower(16, 2, 2, patch_size=8, image_size=SIDE), 20, act, end)


def transformers_case(name, act, end, tokenizer, chosen, save):
    model = rounded(random_model(config(act, end)))
    images, texts, captions = cases.hugging_face(model, tokenizer, [OUT / "drawn" / photo for photo in chosen])
    cases.write_references(OUT / name, [f"../drawn/{p}" for p in chosen], images, texts, captions, BAR)
    save(model.half(), OUT / name / "encoder")
    cases.processor(SIDE).save_pretrained(OUT / name / "encoder")


def open_clip_case(name, tokenizer, chosen):
    from open_clip import CLIP

    shape_of = {
        "embed_dim": 20,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {
            "context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 12, "heads": 3, "layers": 2, "mlp_ratio": 3.0,
        },
    }
    torch.manual_seed(2)
    model = rounded(spread(CLIP(**shape_of).eval()))
    paths = [OUT / "drawn" / photo for photo in chosen]
    images, texts, captions = cases.open_clip(model, tokenizer, paths, SIDE, CONTEXT)
    cases.write_references(OUT / name, [f"../drawn/{p}" for p in chosen], images, texts, captions, BAR)
    (OUT / name / "encoder").mkdir()
    weights = {key: tensor.half().contiguous() for key, tensor in model.state_dict().items()}
    save_file(weights, OUT / name / "encoder" / "open_clip_model.safetensors")
    stated = {"model_cfg": shape_of, "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"}}
    (OUT / name / "encoder" / "open_clip_config.json").write_text(json.dumps(stated, indent=2))


def openai_case(name, tokenizer, chosen):
    """A model of the shape of OpenAI's release, which is a file of torch.jit.save and nothing beside it."""
    from open_clip import CLIP

    sizes = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": SIDE, "layers": 1, "width": 128, "patch_size": 16},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 64, "heads": 1, "layers": 2},
    }
    torch.manual_seed(3)
    model = rounded(spread(CLIP(**sizes, quick_gelu=True).eval()))
    paths = [OUT / "drawn" / photo for photo in chosen]
    images, texts, captions = cases.open_clip(model, tokenizer, paths, SIDE, CONTEXT)
    cases.write_references(OUT / name, [f"../drawn/{p}" for p in chosen], images, texts, captions, BAR)
    (OUT / name / "encoder").mkdir(exist_ok=True)
    inputs = {
        "encode_image": torch.ones(2, 3, SIDE, SIDE),
        "encode_text": torch.zeros(2, CONTEXT, dtype=torch.int),
    }
    traced = torch.jit.trace_module(model, inputs, check_trace=False).half()
    traced.save(OUT / name / "encoder" / "ViT-B-32.pt")


def older_form(folder):
    """vocab.json and merges.txt of the tokenizer.json there."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "drawn").mkdir(parents=True)
    names = pictures.write(OUT / "drawn", SHAPES, (45, 30))
    for name, settings in SETTINGS.items():
        photos.write(OUT / name, settings, [OUT / "drawn" / n for n in names], [f"../drawn/{n}" for n in names])

    (OUT / "tokenizer").mkdir()
    shutil.copy(TOKENIZER, OUT / "tokenizer")
    older_form(OUT / "tokenizer")
    tokenizer = CLIPTokenizerFast(tokenizer_file=str(TOKENIZER))
    tokens.write(OUT / "tokens", OUT / "tokenizer", tokens.ODD + ["a small red cube left of a ball", "a " * 80])

    chosen = ["portrait.png", "landscape.png", "mode-P.png", "jpeg-420.jpg", "orientation-6.jpg", "tiny.png"]
    end = tokenizer.eos_token_id
    whole = lambda model, folder: model.save_pretrained(folder)
    sharded = lambda model, folder: model.save_pretrained(folder, max_shard_size="20KB")
    pickled = lambda model, folder: model.save_pretrained(folder, safe_serialization=False)
    transformers_case("quick-gelu", "quick_gelu", end, tokenizer, chosen, whole)
    transformers_case("gelu-sharded", "gelu", end, tokenizer, chosen, sharded)
    transformers_case("argmax-pickled", "quick_gelu", 2, tokenizer, chosen, pickled)
    gradients.write(OUT / "quick-gelu")
    gradients.write(OUT / "gelu-sharded")
    open_clip_case("open-clip", tokenizer, chosen)
    openai_case("openai", tokenizer, chosen)


main()
