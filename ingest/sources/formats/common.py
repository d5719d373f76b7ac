"""The interface of every decoder: a picture whose header was read, and how to decode it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

# As many pixels as Pillow itself accepts without a warning: about 350 MB once they are decoded.
MAX_PIXELS = 89_478_485
# Bytes per pixel that flattening and turning take, besides the decoder's own.
FLAT_BYTES = 4


def _nobody() -> None:
    """Ignore a truncated picture."""


@dataclass(frozen=True)
class PictureRules:
    """Which pictures are opened: those of at most ``max_pixels``, and with ``tolerate_truncated`` also a JPEG that
    lacks only its last rows. ``truncated`` is called for each such JPEG; errors name the picture as ``name``."""

    max_pixels: int = MAX_PIXELS
    tolerate_truncated: bool = False
    truncated: Callable[[], None] = _nobody
    name: str = ""


@dataclass(frozen=True)
class Pending:
    """A picture whose header was read.

    ``memory`` is the most bytes that decoding takes, besides the encoded data; ``load`` decodes to an upright, opaque
    RGB picture.
    """

    width: int
    height: int
    memory: int
    load: Callable[[], Image.Image]
