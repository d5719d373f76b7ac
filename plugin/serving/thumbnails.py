"""Documents' pictures, made small, and kept."""

from __future__ import annotations

import hashlib
import io

from crosslens.errors import ImageError
from crosslens.ingest.sources.access import ImageReader
from crosslens.ingest.sources.images import open_image
from crosslens.serving.kept import Kept

SIDE = 320
"""The longer side of a thumbnail: sharp where the page shows half as many pixels on a dense screen."""
_KEPT_BYTES = 64_000_000


class Thumbnails:
    """Thumbnails by reference, read with the access that ``reader`` has: nothing outside its root, no private address.

    May be used from several threads.
    """

    def __init__(self, reader: ImageReader, kept_bytes: int = _KEPT_BYTES):
        self._reader, self._kept = reader, Kept(kept_bytes)

    def of(self, reference: str) -> bytes:
        """Return a thumbnail as WebP. Raises `ImageError` where the picture can't be read or decoded."""
        key = hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()
        found = self._kept.get(key)
        if found is None:
            found = small(self._reader.read(reference), reference, self._reader)
            self._kept.put(key, found)
        return found


def small(data: bytes, reference: str, reader: ImageReader) -> bytes:
    """Return a picture at most `SIDE` pixels a side as WebP. Raises `ImageError` where it can't be decoded."""
    picture = open_image(data, target=SIDE, rules=reader.rules(reference, _ignored))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    try:
        picture.save(buffer, "WEBP", quality=82)
    except (OSError, ValueError) as error:
        raise ImageError(f"the thumbnail can't be written ({error})") from error
    return buffer.getvalue()


def _ignored() -> None:
    """A truncated picture is as good a thumbnail."""
