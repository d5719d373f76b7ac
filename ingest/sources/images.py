"""Opening images of unknown origin: the result is an upright, opaque RGB picture, or an `ImageError`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import bmp, jpeg, optional, orientation, plain, png, tiff
from crosslens.ingest.sources.formats.common import MAX_PIXELS, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import flat
from crosslens.ingest.sources.formats.naming import FORMATS, cut_off, description, format_of
from crosslens.ingest.sources.formats.remarks import remarks
from crosslens.ingest.sources.memory import PICTURES

_T = TypeVar("_T")
ImageSource = Path | str | bytes | Image.Image | NDArray[np.uint8]

_ARRAYS = "give uint8 [h, w], [h, w, 3] or [h, w, 4]"

__all__ = ["MAX_PIXELS", "ImageSource", "PictureRules", "open_image", "opened", "to_rgb"]


def open_image(source: ImageSource, *, target: int = 0, rules: PictureRules | None = None) -> Image.Image:
    """Return the picture in ``source`` as `opened` does, but count its memory in the budget only while decoding."""
    with opened(source, target=target, rules=rules) as picture:
        return picture


@contextlib.contextmanager
def opened(source: ImageSource, *, target: int = 0, rules: PictureRules | None = None) -> Iterator[Image.Image]:
    """Open the picture in ``source``: a path, encoded bytes, a PIL image, or uint8 [h, w], [h, w, 3] or [h, w, 4].

    The orientation from EXIF or XMP is applied, transparency is laid on white, wide samples are scaled, and an
    animation yields its first frame. JPEG is decoded at a reduced size where that leaves both sides at least twice
    ``target`` pixels (0: never). Within the block its memory counts in the budget of
    `crosslens.ingest.sources.memory`; the thread must not open another picture meanwhile.

    Raises `ImageError` for a missing, empty, corrupt or truncated file, an unsupported format, or more pixels than
    ``rules`` allow, which are counted before decoding.
    """
    if isinstance(source, np.ndarray):
        yield to_rgb(_from_array(source))
        return
    if isinstance(source, Image.Image):
        yield to_rgb(source)
        return
    data = source if isinstance(source, bytes) else _read(Path(source))
    rules = rules or PictureRules()
    named = rules.name or (f"{len(data):,} bytes" if isinstance(source, bytes) else str(source))
    rules = replace(rules, name=named)
    kind = format_of(data)
    with remarks(named) as said:
        pending = _explained(lambda: _started(data, kind, target, rules), data, kind, rules, said)
        if pending.width * pending.height > rules.max_pixels:
            raise ImageError(
                f"{named}: {pending.width} x {pending.height} pixels are more than the {rules.max_pixels:,} allowed",
                parameter="max_pixels",
            )
        with PICTURES.taken(pending.memory):
            yield _explained(pending.load, data, kind, rules, said)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an upright, opaque RGB copy of ``image``, whatever its mode."""
    # The image object's own metadata may be newer than the bytes that it was read from.
    try:
        turn = image.getexif().get(0x0112)
    except Exception:  # noqa: BLE001 - a malformed block only costs the orientation
        exif = image.info.get("exif")
        turn = orientation.of_exif(exif) if isinstance(exif, bytes) else None
    image.load()
    upright = orientation.turned(flat(image), turn if isinstance(turn, int) else None)
    return upright.copy() if upright is image else upright


def _started(data: bytes, kind: str | None, target: int, rules: PictureRules) -> Pending:
    match kind:
        case None:
            raise ImageError(_unknown(data, rules.name))
        case "PNG":
            return png.start(data, target, rules)
        case "BMP":
            return bmp.start(data, target, rules)
        case "JPEG":
            return jpeg.start(data, target, rules)
        case "TIFF":
            return tiff.start(data, target, rules)
        case "HEIF":
            return optional.start_heif(data, target, rules)
        case "SVG":
            return optional.start_svg(data, target, rules)
    return plain.start(kind, data, rules)


def _unknown(data: bytes, name: str) -> str:
    if not data:
        return f"{name}: the file is empty"
    return f"{name}: not an image in a supported format but {description(data)} (read are {', '.join(FORMATS)})"


def _explained(step: Callable[[], _T], data: bytes, kind: str | None, rules: PictureRules, said: list[str]) -> _T:
    """Return the result of ``step``, turning any exception other than `ImageError` into one."""
    # Pillow's decoders raise almost anything on hostile input (SyntaxError, struct.error, IndexError, ...).
    try:
        return step()
    except ImageError:
        raise
    except Exception as error:
        if kind and cut_off(data, kind):
            reason = f"the {kind} is cut off after {len(data):,} bytes, as half a download is"
        else:
            what = "; ".join([f"{type(error).__name__}: {error}", *said[:1]])
            reason = f"damaged {kind} ({' '.join(what.split())})"
        raise ImageError(f"{rules.name}: can't be decoded: {reason}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except OSError as error:
        raise ImageError(f"{path}: can't be read ({error.strerror or error})") from error


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"an array of {array.dtype} {list(array.shape)} is not an image; {_ARRAYS}")
    if array.size == 0:
        raise ImageError(f"an array of shape {list(array.shape)} has no pixels")
    return Image.fromarray(array)
