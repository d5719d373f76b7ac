"""Opening images of unknown origin: what comes out is an upright, opaque RGB picture, or an `ImageError`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from crosslens.errors import ImageError

ImageSource = Path | str | bytes | Image.Image | NDArray[np.uint8]

# Formats whose decoders are in wide use; Pillow's others (EPS runs Ghostscript, FPX, ...) are not for strangers' files.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# As many pixels as Pillow itself accepts without a warning: about 256 MB as RGB.
MAX_PIXELS = 89_478_485
# Each scan of a JPEG goes over the whole picture, though it may take a few bytes of the file. Encoders that search for
# the best script of scans write fewer than these.
_MOST_SCANS = 100
_MOST_PIXELS_OF_SCANS = 2_000_000_000


def open_image(source: ImageSource, *, target: int = 0, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in ``source`` (a path, encoded bytes, a PIL image, or uint8 pixels [h, w], [h, w, 3] or [h, w, 4]).

    EXIF orientation is applied, transparency lies on white, 16-bit samples are scaled, an animation gives its first
    frame. JPEG is decoded at a reduced size where that leaves both sides at least twice ``target`` pixels (0: never).

    Raises `ImageError` for a missing, empty, corrupt or truncated file, a format not in `FORMATS`, or more than
    ``max_pixels`` pixels, which are counted before any is decoded.
    """
    if isinstance(source, np.ndarray):
        return to_rgb(_from_array(source))
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, str | Path):
        data = _read(Path(source))
        name = str(source)
    else:
        data, name = source, f"{len(source)} bytes"
    if not data:
        raise ImageError(f"{name}: the file is empty")
    # Pillow's decoders raise almost anything on hostile input (SyntaxError, struct.error, IndexError, ...).
    try:
        with Image.open(io.BytesIO(data), formats=_available_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(f"{name}: {width} x {height} pixels are more than the {max_pixels} allowed")
            scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 0
            if scans > _MOST_SCANS or scans * width * height > _MOST_PIXELS_OF_SCANS:
                raise ImageError(f"{name}: a JPEG of {scans} scans asks for more work than a picture is worth")
            if target and image.format in ("JPEG", "MPO"):
                image.draft(None, (2 * target, 2 * target))
            image.load()
            return to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image in a supported format ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: far too many pixels for its size ({error})") from error
    except Exception as error:
        raise ImageError(f"{name}: can't be decoded ({type(error).__name__}: {error})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright, opaque RGB copy of ``image``, whatever its mode."""
    # A crop or copy loses nothing here; a multi-frame image's current frame is its first unless the caller moved it.
    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode == "RGB" and "transparency" not in upright.info:
        return upright
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _scale_samples(upright).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        # Premultiplied modes convert to RGBA in one step too.
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return upright.convert("RGB")


def _scale_samples(image: Image.Image) -> Image.Image:
    """8-bit greys from wider samples; Pillow's own conversion clips them, which turns 16-bit pictures white."""
    samples = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        finite = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
        low, high = min(0.0, float(finite.min())), float(finite.max())
        full = 1.0 if high <= 1.0 else 255.0 if high <= 255.0 else high
        return Image.fromarray(((finite - low) * (255.0 / max(full - low, 1e-9))).clip(0, 255).astype(np.uint8))
    full = 255.0 if image.mode == "I" and samples.max(initial=0) <= 255 else 65535.0
    return Image.fromarray((samples * (255.0 / full)).round().clip(0, 255).astype(np.uint8))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except OSError as error:
        raise ImageError(f"{path}: can't be read ({error.strerror or error})") from error


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"an array of {array.dtype} {list(array.shape)} is not an image; give uint8 [h, w], [h, w, 3] or [h, w, 4]"
        )
    if array.size == 0:
        raise ImageError(f"an array of shape {list(array.shape)} has no pixels")
    return Image.fromarray(array)


def _available_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]
