"""All that a running service holds, and the one way in which it searches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crosslens.errors import QueryError
from crosslens.ingest.sources.access import ImageReader
from crosslens.serving.answers import failure_of
from crosslens.serving.asked import Asked
from crosslens.serving.figures import Figures
from crosslens.serving.given import GivenPictures
from crosslens.serving.searching import Searches
from crosslens.serving.thumbnails import Thumbnails
from crosslens.serving.thumbs import ThumbsFile
from crosslens.serving.views import Presentation, shown

LOG = logging.getLogger("crosslens.serve")
# Pictures decoded at once: more only wait for the same cores, and hold memory meanwhile.
_DECODERS = 4


@dataclass
class Service:
    """The ``searches`` by index, the first of which is meant where none is named, and what results are shown with.

    ``thumbs`` is None where nobody may judge. ``given`` and ``thumbnails`` block, and are used through `decoding`.
    """

    searches: Mapping[str, Searches]
    how: Presentation
    reader: ImageReader
    given: GivenPictures
    thumbs: ThumbsFile | None = None
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        self.thumbnails = Thumbnails(self.reader)
        self._decoders = asyncio.Semaphore(_DECODERS)

    @property
    def indices(self) -> list[str]:
        """The names that can be searched."""
        return list(self.searches)

    def of(self, asked: Asked) -> Searches:
        """Return the searches of the index asked for. Raises `QueryError` for one that isn't served."""
        name = asked.index or self.indices[0]
        if name not in self.searches:
            raise QueryError(f"{name!r} is not served here", hint=f"there are {', '.join(self.indices)}")
        return self.searches[name]

    async def search(self, asked: Asked) -> dict[str, Any]:
        """Return a page of results as `crosslens.serving.views.shown` does, and count it.

        Raises `QueryError` where nothing is looked for, and what `Searches.search` raises.
        """
        if asked.empty:
            raise QueryError("nothing is looked for", hint="give a text, a picture, or a document to find more of")
        begun, outcome = time.perf_counter(), "failed"
        try:
            with self.figures.running.track_inprogress():
                result, sieves = await self.of(asked).search(asked)
            view = shown(result, asked, sieves, self.how)
            outcome = "found" if result.hits else "empty"
        except Exception as error:
            failure = failure_of(error)
            outcome = "refused" if failure is not None and failure.status < 500 else "failed"
            raise
        finally:
            self.figures.searches.labels(outcome).inc()
        self.figures.seconds.labels("all").observe(time.perf_counter() - begun)
        self.figures.seconds.labels("encode").observe(result.encode_ms / 1e3)
        self.figures.seconds.labels("server").observe(result.search_ms / 1e3)
        return view

    async def decoding(self, do: Any, *arguments: Any) -> Any:
        """Run something that decodes a picture on a thread, when it's its turn."""
        async with self._decoders:
            try:
                done = await asyncio.to_thread(do, *arguments)
            except Exception:
                self.figures.pictures.labels("failed").inc()
                raise
        self.figures.pictures.labels("done").inc()
        return done

    async def ready(self) -> None:
        """Raise what is wrong where the first search of an index would fail."""
        for each in self.searches.values():
            await each.sieves()
            # What was learnt may be as old as half a minute; the server may be gone since.
            await (await each.index.client()).search(index=each.index.name, size=0, track_total_hits=False)

    async def close(self) -> None:
        """Close the connections."""
        for each in self.searches.values():
            await each.index.close()
