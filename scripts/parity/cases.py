"""Writes what `tests/it/parity` compares with: an encoder's folder, photos, captions, and their embeddings."""

import json

import numpy
import torch
from PIL import Image, ImageOps
from transformers import CLIPImageProcessor, CLIPTokenizerFast

from captions import every_length


def processor(side):
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def pixels_of(paths, side):
    make = processor(side)
    photos = [ImageOps.exif_transpose(Image.open(path)) for path in paths]
    return make(images=photos, return_tensors="pt")["pixel_values"]


def unit(x):
    return (x / x.norm(dim=-1, keepdim=True)).float().numpy()


def batched(embed, inputs, size=8):
    with torch.no_grad():
        return torch.cat([embed(batch) for batch in inputs.split(size)])


def ids_of(tokenizer, captions, context, padding):
    """Ids padded to the context, with the end token (transformers) or with zeros (open_clip), and their mask."""
    rows = tokenizer(captions, truncation=True, max_length=context).input_ids
    ids = torch.full((len(rows), context), padding)
    for row, values in zip(ids, rows):
        row[: len(values)] = torch.tensor(values)
    return ids


def write_references(case, photos, images, texts, captions, bar):
    """The embeddings, and how far ours may be from them; they must differ among themselves for that to mean much.

    `photos` are paths as `tests/it/parity` is to read them, relative ones from the case on."""
    case.mkdir(parents=True, exist_ok=True)
    for name, rows in (("images", images), ("captions", texts)):
        spread = numpy.abs(rows - rows.mean(0)).max()
        assert spread > 0.05, f"the {name} embeddings of {case} are all alike ({spread})"
        numpy.save(case / f"{name}.npy", rows)
    about = {"photos": [str(p) for p in photos], "captions": captions, "bar": bar}
    (case / "case.json").write_text(json.dumps(about))


def hugging_face(model, tokenizer, photos, paths=None):
    """Embeddings of photos and captions by transformers."""
    text, vision = model.config.text_config, model.config.vision_config
    captions = every_length(tokenizer, text.max_position_embeddings)
    end = tokenizer.eos_token_id
    ids = ids_of(tokenizer, captions, text.max_position_embeddings, end)
    mask = (torch.arange(ids.shape[1]) <= (ids == end).int().argmax(-1, keepdim=True)).long()
    both = torch.stack([ids, mask], 1)
    embed = lambda batch: model.get_text_features(input_ids=batch[:, 0], attention_mask=batch[:, 1])
    images = batched(lambda batch: model.get_image_features(pixel_values=batch), pixels_of(photos, vision.image_size))
    return unit(images), unit(batched(embed, both)), captions


def open_clip(model, tokenizer, photos, side, context):
    """The same by open_clip."""
    captions = every_length(tokenizer, context)
    ids = ids_of(tokenizer, captions, context, 0)
    images = batched(model.encode_image, pixels_of(photos, side))
    return unit(images), unit(batched(model.encode_text, ids)), captions


def tokenizer_of(folder):
    return CLIPTokenizerFast.from_pretrained(folder)
