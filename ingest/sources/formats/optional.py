"""HEIC and SVG, read where the extra for them is installed."""

from __future__ import annotations

import io
from importlib.util import find_spec

from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import svg
from crosslens.ingest.sources.formats.common import FLAT_BYTES, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import flat


def start_heif(data: bytes, _target: int, rules: PictureRules) -> Pending:
    """Read the header of a HEIC or HEIF picture, with pillow-heif. The decoder applies its orientation."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(
            f"{rules.name}: a HEIC picture is not read without pillow-heif", hint="pip install 'crosslens[heif]'"
        ) from error
    picture = pillow_heif.open_heif(io.BytesIO(data))
    width, height = picture.size

    def load() -> Image.Image:
        decoded: Image.Image = picture.to_pillow()
        return flat(decoded)

    return Pending(width, height, width * height * (12 + FLAT_BYTES) + len(data), load)


def start_svg(data: bytes, target: int, rules: PictureRules) -> Pending:
    """Read an SVG's size, with resvg-py, and refuse one that refers to anything outside the file."""
    if find_spec("resvg_py") is None:
        raise ImageError(f"{rules.name}: an SVG is not read without resvg-py", hint="pip install 'crosslens[svg]'")
    try:
        text = svg.checked(data)
        width, height = svg.size(text, target)
    except ImageError as error:
        raise ImageError(f"{rules.name}: {error.message}") from error

    def load() -> Image.Image:
        try:
            image = Image.open(io.BytesIO(svg.drawn(text, width, height)), formats=["PNG"])
        except ImageError as error:
            raise ImageError(f"{rules.name}: {error.message}") from error
        image.load()
        return flat(image)

    return Pending(width, height, svg.MEMORY, load)
