"""Pictures as patches of varying number, which Gemma's encoders read, as transformers' Gemma4ImageProcessor says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.ingest.model.transform import Float32Array, Pixels

# Where a patch lies, as two numbers of 16 bits behind its pixels; this is nowhere, of patches that fill up.
_PLACE, _NOWHERE = 4, 0xFFFF


@dataclass(frozen=True)
class PatchTransform:
    """Cuts a picture into squares of ``side`` pixels, resized so that ``tokens`` squares of ``pool`` x ``pool`` patches
    suffice, with about its aspect ratio."""

    side: int
    pool: int
    tokens: int
    resample: Image.Resampling
    scale: float

    @property
    def patches(self) -> int:
        """Return how many patches there are at most."""
        return self.tokens * self.pool**2

    @property
    def resize_target(self) -> int:
        """Return the longer side, in pixels, of pictures up to four times as wide as high."""
        return math.isqrt(4 * self.patches) * self.side

    def pixels(self, image: Image.Image) -> Pixels:
        """Return uint8 [patches, 3 * side * side + 4] of an RGB picture: each patch's pixels, and its place."""
        height, width = self._resized(image.height, image.width)
        if (width, height) != image.size:
            image = image.resize((width, height), self.resample)
        rows, columns, side = height // self.side, width // self.side, self.side
        patches = np.asarray(image).reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
        made = np.zeros((self.patches, 3 * side**2 + _PLACE), dtype=np.uint8)
        made[: rows * columns, :-_PLACE] = patches.reshape(rows * columns, -1)
        places = np.full((self.patches, 2), _NOWHERE, dtype="<u2")
        places[: rows * columns] = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        made[:, -_PLACE:] = places.view(np.uint8)
        return made

    def normalized(self, pixels: Pixels) -> tuple[Float32Array, NDArray[np.int64]]:
        """Return what the encoder reads of `pixels` [n, patches, ...]: float32 [n, patches, 3 * side * side], and the
        places int64 [n, patches, 2], across and down; -1 where there is no patch."""
        places = np.ascontiguousarray(pixels[..., -_PLACE:]).view("<u2").astype(np.int64)
        return pixels[..., :-_PLACE].astype(np.float32) * np.float32(self.scale), np.where(
            places == _NOWHERE, -1, places
        )

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) in pixels that a picture is resized to, whole squares of ``pool`` patches."""
        factor = math.sqrt(self.patches * self.side**2 / (height * width))
        square = self.pool * self.side
        down, across = int(factor * height / square) * square, int(factor * width / square) * square
        longest = self.tokens * square
        if down == 0:
            return square, min(width // height * square, longest)
        if across == 0:
            return min(height // width * square, longest), square
        return down, across
