"""WebP, GIF, AVIF and ordinary BMP, as Pillow decodes them."""

from __future__ import annotations

import io

from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import orientation
from crosslens.ingest.sources.formats.common import FLAT_BYTES, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import finished


def start(kind: str, data: bytes, rules: PictureRules) -> Pending:
    """Read the header of a file in Pillow's format ``kind``."""
    Image.init()
    if kind not in Image.OPEN:
        raise ImageError(f"{rules.name}: {kind} is not read here, since this machine's Pillow has no decoder for it")
    # Not Image.open, which has its own limit of pixels and tries one format after the other.
    image = Image.OPEN[kind][0](io.BytesIO(data), "")
    width, height = image.size

    # What the first frame of a GIF leaves free, browsers show as transparent, and Pillow in the palette's first colour.
    covered = image.tile[0].extents if kind == "GIF" and image.tile else None
    covered = covered or (0, 0, width, height)
    whole = covered == (0, 0, width, height)

    def load() -> Image.Image:
        image.load()
        exif, xmp = image.info.get("exif"), image.info.get("xmp")
        turn = orientation.of_exif(exif) if isinstance(exif, bytes) else None
        if turn is None and isinstance(xmp, bytes):
            turn = orientation.of_xmp(xmp)
        picture = finished(image, turn)
        return picture if whole else _on_white(picture, covered)

    # Pillow's WebP decoder holds two canvases and a copy besides the picture.
    decoding = 16 if kind == "WEBP" or not whole else 8
    return Pending(width, height, width * height * (decoding + FLAT_BYTES) + len(data), load)


def _on_white(picture: Image.Image, covered: tuple[int, int, int, int]) -> Image.Image:
    """Return ``picture`` with white around the part that is ``covered``, (left, top, right, bottom)."""
    canvas = Image.new("RGB", picture.size, "white")
    canvas.paste(picture.crop(covered), covered)
    return canvas
