"""JPEG: without needless metadata, reduced where that suffices, and with care where its end is missing."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, JpegImagePlugin

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import orientation
from crosslens.ingest.sources.formats.common import FLAT_BYTES, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import bands, finished

_END = b"\xff\xd9"
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = tuple(bytes((0xFF, marker)) for marker in sorted(_PROGRESSIVE))
_SCAN = b"\xff\xda"
# Arbitrary entropy-coded bytes: the part of the picture that they change is the part that the file lacks.
_OTHER_END = bytes(range(1, 128)) * 64 + _END
_MOST_MISSING = 0.1
# Each scan goes over the whole picture, though it may take a few bytes of the file. Encoders that search for the best
# script of scans write fewer than these.
_MOST_SCANS = 100
_MOST_PIXELS_OF_SCANS = 2_000_000_000


@dataclass(frozen=True)
class _Slim:
    """A JPEG without its application segments and comments, except those that say how colours are stored."""

    data: bytes
    orientation: int | None
    progressive: bool
    adobe: bool


def start(data: bytes, target: int, rules: PictureRules) -> Pending:
    """Read the header; ``target`` as in `crosslens.ingest.sources.images.opened`."""
    slim = _slimmed(data)
    image = _image(slim.data)
    if len(image.getbands()) == 4 and not slim.adobe:
        # Adobe's programs store inverted inks, others don't, and some decoders always assume inversion.
        raise ImageError(f"{rules.name}: a CMYK JPEG that doesn't say whether its inks are inverted is not read")
    width, height = image.size
    scans = slim.data.count(_SCAN)
    if scans > _MOST_SCANS or scans * width * height > _MOST_PIXELS_OF_SCANS:
        raise ImageError(f"{rules.name}: a JPEG of {scans} scans asks for more work than a picture is worth")
    if target:
        image.draft(None, (2 * target, 2 * target))
    decoded = image.width * image.height
    # A progressive file's coefficients are all in memory before the first pixel.
    coefficients = width * height * 2 * len(image.getbands()) if slim.progressive else 0
    memory = decoded * (4 + FLAT_BYTES) + coefficients + len(data)

    def load() -> Image.Image:
        decoded: Image.Image = image
        try:
            image.load()
        except OSError as error:
            if "truncated" not in str(error):
                raise
            decoded = _without_its_end(slim, target, rules)
        return finished(decoded, slim.orientation)

    return Pending(width, height, memory, load)


def _image(data: bytes) -> JpegImagePlugin.JpegImageFile:
    return JpegImagePlugin.JpegImageFile(io.BytesIO(data))


def _slimmed(data: bytes) -> _Slim:
    kept, at = [data[:2]], 2
    exif = xmp = None
    progressive = adobe = False
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            # A segment's length was wrong; decoders look for the next marker.
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:
            # A marker without a length, or not a marker at all.
            at += 2
            continue
        if marker == 0xFF:
            # Any number of fill bytes may precede a marker.
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if marker == 0xDA or length < 2 or end > len(data):
            break
        segment = data[at + 4 : end]
        if marker == 0xE1 and segment.startswith(b"Exif\0"):
            exif = exif or orientation.of_exif(segment)
        elif marker == 0xE1 and segment.startswith(b"http://ns.adobe.com/xap/1.0/"):
            xmp = xmp or orientation.of_xmp(segment)
        adobe = adobe or (marker == 0xEE and segment.startswith(b"Adobe"))
        progressive = progressive or marker in _PROGRESSIVE
        # JFIF (0xE0) and Adobe (0xEE) say how colours are stored.
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in (0xE0, 0xEE):
            kept.append(data[at:end])
        at = end
    kept.append(data[at:] if at >= 0 else b"")
    return _Slim(b"".join(kept), exif or xmp, progressive, adobe)


def _without_its_end(slim: _Slim, target: int, rules: PictureRules) -> Image.Image:
    """Return the picture of a file whose last bytes are missing, if all rows are complete or a few may be missing.

    The file is decoded with two different ends; the pictures begin to differ where the file ended.
    """
    one, other = _image(slim.data + _END), _image(slim.data + _OTHER_END)
    for image in (one, other):
        if target:
            image.draft(None, (2 * target, 2 * target))
        image.load()
    rows = one.height
    missing = rows - _first_difference(one, other) if not slim.progressive or _all_begun(slim.data) else rows
    other.close()
    if missing == 0:
        return one
    few = missing <= _MOST_MISSING * rows
    if few and rules.tolerate_truncated:
        rules.truncated()
        return one
    share = f"without the last {max(1, round(100 * missing / rows))} % of its rows" if missing < rows else "too early"
    raise ImageError(
        f"{rules.name}: can't be decoded: the JPEG is cut off after {len(slim.data):,} bytes, {share}",
        hint="fetch it again, or allow JPEGs that lack their last rows" if few else "",
        parameter="tolerate_truncated" if few else None,
    )


def _first_difference(one: Image.Image, other: Image.Image) -> int:
    """Return the first row in which two pictures of one size differ, or their height if they are equal."""
    for top, end in bands(*one.size):
        box = (0, top, one.width, end)
        first, second = (np.asarray(image.crop(box)).reshape(end - top, -1) for image in (one, other))
        differing = np.flatnonzero((first != second).any(axis=1))
        if differing.size:
            return top + int(differing[0])
    return one.height


def _all_begun(data: bytes) -> bool:
    """Return whether every scan of a progressive file has begun, up to the last bits of every coefficient."""
    frame = next((at for at in map(data.find, _FRAMES) if at >= 0), None)
    if frame is None:
        return False
    components = data[frame + 10 : frame + 10 + 3 * data[frame + 9] : 3]
    wanted = {(component, k) for component in components for k in range(64)}
    at = data.find(_SCAN)
    while at >= 0 and at + 5 < len(data):
        count = data[at + 4]
        named, rest = data[at + 5 : at + 5 + 2 * count : 2], data[at + 5 + 2 * count : at + 8 + 2 * count]
        if len(rest) == 3 and rest[2] & 15 == 0:
            wanted -= {(component, k) for component in named for k in range(rest[0], rest[1] + 1)}
        at = data.find(_SCAN, at + 2)
    return not wanted
