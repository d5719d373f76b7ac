"""A small picture in many ways, and writing PNG, BMP, GIF and JPEG as few programs do."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

y, x = np.mgrid[0:48, 0:80]
RGB: Array = np.stack([127 + 120 * np.sin(x / 9), 40 + 2.0 * x, 220 - 3.0 * y], -1).clip(0, 255).astype(np.uint8)
RGB[16:32, 30:60] = (210, 30, 40)
GREY: Array = np.asarray(Image.fromarray(RGB).convert("L"))
CLEAR = np.zeros(GREY.shape, bool)
CLEAR[:, :30] = True
OPACITY = np.where(CLEAR, 0, 255).astype(np.uint8)
ON_WHITE = np.where(CLEAR[..., None], 255, RGB).astype(np.uint8)
INKS = np.dstack([255 - RGB, np.zeros_like(GREY)])
WIDE, WIDE_GREY = RGB.astype(np.uint16) * 257, GREY.astype(np.uint16) * 257
FLOAT, FLOAT_GREY = RGB.astype(np.float32) / 255, GREY.astype(np.float32) / 255

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"%s>%s</rdf:Description></rdf:RDF></x:xmpmeta>'
)
AS_ELEMENT = XMP % (b"", b"<tiff:Orientation>6</tiff:Orientation>")
AS_ATTRIBUTE = XMP % (b' tiff:Orientation="6"', b"")
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def changed(samples: Array, at: tuple[int | slice, ...], value: float) -> Array:
    other = samples.copy()
    other[at] = value
    return other


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(samples: Array, colour: int, depth: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of samples [h, w] or [h, w, 3], or of packed bytes for fewer bits; ``chunks`` stand before its pixels."""
    height = samples.shape[0]
    width = samples.shape[1] * (8 // depth if depth < 8 else 1)
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in samples)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    between = b"".join(_chunk(kind, data) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + between + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(grey: Array, depth: int) -> Array:
    """Samples of fewer than 8 bits, several a byte."""
    per = 8 // depth
    parts = grey.reshape(grey.shape[0], -1, per)
    return np.asarray(sum(parts[..., i] << (8 - depth * (i + 1)) for i in range(per)))


def with_chunk(png: bytes, kind: bytes, content: bytes, at: int = 33) -> bytes:
    return png[:at] + _chunk(kind, content) + png[at:]


def bmp(numbers: Array, masks: tuple[int, int, int, int]) -> bytes:
    """A BMP of 16- or 32-bit numbers, whose colours are the bits of the masks; of all zeros, as usual without masks."""
    height, width = numbers.shape
    pixels = np.ascontiguousarray(numbers[::-1]).tobytes()
    fields = 3 if any(masks) else 0
    size = 56 if fields else 40
    head = struct.pack("<IiiHHII", size, width, height, 1, numbers.dtype.itemsize * 8, fields, len(pixels)) + bytes(16)
    head += struct.pack("<IIII", *masks) if fields else b""
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


def masked(masks: tuple[int, int, int, int]) -> Array:
    """The picture, and its opacity, as numbers."""
    numbers = np.zeros(GREY.shape, np.uint32)
    for mask, samples in zip(masks, (*RGB.transpose(2, 0, 1), OPACITY), strict=True):
        if mask:
            low = (mask & -mask).bit_length() - 1
            numbers |= ((samples.astype(np.uint32) * (mask >> low) + 127) // 255) << np.uint32(low)
    return numbers


def runs(four: bool) -> bytes:
    """A BMP of 16 greys, run-length encoded: runs, literals, a move, and rows that end early."""
    indices = GREY // 16
    body = b""
    for row in indices[::-1]:
        for at in range(0, 80, 20):
            part = row[at : at + 20]
            if at == 40:
                literal = bytes(part[i] << 4 | part[i + 1] for i in range(0, 20, 2)) if four else bytes(part)
                body += bytes([0, 20]) + literal
            else:
                body += b"".join(bytes([1, value << 4 | value if four else value]) for value in part)
        body += b"\0\0"
    body += b"\0\1"
    palette = b"".join(bytes([i * 16, i * 8, 255 - i * 16, 0]) for i in range(16))
    bits, compression = (4, 2) if four else (8, 1)
    head = struct.pack("<IiiHHIIiiII", 40, 80, 48, 1, bits, compression, len(body), 0, 0, 16, 0) + palette
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


def exif(orientation: int, *further: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block of an orientation and of further (tag, type, count, four bytes of value or offset)."""
    entries = [(0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)), *further]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}IH", 8, len(entries))
    return head + b"".join(struct.pack(f"{order}HHI", *e[:3]) + e[3] for e in sorted(entries)) + b"\0\0\0\0"


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def without_segment(jpeg: bytes, marker: int) -> bytes:
    at = jpeg.index(bytes([0xFF, marker]))
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]


def raw_profile(name: bytes, block: bytes) -> bytes:
    """A block as ImageMagick writes it into a text."""
    digits = block.hex().encode()
    lines = b"\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    return b"\n" + name + b"\n" + str(len(block)).rjust(8).encode() + b"\n" + lines + b"\n"


def gif(frame: Array, left: int, top: int, width: int, height: int, *, interlaced: bool = False) -> bytes:
    """A GIF of a frame of 16 colours, on a canvas of ``width`` x ``height``."""
    palette = b"".join(bytes([i * 16, 255 - i * 16, 90]) for i in range(16))
    rows = [*range(0, len(frame), 8), *range(4, len(frame), 8), *range(2, len(frame), 4), *range(1, len(frame), 2)]
    ordered = frame[rows] if interlaced else frame
    # Codes of 5 bits without compression: cleared before they would widen.
    indices = ordered.reshape(-1).tolist()
    codes = [code for i, index in enumerate(indices) for code in ((16, index) if i % 14 == 0 else (index,))]
    number = sum(code << 5 * i for i, code in enumerate([*codes, 17]))
    packed = number.to_bytes((5 * len(codes) + 12) // 8, "little")
    blocks = b"".join(bytes([len(part)]) + part for part in (packed[i : i + 255] for i in range(0, len(packed), 255)))
    place = struct.pack("<HHHHB", left, top, *frame.shape[::-1], 0x40 if interlaced else 0)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xB3, 0, 0) + palette
    return head + b"," + place + b"\4" + blocks + b"\0;"
