"""A TIFF's first directory: the tags that its pixels need, read defensively, and rewritten without the others.

Sources: TIFF 6.0 (Adobe, 1992); TIFF Technical Note 3 (floating-point predictor); the BigTIFF design of libtiff.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from crosslens.errors import ImageError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 317, 320, 322, 323, 324, 325
INK_SET, EXTRA, SAMPLE_FORMAT, SUBSAMPLING, XMP = 332, 338, 339, 530, 700
# T4 and T6 options, JPEG tables, and the definition of YCbCr.
_FOR_DECODERS = {292, 293, 347, 512, 513, 514, 519, 520, 521, 529, 531, 532}
_NEEDED = _FOR_DECODERS | {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP),
    *(STRIP_COUNTS, PLANAR, PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, INK_SET, EXTRA),
    *(SAMPLE_FORMAT, SUBSAMPLING, XMP),
}
# Size in bytes and struct format letter, by TIFF type; ASCII and undefined count as bytes.
_TYPES = {1: (1, "B"), 2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 5: (8, "II"), 6: (1, "b"), 7: (1, "s"), 8: (2, "h")}
_TYPES |= {9: (4, "i"), 10: (8, "ii"), 11: (4, "f"), 12: (8, "d"), 13: (4, "I"), 16: (8, "Q"), 17: (8, "q")}
_MOST_ENTRIES = 4096
_MOST_VALUES = 4 << 20

Value = tuple[int, ...]


@dataclass(frozen=True)
class Tags:
    """The directory: integers by tag in ``values``, unconverted bytes and rationals in ``raw`` (with their type)."""

    order: str
    values: dict[int, Value]
    raw: dict[int, tuple[int, int, bytes]]

    def one(self, tag: int, default: int = 0) -> int:
        """Return the first value of ``tag``."""
        found = self.values.get(tag)
        return found[0] if found else default

    def all(self, tag: int, default: Value = ()) -> Value:
        """Return the values of ``tag``."""
        return self.values.get(tag, default)


def read_tags(data: bytes) -> Tags:
    """Return the first directory of a TIFF or BigTIFF. Raises `ImageError` where it is missing.

    An entry that points outside the file, or has a type unknown to TIFF, is skipped.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        (start,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
        (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, start)
    except struct.error as error:
        raise ImageError("can't be decoded: the TIFF is cut off before its directory, or has none") from error
    entries, inline = start + (8 if big else 2), 8 if big else 4
    values: dict[int, Value] = {}
    raw: dict[int, tuple[int, int, bytes]] = {}
    for i in range(min(count, _MOST_ENTRIES)):
        at = entries + i * (20 if big else 12)
        if at + (20 if big else 12) > len(data):
            break
        tag, kind, number = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", data, at)
        if tag not in _NEEDED or kind not in _TYPES or tag in raw or not 0 < number <= _MOST_VALUES:
            continue
        size, letter = _TYPES[kind]
        at += 12 if big else 8
        if size * number > inline:
            (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, at)
        content = data[at : at + size * number]
        if len(content) < size * number:
            continue
        raw[tag] = (kind, number, content)
        if letter in "BHIQbhiq":
            values[tag] = struct.unpack(f"{order}{number}{letter}", content)
    return Tags(order, values, raw)


def with_directory(data: bytes, tags: Tags, changed: Mapping[int, Value]) -> bytes:
    """Return the file with a directory of ``changed`` and the tags that decoders need from ``tags``, and no others."""
    order = tags.order
    entries: dict[int, tuple[int, int, bytes]] = {}
    for tag, (kind, number, content) in tags.raw.items():
        if tag in changed or tag in (XMP, ORIENTATION):
            continue
        if tag in tags.values and kind in (16, 17):
            entries[tag] = _longs(order, tags.values[tag])
        else:
            entries[tag] = (kind, number, content)
    for tag, value in changed.items():
        entries[tag] = _longs(order, value)
    start = len(data) + len(data) % 2
    beyond = start + 2 + 12 * len(entries) + 4
    directory, outside = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, number, content) in sorted(entries.items()):
        directory += struct.pack(f"{order}HHI", tag, kind, number)
        if len(content) <= 4:
            directory += content.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", beyond + len(outside))
            outside += content + b"\0" * (len(content) % 2)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return b"".join([header, data[8:], b"\0" * (start - len(data)), directory, b"\0\0\0\0", outside])


def _longs(order: str, value: Value) -> tuple[int, int, bytes]:
    return 4, len(value), struct.pack(f"{order}{len(value)}I", *value)
