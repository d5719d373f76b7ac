"""Writing TIFFs of any kind of samples, as few programs do."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Tags = dict[int, tuple[int, ...]]


def tiff(
    samples: NDArray[Any],
    photometric: int,
    *,
    bits: int = 0,
    order: Literal["<", ">"] = "<",
    planar: bool = False,
    rows: int = 0,
    tile: int = 0,
    packed: bool = False,
    predictor: int = 1,
    tags: Mapping[int, tuple[int, ...]] | None = None,
) -> bytes:
    """A TIFF of samples [h, w] or [h, w, n]; ``rows`` a strip (0: one strip), or square tiles of ``tile``.

    ``bits`` other than the array's are packed. ``packed`` means deflate, with ``predictor`` 1, 2 or 3. ``tags`` are
    further ones, or others, of 16 bits each.
    """
    array = samples if samples.ndim == 3 else samples[..., None]
    height, width, count = array.shape
    bits = bits or array.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    planes = [array[..., i : i + 1] for i in range(count)] if planar else [array]
    pieces = []
    for plane in planes:
        if tile:
            blocks = [_padded(plane, y, x, tile) for y in range(0, height, tile) for x in range(0, width, tile)]
        else:
            blocks = [plane[y : y + (rows or height)] for y in range(0, height, rows or height)]
        pieces += [_encoded(block, bits, order, predictor) for block in blocks]
    if packed:
        pieces = [zlib.compress(piece) for piece in pieces]
    entries: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * count),
        259: ("H", (8 if packed else 1,)),
        262: ("H", (photometric,)),
        277: ("H", (count,)),
        284: ("H", (2 if planar else 1,)),
        317: ("H", (predictor,)),
        339: ("H", (kind,) * count),
    }
    starts = tuple(8 + sum(map(len, pieces[:i])) for i in range(len(pieces)))
    lengths = tuple(map(len, pieces))
    if tile:
        entries |= {322: ("I", (tile,)), 323: ("I", (tile,)), 324: ("I", starts), 325: ("I", lengths)}
    else:
        entries |= {273: ("I", starts), 278: ("I", (rows or height,)), 279: ("I", lengths)}
    entries |= {tag: ("H", value) for tag, value in (tags or {}).items()}
    return _file(b"".join(pieces), entries, order)


def _padded(plane: NDArray[Any], y: int, x: int, tile: int) -> NDArray[Any]:
    part = plane[y : y + tile, x : x + tile]
    return np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)))


def _encoded(block: NDArray[Any], bits: int, order: Literal["<", ">"], predictor: int) -> bytes:
    size = block.dtype.itemsize
    if bits != size * 8:
        flat = block.reshape(block.shape[0], -1).astype(np.uint64)
        ones = (flat[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & 1
        return np.packbits(ones.astype(np.uint8).reshape(block.shape[0], -1), axis=1).tobytes()
    if predictor == 2:
        block = block.copy()
        block[:, 1:] -= block[:, :-1].copy()
    if predictor == 3:
        high_first = block.astype(block.dtype.newbyteorder(">")).reshape(block.shape[0], -1)
        spread = high_first.view(np.uint8).reshape(*high_first.shape, size).transpose(0, 2, 1)
        spread = np.ascontiguousarray(spread).reshape(block.shape[0], -1, block.shape[2]).copy()
        spread[:, 1:] -= spread[:, :-1].copy()
        return spread.tobytes()
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def _file(body: bytes, entries: Mapping[int, tuple[str, tuple[int, ...]]], order: str) -> bytes:
    start = 8 + len(body) + len(body) % 2
    beyond, directory, outside = start + 2 + 12 * len(entries) + 4, b"", b""
    for tag, (letter, values) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        directory += struct.pack(f"{order}HHI", tag, 3 if letter == "H" else 4, len(values))
        if len(content) <= 4:
            directory += content.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", beyond + len(outside))
            outside += content + b"\0" * (len(content) % 2)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}I", start) + body.ljust(start - 8, b"\0")
    return head + struct.pack(f"{order}H", len(entries)) + directory + b"\0\0\0\0" + outside
