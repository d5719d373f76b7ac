"""The picture that stands for a hit, small enough to be shown in a page or a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crosslens.errors import ImageError
from crosslens.ingest.contract.documents import inputs
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageReader
from crosslens.ingest.sources.images import open_image
from crosslens.queries.show.players import Players
from crosslens.queries.show.result import Hit

_THUMBNAIL = 192


class Pictures:
    """Thumbnails of hits, read from where the documents' fields of images and footage refer to."""

    def __init__(self, fields: Iterable[VectorField], images: ImageReader):
        """Of ``fields``, those of images are looked at, in their order, and then the moments of footage."""
        fields = list(fields)
        self._fields = [each for each in fields if each.modality == "image"]
        self._images = images
        self.players = Players(fields, images)

    def of(self, hit: Hit) -> Picture:
        """The thumbnail of a hit: of several images the one that matched, of footage a frame of the moment that did.

        What can't be read is left blank.
        """
        blank = "no picture"
        for reference in self.references(hit):
            try:
                return Picture(thumbnail(self._images.read(reference)))
            except ImageError as error:
                blank = str(error)
        frame = self.players.poster(hit) if hit.moments else None
        return Picture(None, blank) if frame is None else Picture(thumbnail(frame))

    def references(self, hit: Hit) -> Iterator[str]:
        """Yield what to look for the hit's picture by, a reference for each field of images that has one.

        Of several images in a field it is the one that matched, else the first.
        """
        for each in self._fields:
            values = inputs(hit.source, each)
            matched = [value["position"] for leg, value in hit.matched.items() if leg == each.field]
            reference = next((values[i] for i in (*matched, 0) if i < len(values)), None)
            if reference is not None:
                yield reference


@dataclass(frozen=True)
class Picture:
    """A thumbnail as a data URI, or None with the reason why it is left ``blank``."""

    uri: str | None
    blank: str = ""


def thumbnail(data: bytes) -> str:
    """A picture of at most 192 pixels a side as a data URI. Raises `ImageError` when it can't be decoded."""
    picture = open_image(data, target=_THUMBNAIL)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
