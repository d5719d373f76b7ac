"""A whole search as one story, without input or output: what is asked for next, given what was answered so far.

Every method is a generator of requests (`crosslens.queries.search.requests`). So the client that waits and the one that
doesn't run the same search.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW, Scores
from crosslens.queries.search.build import legs_of
from crosslens.queries.search.legs import Leg, native_retrievers
from crosslens.queries.search.liked import read_liked
from crosslens.queries.search.mapping import IndexReader, Seen
from crosslens.queries.search.options import ScoreOptions, SearchOptions
from crosslens.queries.search.plan import Plan
from crosslens.queries.search.ranking import ranked, scores_of
from crosslens.queries.search.remembered import QueryVectors
from crosslens.queries.search.requests import OpenPointInTime, Steps
from crosslens.queries.search.wanted import Wanted
from crosslens.queries.show.result import SearchResult


class Story:
    """Searches of one index, each leg over its ``window`` best documents. May be used from several threads."""

    def __init__(self, reader: IndexReader, window: int, remembered: QueryVectors):
        self._reader, self._window, self._remembered = reader, window, remembered

    def current(self) -> Steps[Seen]:
        """Return what is known of the index; see `IndexReader.current`, also for what is raised."""
        return self._reader.current()

    def search(self, options: SearchOptions) -> Steps[SearchResult]:
        """Return the best documents. Raises as `HybridSearcher.search` does."""
        seen = yield from self.current()
        return (yield from self._search(seen, self._wanted(seen, options)))

    def scores(self, options: ScoreOptions) -> Steps[dict[str, Scores[DocumentKey]]]:
        """Return what any normalizer would fuse. Raises as `HybridSearcher.search` does."""
        seen = yield from self.current()
        normalizer: Normalizer = "standardise" if options.standardise else "theoretical-min-max"
        wanted = self._wanted(seen, replace(options, normalizer=normalizer, size=0, source=False), comparing=True)
        seen, legs = yield from self._prepared(seen, wanted)
        return (yield from scores_of(Plan.of(seen, wanted, self._reader.index, legs, None)))

    def legs(self, options: SearchOptions) -> Steps[list[Leg]]:
        """Return the legs of a search. Raises as `HybridSearcher.search` does."""
        seen = yield from self.current()
        return (yield from self._legs(seen, self._wanted(seen, options)))

    def bodies(self, options: SearchOptions) -> Steps[dict[str, Any]]:
        """Return a search as plain requests. Raises as `HybridSearcher.search` does."""
        legs = yield from self.legs(options)
        bodies: dict[str, Any] = {"legs": {leg.name: leg.request for leg in legs}}
        return {**bodies, **native_retrievers(legs, options.weights or {}, size=options.size)}

    def _wanted(self, seen: Seen, options: SearchOptions, *, comparing: bool = False) -> Wanted:
        return Wanted.of(self._reader.index, self._window_of(seen), seen.settings, options, comparing=comparing)

    def _window_of(self, seen: Seen) -> int:
        """The window, which may be as large as the index's results. The default one is cut to that."""
        if self._window <= seen.most or self._window == DEFAULT_WINDOW:
            return min(self._window, seen.most)
        raise QueryError(
            f"a window of {self._window} documents can't be had: index {self._reader.index!r} returns {seen.most} "
            "at most (index.max_result_window)",
            hint="choose a smaller window, or raise that setting of the index",
            parameter="window",
        )

    def _legs(self, seen: Seen, wanted: Wanted) -> Steps[list[Leg]]:
        liked = yield from read_liked(seen, wanted.terms.like)
        return (yield from legs_of(seen, wanted, liked, self._reader.encoders, self._remembered, self._window_of(seen)))

    def _prepared(self, seen: Seen, wanted: Wanted) -> Steps[tuple[Seen, list[Leg]]]:
        if wanted.needs_moments:
            seen = yield from self._reader.with_moments(seen)
        return seen, (yield from self._legs(seen, wanted))

    def _search(self, seen: Seen, wanted: Wanted) -> Steps[SearchResult]:
        started = time.perf_counter()
        seen, legs = yield from self._prepared(seen, wanted)
        encoded = time.perf_counter()
        opened = None
        if wanted.options.page is True:
            opened = (yield OpenPointInTime(self._reader.index))["id"]
        page = wanted.page(opened)
        result = yield from ranked(Plan.of(seen, wanted, self._reader.index, legs, page))
        return replace(
            result,
            encode_ms=(encoded - started) * 1e3,
            search_ms=(time.perf_counter() - encoded) * 1e3,
            next=page.next(len(result.hits), result.found) if page else None,
        )
