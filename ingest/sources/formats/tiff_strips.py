"""A TIFF's strips and tiles, decompressed to the bytes of whole rows, some rows at a time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from itertools import accumulate
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import tiff_tags
from crosslens.ingest.sources.formats.tiff_tags import Tags

Bytes = NDArray[np.uint8]

_NONE, _DEFLATE = 1, (8, 32946)
# Compressions that know nothing of samples; LZW, PackBits, LZMA and Zstandard are libtiff's.
BYTEWISE = {_NONE, *_DEFLATE, 5, 32773, 34925, 50000}
_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))
_GROUP_BYTES = 16 << 20
_FED = 16 << 10
# libtiff's bytes arrive as a grey picture, and Pillow doesn't accept a larger one.
_MOST_IN_PICTURE = 170_000_000


class Strips:
    """The rows of one plane as stored: ``part_bytes`` of each tile (or of the strip) side by side."""

    def __init__(self, data: bytes, tags: Tags, *, height: int, part_bytes: int, parts: int, plane: int, planes: int):
        self._data, self._height = data, height
        self._part_bytes, self._parts = part_bytes, parts
        self._compression = tags.one(tiff_tags.COMPRESSION, 1)
        self._reversed = tags.one(tiff_tags.FILL_ORDER, 1) == 2
        self.tiled = tiff_tags.TILE_OFFSETS in tags.values
        if self.tiled:
            self._rows = tags.one(tiff_tags.TILE_HEIGHT)
            offsets, counts = tags.all(tiff_tags.TILE_OFFSETS), tags.all(tiff_tags.TILE_COUNTS)
        else:
            self._rows = min(tags.one(tiff_tags.ROWS_PER_STRIP, height) or height, height)
            offsets, counts = tags.all(tiff_tags.STRIP_OFFSETS), tags.all(tiff_tags.STRIP_COUNTS)
        if self._rows < 1 or part_bytes < 1:
            raise ImageError("can't be decoded: the TIFF's strips or tiles have no size")
        wanted = ceil(height / self._rows) * parts
        if len(offsets) < wanted * planes:
            raise ImageError(f"can't be decoded: the TIFF has {len(offsets)} of {wanted * planes} strips or tiles")
        here = slice(plane * wanted, (plane + 1) * wanted)
        self._offsets = offsets[here]
        self._counts = counts[here] if len(counts) == len(offsets) else (len(data),) * wanted

    def __iter__(self) -> Iterator[Bytes]:
        """Yield the rows in order, in groups of a few megabytes or of one strip."""
        units = max(1, _GROUP_BYTES // (self._rows * self._part_bytes * self._parts))
        for first in range(0, ceil(self._height / self._rows), units):
            top = first * self._rows
            height = min(self._height - top, units * self._rows)
            chosen = slice(first * self._parts, (first + ceil(height / self._rows)) * self._parts)
            pieces = [
                self._data[at : at + n] for at, n in zip(self._offsets[chosen], self._counts[chosen], strict=True)
            ]
            if self._compression == _NONE or self._compression in _DEFLATE:
                yield self._put_together(pieces, height)
            else:
                yield self._by_libtiff(pieces, height)

    def _put_together(self, pieces: list[bytes], height: int) -> Bytes:
        if len(pieces) == 1 and not self.tiled:
            return self._plain(pieces[0], height)
        group = np.zeros((ceil(height / self._rows) * self._rows, self._parts, self._part_bytes), np.uint8)
        for i, piece in enumerate(pieces):
            top = i // self._parts * self._rows
            # The last strip has only the remaining rows; a tile always has all of its rows.
            rows = self._rows if self.tiled else min(self._rows, height - top)
            group[top : top + rows, i % self._parts] = self._plain(piece, rows)
        return group[:height].reshape(height, self._parts * self._part_bytes)

    def _plain(self, piece: bytes, rows: int) -> Bytes:
        wanted = rows * self._part_bytes
        if self._reversed:
            piece = piece.translate(_REVERSED)
        plain = memoryview(piece)[:wanted] if self._compression == _NONE else _inflated(piece, wanted)
        if len(plain) < wanted:
            raise ImageError("can't be decoded: a strip or tile of the TIFF is cut off")
        return np.frombuffer(plain, np.uint8).reshape(rows, self._part_bytes)

    def _by_libtiff(self, pieces: list[bytes], height: int) -> Bytes:
        """Decompress the pieces as a small TIFF that declares their bytes as the samples of a grey picture."""
        width = self._parts * self._part_bytes
        if width * height > _MOST_IN_PICTURE:
            raise ImageError("a TIFF with so large a strip under this compression is not read")
        starts = (8, *accumulate((len(piece) for piece in pieces), initial=8))[1:-1]
        named: dict[int, tuple[int, ...]] = {
            tiff_tags.WIDTH: (width,),
            tiff_tags.HEIGHT: (height,),
            tiff_tags.BITS: (8,),
            tiff_tags.COMPRESSION: (self._compression,),
            tiff_tags.PHOTOMETRIC: (1,),
            tiff_tags.SAMPLES: (1,),
            tiff_tags.FILL_ORDER: (2 if self._reversed else 1,),
        }
        if self.tiled:
            named |= {tiff_tags.TILE_WIDTH: (self._part_bytes,), tiff_tags.TILE_HEIGHT: (self._rows,)}
            named |= {tiff_tags.TILE_OFFSETS: starts, tiff_tags.TILE_COUNTS: tuple(map(len, pieces))}
        else:
            named |= {tiff_tags.ROWS_PER_STRIP: (self._rows,)}
            named |= {tiff_tags.STRIP_OFFSETS: starts, tiff_tags.STRIP_COUNTS: tuple(map(len, pieces))}
        body = b"".join([b"II*\0" + struct.pack("<I", 0), *pieces])
        little = Tags("<", {}, {})
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(tiff_tags.with_directory(body, little, named)))
        image.load()
        return np.asarray(image)


def _inflated(piece: bytes, wanted: int) -> memoryview:
    """Return at most ``wanted`` bytes, decompressed incrementally so that they are held only once."""
    whole, size = bytearray(wanted), 0
    stream = zlib.decompressobj()
    for at in range(0, len(piece), _FED):
        if size == wanted or stream.eof:
            break
        part = stream.decompress(piece[at : at + _FED], wanted - size)
        whole[size : size + len(part)] = part
        size += len(part)
    return memoryview(whole)[:size]
