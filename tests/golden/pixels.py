"""Pictures and the pixels that are made of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.sources.images import open_image
from tests.golden import PICTURES, Line
from tests.ingest.kinds import every

_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
PREPROCESSORS: dict[str, Line] = {
    "demo": json.loads((DEMO_MODEL / "preprocessor_config.json").read_text(encoding="utf-8")),
    "stretched": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 20, "width": 28}, **_HALF},
    "enlarged": {"image_processor_type": "CLIPImageProcessor", "size": 100, "crop_size": 90, "do_center_crop": True}
    | _HALF,
    "padded": {"image_processor_type": "CLIPImageProcessor", "size": 10, "crop_size": 33, "do_center_crop": True}
    | {"resample": 2, **_HALF},
    "efficient": {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 21, "width": 17}}
    | {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": True, "resample": 1}
    | {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "plain": {"size": {"height": 16, "width": 16}, "do_rescale": False, "do_normalize": False, "resample": 0},
}
# The decoders of JPEG differ by a little, and by more where each has its own way to decode at a reduced size.
WITHIN: dict[str, float] = {"smooth.jpg": 0.015, "turned.jpg": 0.015, "large.jpg": 0.06, "xmp-attribute.jpg": 0.015}
# So do powers, in CIELAB.
WITHIN |= {"icc-lab.tiff": 0.015, "inks-jpeg.tiff": 0.015, "cmyk_adobe_ycck.jpg": 0.015}
# Of all kinds of samples and metadata some, by the names of `tests.ingest.kinds`.
KINDS = {
    "grey-12.tiff": "tiff, grey of 12 bits",
    "grey-24.tiff": "tiff, grey of 24 bits",
    "grey-32-of-16.tiff": "tiff, grey of 32 bits of 16",
    "signed-16.tiff": "tiff, grey of signed 16 bits",
    "called-signed.tiff": "tiff, grey of called signed",
    "half.tiff": "tiff, grey of half floats, predicted",
    "no-data.tiff": "tiff, grey of a float for no data",
    "white-is-zero-32.tiff": "tiff, white is zero, 32 bits",
    "tiles-16.tiff": "tiff, 16 bits, predicted in tiles",
    "planes-8.tiff": "tiff, 8 bits, big-endian, planar, deflated",
    "icc-lab.tiff": "tiff, icc lab",
    "inks-16.tiff": "tiff, inks, 257",
    "inks-jpeg.tiff": "tiff, inks, jpeg",
    "unspecified.tiff": "tiff, unspecified sample after colours, 1",
    "premultiplied.tiff": "tiff, premultiplied, 1",
    "palette-of-8.tiff": "tiff, palette, 1",
    "lzw.tiff": "tiff, tiff_lzw",
    "group-4.tiff": "tiff, black and white, group4",
    "565.bmp": "bmp, 565",
    "1555-clear.bmp": "bmp, 1555, all clear",
    "runs-4.bmp": "bmp, runs of 4 bits",
    "clear-4.png": "png, grey of 4 bits, one clear",
    "clear-16.png": "png, 16-bit colours with a clear one",
    "raw-profile.png": "png, packed exif profile",
    "xmp-attribute.jpg": "jpeg, xmp attribute",
    "xmp.webp": "webp, xmp",
    "interlaced.gif": "gif, interlaced",
    "canvas.gif": "gif, smaller than its canvas",
}


def _noise(width: int, height: int, channels: int = 3) -> Any:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _smooth(width: int, height: int) -> Image.Image:
    return Image.fromarray(_noise(7, 5)).resize((width, height), Image.Resampling.BICUBIC)


def _pictures() -> Iterator[tuple[str, Image.Image, Line]]:
    turned = Image.Exif()
    turned[0x112] = 6
    noise, alpha = Image.fromarray(_noise(50, 37)), Image.fromarray(_noise(40, 30, 4))
    wide = _noise(30, 40, 1)[:, :, 0].astype(np.uint16) * 257 + 99
    yield "dot.gif", Image.new("RGB", (1, 1), (15, 254, 62)), {}
    yield "noise.png", noise, {}
    yield "noise.bmp", noise.crop((0, 0, 21, 19)), {}
    yield "noise.tiff", noise.crop((0, 0, 30, 60)).convert("L"), {"compression": "tiff_lzw"}
    yield "noise.webp", noise, {"lossless": True}
    yield "alpha.png", alpha, {}
    yield "alpha.webp", alpha, {"lossless": True, "exact": True}
    yield "grey-alpha.png", alpha.convert("LA"), {}
    yield "palette.png", noise.convert("P", palette=Image.Palette.ADAPTIVE, colors=32), {"transparency": 5}
    yield "black-and-white.png", noise.convert("1"), {}
    yield "wide-grey.png", Image.fromarray(wide), {}
    yield "turned.png", noise, {"exif": turned}
    yield "tall.png", _smooth(9, 300), {}
    yield "smooth.jpg", _smooth(90, 70), {"quality": 95, "subsampling": 0}
    yield "turned.jpg", _smooth(90, 70), {"quality": 95, "subsampling": 2, "exif": turned}
    yield "large.jpg", _smooth(500, 420), {"quality": 80}


def draw() -> None:
    """Draws the pictures that aren't there; the files are what is golden, whatever a newer Pillow would write."""
    PICTURES.mkdir(exist_ok=True)
    for name, picture, how in _pictures():
        if not (PICTURES / name).exists():
            out = io.BytesIO()
            picture.save(out, Image.registered_extensions()[f".{name.rpartition('.')[2]}"], **how)
            (PICTURES / name).write_bytes(out.getvalue())
    kinds = every()
    for name, kind in KINDS.items():
        if not (PICTURES / name).exists():
            (PICTURES / name).write_bytes(kinds[kind])


def cases() -> Iterator[tuple[str, str]]:
    """Names of pictures and of preprocessors."""
    for path in sorted(PICTURES.iterdir()):
        yield path.name, "demo"
    for kind in PREPROCESSORS:
        if kind != "demo":
            yield "noise.png", kind
    yield "tall.png", "padded"
    yield "dot.gif", "enlarged"


def prepared(name: str, preprocessor: Line) -> tuple[Image.Image, Any]:
    """The picture, upright and opaque, and the tensor that is made of it."""
    transform = parse_transform(preprocessor)
    picture = open_image((PICTURES / name).read_bytes(), target=transform.resize_target)
    return picture, transform(picture)


def seen(name: str, preprocessor: Line) -> Line:
    """Facts of both: sha256 of the picture's bytes (RGB, row after row) and of the tensor's (float32, little-endian),
    unless decoders may differ (``within``); and some of the tensor's values, [channel, row, column, value]."""
    picture, tensor = prepared(name, preprocessor)
    channels, rows, columns = tensor.shape
    places = [
        (c, y * (rows - 1) // 3, x * (columns - 1) // 3) for c in range(channels) for y in range(4) for x in range(4)
    ]
    facts: Line = {
        "size": list(picture.size),
        "shape": [channels, rows, columns],
        "samples": [[*place, round(float(tensor[place]), 5)] for place in places],
    }
    if name in WITHIN:
        return {**facts, "within": WITHIN[name]}
    rgb = hashlib.sha256(picture.tobytes()).hexdigest()
    return {**facts, "within": 0, "rgb": rgb, "tensor": hashlib.sha256(tensor.astype("<f4").tobytes()).hexdigest()}


def recorded() -> list[Line]:
    draw()
    return [
        {"picture": name, "preprocessor": PREPROCESSORS[kind], **seen(name, PREPROCESSORS[kind])}
        for name, kind in cases()
    ]
