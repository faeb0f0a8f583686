"""Pictures drawn here in every form a photo comes in: shapes, sizes, colour modes, codecs, orientations."""

import struct
import zlib

import numpy
from PIL import Image

# transformers takes an edge of 1 or 3 pixels for the colour channels, so none is that short.
SHAPES = {
    "portrait": (90, 160),
    "landscape": (160, 90),
    "square": (97, 97),
    "tiny": (11, 7),
    "dot": (2, 2),
    "strip": (400, 5),
    "huge": (2400, 1500),
}
ORIENTATION = 0x112


def drawn(width, height, seed=0):
    """Waves, hard-edged discs and noise: gradients, edges and grain, as photos have them."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width] / max(width, height)
    picture = numpy.zeros((height, width, 3))
    for channel in range(3):
        a, b, phase = random.uniform(2, 20, 3)
        picture[..., channel] = 128 + 90 * numpy.sin(a * x + b * y + phase)
    for _ in range(6):
        (cx, cy), radius = random.uniform(0, 1, 2), random.uniform(0.05, 0.25)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = random.integers(0, 256, 3)
    picture += random.normal(0, 6, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype("uint8"))


def deep_png(pixels):
    """A PNG of 16 bits a channel, red, green and blue, which Pillow reads but does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind, content):
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write(folder, shapes=SHAPES, size=(120, 80)):
    """Writes all of them; returns their names."""
    names = []

    def save(name, picture, **how):
        picture.save(folder / name, **how)
        names.append(name)

    for number, (name, (width, height)) in enumerate(shapes.items()):
        save(f"{name}.png", drawn(width, height, number))
    photo = drawn(*size, 20)
    for mode in ("L", "LA", "P", "RGBA", "1"):
        save(f"mode-{mode}.png", photo.convert(mode))
    deep = numpy.asarray(photo.convert("L")).astype("uint16") * 257 + 90
    save("sixteen-bit-grey.png", Image.fromarray(deep))
    (folder / "sixteen-bit-colour.png").write_bytes(deep_png(numpy.asarray(photo).astype("uint16") * 257))
    names.append("sixteen-bit-colour.png")
    for name in ("webp", "gif", "bmp"):
        how = {"lossless": True} if name == "webp" else {}
        save(f"codec.{name}", photo, **how)
    for kind in ("4:4:4", "4:2:2", "4:2:0"):
        save(f"jpeg-{kind.replace(':', '')}.jpg", photo, quality=90, subsampling=kind)
    save("jpeg-progressive.jpg", photo, quality=85, progressive=True)
    save("jpeg-grey.jpg", photo.convert("L"), quality=90)
    save("jpeg-cmyk.jpg", photo.convert("CMYK"), quality=95)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        save(f"orientation-{turn}.jpg", photo, quality=90, subsampling="4:4:4", exif=exif)
    return names
