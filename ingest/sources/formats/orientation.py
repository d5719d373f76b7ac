"""A picture's orientation, the only metadata that is read; upright where it can't be read."""

from __future__ import annotations

import re
import struct

from PIL import Image

_TAG = 0x0112
_TYPES = {1: "B", 3: "H", 4: "I"}
# Cameras don't write directories with more entries.
_MOST_ENTRIES = 1024
_XMP = re.compile(rb"Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def of_exif(block: bytes) -> int | None:
    """Return the orientation, 1 to 8, in an EXIF block, with or without its "Exif" mark (CIPA DC-008, tag 0x0112)."""
    tiff = block[6:] if block.startswith(b"Exif\0") else block
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for i in range(min(count, _MOST_ENTRIES)):
            at = start + 2 + 12 * i
            tag, kind = struct.unpack_from(f"{order}HH", tiff, at)
            if tag == _TAG:
                (value,) = struct.unpack_from(f"{order}{_TYPES.get(kind, 'H')}", tiff, at + 8)
                return int(value) if 1 <= value <= 8 else None
    except struct.error:
        # The block is shorter than it says.
        return None
    return None


def of_xmp(packet: bytes) -> int | None:
    """Return the orientation in an XMP packet (tiff:Orientation), an attribute or an element."""
    found = _XMP.search(packet.replace(b"\0", b""))
    return int(found[1]) if found else None


def of_raw_profile(text: bytes) -> int | None:
    """Return the orientation in ImageMagick's "Raw profile type exif", "APP1" or "xmp": a length, then hex digits."""
    lines = text.split(b"\n")
    digits = b"".join(re.sub(rb"[^0-9A-Fa-f]", b"", line) for line in lines[3:] if line.strip())
    block = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    return of_exif(block) or of_xmp(block)


def turned(picture: Image.Image, orientation: int | None) -> Image.Image:
    """Return the picture upright, or itself where it already is."""
    turn = _TURNS.get(orientation or 1)
    return picture if turn is None else picture.transpose(turn)
