"""From a decoded picture of any mode to opaque RGB, a band of rows at a time, so that a whole copy never exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from crosslens.ingest.sources.formats.orientation import turned
from crosslens.ingest.sources.formats.samples import Array, Span, lab_to_rgb, span

_BAND_PIXELS = 1 << 18


def bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield (first row, end) of bands that each take little memory."""
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


def finished(image: Image.Image, orientation: int | None) -> Image.Image:
    """Return ``image`` turned and flattened. It is consumed: each copy is freed as soon as the next one is made."""
    upright = turned(image, orientation)
    if upright is not image:
        image.close()
    shown = flat(upright)
    if shown is not upright:
        upright.close()
    return shown


def flat(image: Image.Image) -> Image.Image:
    """Return ``image`` as opaque RGB, or itself where it already is: transparency on white, wide samples scaled."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    convert = _conversion(image)
    width, height = image.size
    out = Image.new("RGB", image.size)
    for top, end in bands(width, height):
        out.paste(convert(image.crop((0, top, width, end))), (0, top))
    return out


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    mode = image.mode
    clear = image.info.get("transparency")
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _scaling(image, clear if isinstance(clear, int) else None)
    if mode == "LAB":
        return _from_lab
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or clear is not None:
        return _on_white
    return lambda part: part.convert("RGB")


def _on_white(part: Image.Image) -> Image.Image:
    # Premultiplied modes convert to RGBA in one step as well.
    layer = part.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _scaling(image: Image.Image, clear: int | None) -> Callable[[Image.Image], Image.Image]:
    """Return a scaling conversion: Pillow's own clips wide samples, which turns 16-bit pictures white."""
    parts = (np.asarray(image.crop((0, top, image.width, end))) for top, end in bands(*image.size))
    if image.mode == "F":
        scale: Span = span("float", 32, image.width * image.height, parts)
    elif image.mode == "I":
        scale = span("signed", 32, image.width * image.height, parts)
    else:
        scale = Span(0.0, 65535.0)

    def convert(part: Image.Image) -> Image.Image:
        samples: Array = np.asarray(part)
        eight = scale.eight(samples)
        if clear is not None:
            eight[samples == clear] = 255
        return Image.fromarray(eight).convert("RGB")

    return convert


def _from_lab(part: Image.Image) -> Image.Image:
    channels = np.asarray(part)
    signed = channels[..., 1:].astype(np.int8).astype(np.float32)
    lab = np.concatenate([channels[..., :1].astype(np.float32) * (100 / 255), signed], -1)
    return Image.fromarray(lab_to_rgb(lab))
