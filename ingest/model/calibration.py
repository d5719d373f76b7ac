"""The texts and pictures over which a quantised encoder is compared with its float32 twin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from crosslens.errors import ExportError, ImageError
from crosslens.ingest.sources.images import ImageSource, opened

# A folder's are taken evenly from all that it holds.
MOST_TEXTS, MOST_IMAGES = 512, 256
# Recall among the first ten says little where there are hardly more.
LEAST = 40
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_MOST_BYTES = 64 << 20
_THINGS = ("cat", "dog", "running shoe", "red brick house", "bicycle", "bowl of soup", "mountain lake", "wrist watch")
_PHRASES = ("{}", "a photo of a {}", "{}, black and white", "buy {} online", "two of them: {} 42!", "ein {} für dich")
_COUNT = 48
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Calibration:
    """Texts and pictures like those that the model will encode; ``source`` says where they are from."""

    source: str
    texts: tuple[str, ...]
    images: tuple[ImageSource, ...]
    # How many pictures couldn't be read, and count for nothing.
    unreadable: int = 0


def default_calibration() -> Calibration:
    """Return texts and pictures made up here, for an export that is given none."""
    texts = tuple(phrase.format(thing) for thing, phrase in product(_THINGS, _PHRASES))
    return Calibration("built-in texts and pictures", texts, tuple(_drawings()))


def read_calibration(folder: Path) -> Calibration:
    """Return the lines of a folder's .txt files and its pictures, subfolders included; what lacks is made up.

    Raises `ExportError` where there are too few of both to measure anything by.
    """
    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder", hint="give one with pictures, texts (.txt) or both")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    texts: list[str] = []
    for path in files:
        if path.suffix.lower() == ".txt":
            with path.open(encoding="utf-8", errors="replace") as handle:
                lines = handle.read(_MOST_BYTES).splitlines()
            texts += [line.strip() for line in lines if line.strip()]
    pictures = [path for path in files if path.suffix.lower() in _PICTURES]
    return calibration_of(str(folder), texts, pictures)


def calibration_of(
    source: str, texts: Iterable[str], images: Iterable[ImageSource], *, unreadable: int = 0
) -> Calibration:
    """Return a sample of what is given, without repetitions and unreadable pictures; what lacks is made up.

    ``unreadable`` are pictures that already couldn't be read.

    Raises `ExportError` where there are too few of both.
    """
    words, chosen = _sample(list(dict.fromkeys(texts)), MOST_TEXTS), _sample(list(images), MOST_IMAGES)
    readable = [image for image in chosen if _opens(image)]
    if len(words) < LEAST and len(readable) < LEAST:
        raise ExportError(
            f"{source} has {len(words)} texts and {len(readable)} pictures, too few to measure by",
            hint=f"give at least {LEAST} texts or {LEAST} pictures",
            parameter="calibrate",
        )
    made = default_calibration()
    return Calibration(
        source,
        tuple(words) if len(words) >= LEAST else (*words, *made.texts),
        tuple(readable) if len(readable) >= LEAST else (*readable, *made.images),
        unreadable + len(chosen) - len(readable),
    )


def _sample(items: list[_Item], most: int) -> list[_Item]:
    step = max(len(items) / most, 1.0)
    return [items[int(i * step)] for i in range(min(most, len(items)))]


def _opens(image: ImageSource) -> bool:
    try:
        with opened(image):
            return True
    except ImageError:
        return False


def _drawings() -> list[Image.Image]:
    """Return reproducible pictures that differ as photographs do: in colours, light, coarse shapes and grain."""
    rng = np.random.default_rng(33)
    drawings = []
    for _ in range(_COUNT):
        width, height = (int(side) for side in rng.integers(160, 420, 2))
        coarse = rng.integers(0, 256, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(1, 9))):
            (x, y), (w, h) = rng.integers(0, (width, height)), rng.integers(10, (width, height))
            colour = tuple(int(c) for c in rng.integers(0, 256, 3))
            shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
            shape((int(x), int(y), int(x + w), int(y + h)), fill=colour)
        noise = rng.normal(0, rng.uniform(0, 20), (height, width, 3))
        drawings.append(Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)))
    return drawings
