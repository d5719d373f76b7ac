"""BMP with bit fields of any masks; Pillow decodes every other kind."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image

from crosslens.ingest.sources.formats import plain
from crosslens.ingest.sources.formats.common import FLAT_BYTES, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import bands
from crosslens.ingest.sources.formats.samples import Array, Bytes, over_white

_BIT_FIELDS = {3, 6}
_FIVE_BITS_EACH = (0x7C00, 0x3E0, 0x1F, 0)


@dataclass(frozen=True)
class _Fields:
    """A header whose pixels are numbers of ``bits`` with a mask for red, green, blue and opacity (0 for none)."""

    width: int
    height: int
    from_top: bool
    bits: int
    start: int
    masks: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Return the bytes per row; rows begin at multiples of four bytes."""
        return (self.width * self.bits // 8 + 3) // 4 * 4


def start(data: bytes, _target: int, rules: PictureRules) -> Pending:
    """Read the header."""
    fields = _fields(data)
    if fields is None or len(data) < fields.start + fields.row_bytes * fields.height:
        return plain.start("BMP", data, rules)
    memory = fields.width * fields.height * FLAT_BYTES + len(data)
    return Pending(fields.width, fields.height, memory, lambda: _decoded(data, fields))


def _fields(data: bytes) -> _Fields | None:
    if len(data) < 70:
        return None
    start, header, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if header < 40 or width < 1 or height == 0:
        return None
    if compression == 0 and bits == 16:
        return _Fields(width, abs(height), height < 0, bits, start, _FIVE_BITS_EACH)
    if compression not in _BIT_FIELDS or bits not in (16, 32):
        return None
    # The masks follow the oldest header, and are part of the later ones.
    opacity = header >= 56 or compression == 6
    masks = (*struct.unpack_from("<III", data, 54), struct.unpack_from("<I", data, 66)[0] if opacity else 0)
    return _Fields(width, abs(height), height < 0, bits, start, masks) if all(masks[:3]) else None


def _decoded(data: bytes, fields: _Fields) -> Image.Image:
    rows: Array = np.frombuffer(data, np.uint8, fields.row_bytes * fields.height, fields.start)
    pixels = rows.reshape(fields.height, fields.row_bytes)[:, : fields.width * fields.bits // 8]
    pixels = pixels if fields.from_top else pixels[::-1]
    edges = list(bands(fields.width, fields.height))
    opacity = fields.masks[3]
    if opacity and not any((_numbers(pixels[top:end], fields) & opacity).any() for top, end in edges):
        # A fully invisible picture is implausible: the bits must be unused.
        opacity = 0
    out = Image.new("RGB", (fields.width, fields.height))
    for top, end in edges:
        numbers = _numbers(pixels[top:end], fields)
        colours = np.stack([_sample(numbers, mask) for mask in fields.masks[:3]], -1)
        if opacity:
            colours = over_white(colours, _sample(numbers, opacity))
        out.paste(Image.fromarray(colours), (0, top))
    return out


def _numbers(pixels: Array, fields: _Fields) -> Array:
    return np.ascontiguousarray(pixels).view(f"<u{fields.bits // 8}")


def _sample(numbers: Array, mask: int) -> Bytes:
    """Return the bits of ``mask`` scaled to 8 bits, with all set as 255."""
    low = (mask & -mask).bit_length() - 1
    full = mask >> low
    values = ((numbers & mask) >> low).astype(np.uint64)
    eight: Bytes = ((values * 255 + full // 2) // full).astype(np.uint8)
    return eight
