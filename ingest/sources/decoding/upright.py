"""Pictures as they are meant to be seen: square pixels, turned and mirrored as the file says, and reduced."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Wider or narrower pixels than any format has are damage.
_STRANGEST = 8.0


def shown_size(stream: Any, frame: Any | None) -> tuple[int, int]:
    """Return the width and height, in square pixels, of a stream's upright pictures, of which ``frame`` is one."""
    size = stream.codec_context if frame is None else frame
    width, height = _square(size.width, size.height, _aspect(stream))
    turn = None if frame is None else _turn(frame)
    return (height, width) if turn is not None and turn[0] else (width, height)


def upright(frame: Any, stream: Any, side: int | None) -> NDArray[np.uint8]:
    """Return a frame as uint8 [h, w, 3], reduced to ``side`` pixels on the shorter side (None, or less: as it is)."""
    width, height = _square(frame.width, frame.height, _aspect(stream))
    if side is not None and min(width, height) > side:
        scale = side / min(width, height)
        width, height = max(side, round(width * scale)), max(side, round(height * scale))
    smaller = width < frame.width or height < frame.height
    reformed = frame.reformat(width, height, "rgb24", interpolation="AREA" if smaller else "BICUBIC")
    picture: NDArray[np.uint8] = reformed.to_ndarray()
    turn = _turn(frame)
    if turn is not None:
        transposed, flip_rows, flip_columns = turn
        if transposed:
            picture = picture.transpose(1, 0, 2)
        picture = picture[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.ascontiguousarray(picture)


def _square(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Return the size in square pixels, by reducing the longer dimension: no picture grows."""
    if aspect > 1:
        return width, max(1, round(height / aspect))
    return max(1, round(width * aspect)), height


def _aspect(stream: Any) -> float:
    found = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    aspect = float(found) if found else 1.0
    return aspect if 1 / _STRANGEST <= aspect <= _STRANGEST else 1.0


def _turn(frame: Any) -> tuple[bool, bool, bool] | None:
    """Return whether to transpose, flip rows and flip columns, by the frame's display matrix; None without one."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])
    except KeyError:
        return None
    return _by_matrix(data)


def _by_matrix(data: bytes) -> tuple[bool, bool, bool] | None:
    """Read a matrix a b u, c d v, x y w (ISO/IEC 14496-12, 6.2.2): column = a x + c y, row = b x + d y."""
    if len(data) < 36:
        return None
    a, b, _, c, d = struct.unpack("<5i", data[:20])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0
