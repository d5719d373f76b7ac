"""What plays the moments that hits matched: references for a page, and a picture of the moment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from crosslens.errors import MediaError
from crosslens.ingest.contract.documents import source_values
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageReader
from crosslens.ingest.sources.media import Moment, open_media, poster
from crosslens.queries.show.moments import MatchedMoment, described, fragment
from crosslens.queries.show.result import Hit

# Frames of a page's thumbnails are decoded no larger than that, on the shorter side.
_SIDE = 192


@dataclass(frozen=True)
class Player:
    """A moment that can be played: ``kind`` is "audio" or "video", ``src`` where from (None: it can't be played), and
    ``said`` when and by what it matched."""

    kind: str
    src: str | None
    said: str
    text: str | None


def said(hit: Hit) -> list[Player]:
    """Return the hit's moments where nothing plays them."""
    return [Player("", None, described(each), each.text) for each in hit.moments]


class Players:
    """Finds the files of hits: http(s) URLs, and files below the folder that ``images`` starts in."""

    def __init__(self, fields: Iterable[VectorField], files: ImageReader):
        """Of ``fields``, those of sound and footage say which fields of a document refer to files."""
        self._kinds: dict[str, str] = {}
        for each in fields:
            if each.moments and self._kinds.get(each.sources[0]) != "video":
                self._kinds[each.sources[0]] = each.modality
        self._files = files

    def of(self, hit: Hit, page: Path | None = None) -> list[Player]:
        """Return the hit's moments as ``page``, an HTML file, plays them (None: URLs only), the best one first."""
        return [Player(self.kind(each), self._src(hit, each, page), described(each), each.text) for each in hit.moments]

    def poster(self, hit: Hit) -> bytes | None:
        """Return a picture of the hit's best moment that can be seen, as JPEG; None where no local file has one."""
        for each in hit.moments:
            reference = self.reference(hit, each)
            path = None if reference is None else self._files.file(reference)
            if path is None or self._kinds.get(each.source) != "video":
                continue
            span = Moment(each.start_ms, each.end_ms)
            try:
                with open_media(path) as media:
                    if media.info.video:
                        middle = (each.start_ms + each.end_ms) // 2
                        return poster(next(media.frames([middle], _SIDE, within=[span])))
            except (MediaError, StopIteration):
                # A page without the picture is still a page.
                continue
        return None

    def kind(self, moment: MatchedMoment) -> str:
        """Return what plays a moment: "audio" or "video"."""
        return self._kinds.get(moment.source, "video")

    def reference(self, hit: Hit, moment: MatchedMoment) -> str | None:
        """Return the reference to a moment's file, as the document has it; None where it has none any more."""
        values: Sequence[str] = source_values(hit.source, moment.source)
        return values[moment.position].strip() if moment.position < len(values) else None

    def _src(self, hit: Hit, moment: MatchedMoment, page: Path | None) -> str | None:
        reference = self.reference(hit, moment)
        if reference is None:
            return None
        if reference[:8].lower().startswith(("http://", "https://")):
            return urlsplit(reference)._replace(fragment="").geturl() + fragment(moment)
        path = self._files.file(reference)
        if path is None or page is None:
            return None
        # A page beside its files can be moved with them.
        try:
            relative = Path(os.path.relpath(path, page.resolve().parent)).as_posix()
        except ValueError:
            # On Windows there is no way from one drive to another.
            return path.as_uri() + fragment(moment)
        return quote(relative) + fragment(moment)
