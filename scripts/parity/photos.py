"""What transformers' CLIPImageProcessor (slow, on Pillow) makes of photos, for `tests/it/parity` to compare with.

    python photos.py OUT [FOLDER_OF_PHOTOS ...]

OUT gets rendered pictures of every kind and, for each, and for up to 1,000 photos of each folder, the crop in bytes
before normalisation. As `transformers.image_utils.load_image` does, the camera's orientation is applied first.
"""

import json
import pathlib
import sys

import numpy
from PIL import Image, ImageOps
from transformers import CLIPImageProcessor

import pictures

MOST = 1000
SETTINGS = {
    "b32": {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}},
    "l14-336": {"size": 336, "crop_size": 336},
    "small": {"size": {"shortest_edge": 96}, "crop_size": {"height": 72, "width": 72}},
    "squash": {"size": {"height": 80, "width": 100}, "crop_size": {"height": 64, "width": 64}},
}


def crop(processor, path):
    """The processor's crop as bytes; that undoing the normalisation gives whole numbers is checked."""
    with Image.open(path) as photo:
        photo = ImageOps.exif_transpose(photo)
        if photo.mode.startswith("I;16"):  # Pillow's own conversion clips what is above 255: nearly all
            photo = Image.fromarray((numpy.asarray(photo) / 257).round().astype("uint8"))
        pixels = processor(images=photo, return_tensors="np")["pixel_values"][0]
    mean, std = (numpy.array(v, "float64")[:, None, None] for v in (processor.image_mean, processor.image_std))
    levels = (pixels * std + mean) * 255
    whole = levels.round()
    assert abs(levels - whole).max() < 1e-2 and whole.min() >= 0 and whole.max() <= 255, path
    return whole.astype("uint8").transpose(1, 2, 0)


def write(case, settings, paths, names):
    """Writes the crops of photos under some settings; `names` are the paths as the case gives them."""
    processor = CLIPImageProcessor(**settings)
    case.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(case)
    with open(case / "crops.bin", "wb") as crops:
        for path in paths:
            crops.write(crop(processor, path).tobytes())
    (case / "photos.json").write_text(json.dumps(names))
    print(f"{case.name}: {len(paths)} photos")


def main():
    out = pathlib.Path(sys.argv[1])
    drawn = out / "drawn"
    drawn.mkdir(parents=True, exist_ok=True)
    paths = [drawn / name for name in pictures.write(drawn)]
    for folder in sys.argv[2:]:
        paths += sorted(p for p in pathlib.Path(folder).resolve().iterdir() if p.is_file())[:MOST]
    for name, settings in SETTINGS.items():
        write(out / name, settings, paths, [str(path.resolve()) for path in paths])


if __name__ == "__main__":
    main()
