"""A TIFF's samples of any width, sign and arrangement, from libtiff's decompressed bytes to an RGB picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import tiff_tags
from crosslens.ingest.sources.formats.flat import bands
from crosslens.ingest.sources.formats.samples import Array, Bytes, Kind, Span, lab_to_rgb, over_white, span
from crosslens.ingest.sources.formats.tiff_strips import Strips
from crosslens.ingest.sources.formats.tiff_tags import Tags

# LZW, deflate (twice), LZMA and Zstandard, which may follow a predictor.
_PREDICTED = {5, 8, 32946, 34925, 50000}
_COLOUR_SAMPLES = {2: 3, 5: 4, 6: 3, 8: 3, 9: 3}
_ASSOCIATED, _UNASSOCIATED, _COREL = 1, 2, 999
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Layout:
    """How pixels are stored. ``planar``: each sample has its own plane. ``order`` as in `struct`."""

    width: int
    height: int
    bits: int
    kind: Kind
    photometric: int
    samples: int
    planar: bool
    compression: int
    predictor: int
    extra: tuple[int, ...]
    colours: tuple[int, ...]
    order: str

    @property
    def colour_samples(self) -> int:
        """Return how many of a pixel's samples hold its colour."""
        return _COLOUR_SAMPLES.get(self.photometric, 1)

    @property
    def opacity(self) -> int | None:
        """Return the index of the opacity sample, or None. Extra samples of unspecified meaning don't count.

        A fourth sample that the file doesn't mention does, as for most other readers.
        """
        if self.photometric == 2 and self.samples == 4 and not self.extra:
            return 3
        for i, meaning in enumerate(self.extra[: self.samples - self.colour_samples]):
            if meaning in (_ASSOCIATED, _UNASSOCIATED, _COREL):
                return self.colour_samples + i
        return None

    @property
    def premultiplied(self) -> bool:
        """Return whether colours are multiplied by the opacity."""
        at = self.opacity
        return at is not None and self.extra[at - self.colour_samples : at - self.colour_samples + 1] == (_ASSOCIATED,)

    @property
    def used(self) -> tuple[int, ...]:
        """Return the samples that make up the picture: the colour's, and the opacity."""
        at = self.opacity
        return (*range(self.colour_samples), *(() if at is None else (at,)))


class Planes:
    """The samples of a TIFF, in bands of rows. Unused planes are not decompressed."""

    def __init__(self, data: bytes, tags: Tags, layout: Layout):
        self._layout = layout
        self._in_row = 1 if layout.planar else layout.samples
        tiled = tiff_tags.TILE_OFFSETS in tags.values
        self._part = tags.one(tiff_tags.TILE_WIDTH) if tiled else layout.width
        if self._part < 1:
            raise ImageError("can't be decoded: the TIFF's tiles have no size")
        self._part_bytes = ceil(self._part * self._in_row * layout.bits / 8)
        self._parts = ceil(layout.width / self._part)
        self._predictor = layout.predictor if layout.compression in _PREDICTED else 1
        self._check()
        self._strips = [
            Strips(
                data,
                tags,
                height=layout.height,
                part_bytes=self._part_bytes,
                parts=self._parts,
                plane=plane,
                planes=layout.samples if layout.planar else 1,
            )
            for plane in (layout.used if layout.planar else (0,))
        ]

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a row in all decompressed planes."""
        return self._part_bytes * self._parts * (len(self._layout.used) if self._layout.planar else 1)

    def read_as(self, kind: Kind) -> None:
        """Interpret the samples as another kind."""
        self._layout = replace(self._layout, kind=kind)

    def _check(self) -> None:
        layout = self._layout
        wholes = layout.bits in (8, 16, 32, 64)
        if self._predictor not in (1, 2, 3) or (self._predictor == 2 and not wholes):
            raise ImageError(f"a TIFF with predictor {layout.predictor} and {layout.bits}-bit samples is not read")
        if self._predictor == 3 and layout.kind != "float":
            raise ImageError("a TIFF with a predictor for floats, but without floats, is not read")
        if self.row_bytes * layout.height > _MOST_BYTES:
            raise ImageError(f"a TIFF of more than {_MOST_BYTES >> 30} GB of samples is not read")

    def __iter__(self) -> Iterator[tuple[int, Array]]:
        """Yield (first row, samples [rows, width, `Layout.used`]) of bands, in order."""
        done = 0
        for groups in zip(*self._strips, strict=True):
            for top, end in bands(self._layout.width * self._layout.samples, groups[0].shape[0]):
                parts = [self._of_plane(group[top:end]) for group in groups]
                yield done + top, np.concatenate(parts, -1) if self._layout.planar else parts[0][..., self._layout.used]
            done += groups[0].shape[0]

    def _of_plane(self, rows: Bytes) -> Array:
        layout, height = self._layout, rows.shape[0]
        # Tiles, and the predictor within them, end where the next one begins.
        parts = rows.reshape(height, self._parts, self._part_bytes)
        if self._predictor == 3:
            parts = self._without_float_predictor(parts)
            numbers = parts.view(f">f{layout.bits // 8}").reshape(height, self._parts, self._part, self._in_row)
        else:
            numbers = self._values(parts).reshape(height, self._parts, self._part, self._in_row)
            if self._predictor == 2:
                numbers = np.cumsum(numbers, axis=2, dtype=numbers.dtype.newbyteorder("="))
        if layout.kind == "float" and self._predictor != 3:
            numbers = np.ascontiguousarray(numbers).view(numbers.dtype.str.replace("u", "f"))
        elif layout.kind == "signed":
            numbers = _signed(numbers, layout.bits)
        return numbers.reshape(height, self._parts * self._part, self._in_row)[:, : layout.width]

    def _values(self, parts: Bytes) -> Array:
        """Return unsigned numbers of any width."""
        bits, count = self._layout.bits, self._part * self._in_row
        if bits in (8, 16, 32, 64):
            return np.ascontiguousarray(parts).view(f"{self._layout.order}u{bits // 8}")
        if bits == 24:
            three = parts.reshape(*parts.shape[:2], count, 3).astype(np.uint32)
            high, low = (0, 2) if self._layout.order == ">" else (2, 0)
            whole: Array = three[..., high] << 16 | three[..., 1] << 8 | three[..., low]
            return whole
        if bits > 32:
            raise ImageError(f"a TIFF of {bits}-bit samples is not read")
        # With odd widths, bits are packed with the highest first, whatever the byte order.
        single = np.unpackbits(parts, axis=-1)[..., : count * bits].reshape(*parts.shape[:2], count, bits)
        numbers: Array = np.zeros(single.shape[:-1], np.uint32)
        for i in range(bits):
            numbers = numbers << 1 | single[..., i]
        return numbers.astype(np.uint16) if bits < 16 else numbers

    def _without_float_predictor(self, parts: Bytes) -> Bytes:
        """Undo predictor 3: bytes are differences, grouped by significance with the highest of all samples first."""
        height, count, size = parts.shape
        width, wide = self._part, self._layout.bits // 8
        summed = np.cumsum(parts.reshape(height, count, -1, self._in_row), axis=2, dtype=np.uint8)
        planes = summed.reshape(height, count, wide, width * self._in_row)
        return np.ascontiguousarray(planes.transpose(0, 1, 3, 2)).reshape(height, count, size)


def assembled(planes: Planes, layout: Layout) -> Image.Image:
    """Return the RGB picture, with a first pass over the samples where their span or another property is in doubt."""
    if layout.kind == "signed" and _unsigned_after_all(planes, layout.bits):
        layout = replace(layout, kind="unsigned")
        planes.read_as("unsigned")
    colours = slice(0, layout.colour_samples)
    count = layout.width * layout.height * layout.colour_samples
    scale = span(layout.kind, layout.bits, count, (numbers[..., colours] for _, numbers in planes))
    palette = _palette(layout)
    # A fully invisible picture is implausible: a sample that is zero everywhere isn't the opacity.
    opaque = layout.opacity is None or not (layout.extra or any(numbers[..., -1].any() for _, numbers in planes))
    out = None
    for top, numbers in planes:
        # Allocate only after the first strip, which may be the whole picture.
        out = out or Image.new("RGB", (layout.width, layout.height))
        eight = _colours(numbers, layout, scale, palette)
        if not opaque:
            eight = over_white(eight, _opacity(numbers[..., -1], layout), premultiplied=layout.premultiplied)
        if eight.shape[-1] == 1:
            eight = np.repeat(eight, 3, -1)
        out.paste(Image.fromarray(eight), (0, top))
    assert out is not None  # a picture has rows
    return out


def _unsigned_after_all(planes: Planes, bits: int) -> bool:
    """Return whether samples marked as signed make a smoother picture unsigned, as some writers store them."""
    rough = plain = 0.0
    for _, numbers in planes:
        signed = numbers.astype(np.float64)
        unsigned = np.where(signed < 0, signed + 2.0**bits, signed)
        rough += float(np.abs(np.diff(signed, axis=1)).sum())
        plain += float(np.abs(np.diff(unsigned, axis=1)).sum())
    return plain * 1.5 < rough


def _colours(numbers: Array, layout: Layout, scale: Span, palette: Bytes | None) -> Bytes:
    if palette is not None:
        return palette[numbers[..., 0]]
    used = numbers[..., : layout.colour_samples]
    if layout.photometric in (8, 9):
        return lab_to_rgb(_lab(used, layout))
    if layout.kind == "unsigned" and 8 < layout.bits <= 16 and layout.colour_samples > 1:
        # As for 16-bit colours in PNG, the lower bits are dropped.
        eight: Bytes = (used >> (layout.bits - 8)).astype(np.uint8)
    else:
        eight = scale.eight(used)
    if layout.photometric == 0:
        return 255 - eight
    if layout.photometric == 5:
        left = (255 - eight).astype(np.uint16)
        inks: Bytes = ((left[..., :3] * left[..., 3:].astype(np.uint32) + 127) // 255).astype(np.uint8)
        return inks
    if layout.photometric == 6:
        shape = eight.shape[:2][::-1]
        return np.asarray(Image.frombytes("YCbCr", shape, eight.tobytes()).convert("RGB"))
    return eight


def _opacity(numbers: Array, layout: Layout) -> Bytes:
    if layout.kind == "float":
        return Span(0.0, 1.0 if float(np.nanmax(numbers, initial=0)) <= 1 else 255.0).eight(numbers)
    bits = layout.bits - (layout.kind == "signed")
    return Span(0.0, float((1 << bits) - 1)).eight(numbers)


def _lab(numbers: Array, layout: Layout) -> Array:
    """Return L (0 to 100), a and b. Photometric 8 stores a and b signed, 9 (ICC) with an offset."""
    if layout.kind == "float":
        return numbers.astype(np.float32)
    if layout.bits not in (8, 16):
        raise ImageError(f"a TIFF of CIELAB with {layout.bits}-bit samples is not read")
    step = 1 << (layout.bits - 8)
    offset = 0 if layout.photometric == 8 else 128 * step
    full = 65280.0 if layout.bits == 16 and offset else float((1 << layout.bits) - 1)
    raw = numbers.view(f"u{layout.bits // 8}") if numbers.dtype.isnative else numbers.astype(f"u{layout.bits // 8}")
    light = raw[..., :1].astype(np.float32) * np.float32(100 / full)
    if offset:
        chroma = (raw[..., 1:].astype(np.float32) - offset) / step
    else:
        chroma = raw[..., 1:].astype(f"i{layout.bits // 8}").astype(np.float32) / step
    return np.concatenate([light, chroma], -1)


def _palette(layout: Layout) -> Bytes | None:
    """Return RGB by index, from 16 bits a sample unless all are so small that 8 were meant."""
    if layout.photometric != 3:
        return None
    size = 1 << layout.bits
    colours = np.array(layout.colours[: 3 * size], np.uint32).reshape(3, size).T
    eight: Bytes = (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)
    return eight


def _signed(numbers: Array, bits: int) -> Array:
    if bits in (8, 16, 32, 64):
        return np.ascontiguousarray(numbers).view(numbers.dtype.str.replace("u", "i"))
    wide = numbers.astype(np.int64)
    signed: Array = np.where(wide >= 1 << (bits - 1), wide - (1 << bits), wide)
    return signed
