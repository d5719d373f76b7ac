"""PNG: only the chunks that its pixels need, whatever else is in the file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin

from crosslens.ingest.sources.formats import orientation
from crosslens.ingest.sources.formats.common import FLAT_BYTES, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import bands, finished

_MARK = 8
_GREY, _RGB, _PALETTE = 0, 2, 3
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp"
# Enough for an XMP packet or an EXIF block without a thumbnail; a longer text is read this far.
_MOST_TEXT = 1 << 20
# Each may hold a thousand times as much as it takes; programs don't write this many.
_MOST_TEXTS = 16


def start(data: bytes, _target: int, _rules: PictureRules) -> Pending:
    """Read the header."""
    kept, turn, clear, texts = [data[:_MARK]], None, b"", 0
    for kind, content, whole in _chunks(data):
        # The first letter's case shows whether a decoder must understand the chunk.
        if kind[:1].isupper() or kind == b"tRNS":
            kept.append(whole)
        if kind == b"tRNS":
            clear = content
        elif kind == b"eXIf":
            turn = turn or orientation.of_exif(content)
        elif kind in _TEXTS and texts < _MOST_TEXTS and _holds_metadata(content):
            texts += 1
            turn = turn or _of_text(kind, content)
    image = PngImagePlugin.PngImageFile(io.BytesIO(b"".join(kept)))
    width, height = image.size
    depth, colour = data[24], data[25]

    def load() -> Image.Image:
        wide = depth == 16 and colour == _RGB and len(clear) >= 6
        low = _lower_bytes(b"".join(kept)) if wide else None
        image.load()
        if clear and colour == _GREY and 1 < depth < 8:
            # Pillow scales the samples, and leaves the transparent one as it is.
            image.info["transparency"] = (clear[-1] & ((1 << depth) - 1)) * 255 // ((1 << depth) - 1)
        if low is not None:
            image.info.pop("transparency", None)
            return finished(_with_clear_colour(image, low, clear), turn)
        return finished(image, turn)

    memory = width * height * (4 + FLAT_BYTES + (4 if depth == 16 else 0)) + len(data)
    return Pending(width, height, memory, load)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield each chunk's kind, content and whole bytes; the last chunk may be cut off."""
    at = _MARK
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        content = b"" if kind == b"IDAT" else data[at + 8 : at + 8 + length]
        yield kind, content, data[at:end]
        if kind == b"IEND":
            return
        at = end


def _holds_metadata(content: bytes) -> bool:
    """Return whether a text's keyword is one of those that hold metadata."""
    keyword = content[:100].partition(b"\0")[0]
    return keyword == _XMP or keyword.lower().startswith(b"raw profile type ")


def _of_text(kind: bytes, content: bytes) -> int | None:
    """Return the orientation in a text chunk: an XMP packet, or a "Raw profile type exif", "APP1" or "xmp"."""
    keyword, _, rest = content.partition(b"\0")
    packed = False
    if kind == b"zTXt":
        packed, rest = True, rest[1:]
    elif kind == b"iTXt":
        # A flag and a method of compression, then language and translated keyword.
        packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _MOST_TEXT)
        except zlib.error:
            return None
    if keyword == _XMP:
        return orientation.of_xmp(rest)
    return orientation.of_raw_profile(rest[:_MOST_TEXT])


def _lower_bytes(data: bytes) -> Image.Image:
    """Return the lower bytes of 16-bit colours, which decide whether a pixel has the transparent colour."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    image.tile = [each._replace(args="RGB;16L") for each in image.tile]
    image.load()
    return image


def _with_clear_colour(high: Image.Image, low: Image.Image, clear: bytes) -> Image.Image:
    """Return RGB, white where both bytes of all three samples equal the transparent colour."""
    for top, end in bands(*high.size):
        box = (0, top, high.width, end)
        colours = np.array(high.crop(box))
        match = (colours == np.frombuffer(clear[0:6:2], np.uint8)).all(-1)
        match &= (np.asarray(low.crop(box)) == np.frombuffer(clear[1:6:2], np.uint8)).all(-1)
        colours[match] = 255
        high.paste(Image.fromarray(colours), box[:2])
    return high
