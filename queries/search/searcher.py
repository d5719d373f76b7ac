"""Hybrid search over an index that has vectors: words and pictures in, one ranked and explained list out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.record import VectorField
from crosslens.queries.fusion.scores import Scores
from crosslens.queries.search.base import Searcher
from crosslens.queries.search.keywords import takes
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.mapping import Seen
from crosslens.queries.search.options import DraftOptions, ScoreOptions, SearchOptions
from crosslens.queries.search.requests import Pause, Request, ServerRequest, Steps, T, Together, Work
from crosslens.queries.show.result import SearchResult

_POOL = ThreadPoolExecutor(4, thread_name_prefix="crosslens-words")


class HybridSearcher(Searcher[Elasticsearch]):
    """Searches an index by text, by image, by both, or by a document.

        searcher = HybridSearcher(client, "products", Encoder("models/clip"))
        searcher.search("blue running shoes", filter={"term": {"in_stock": True}}).hits

    The legs are BM25 over the index's text fields and one kNN search for each vector field, each over the best
    ``window`` documents. The ranking depends on the window and never on ``size``. May be used from several threads.
    When the model of a vector field changes (`crosslens.ingest.run.migrate`), a running searcher follows by itself.
    """

    def _begin(self) -> None:
        self._current()

    @property
    def fields(self) -> dict[str, VectorField]:
        """The vector fields that are searched, by name."""
        return dict(self._current().fields)

    @property
    def settings(self) -> dict[str, Any]:
        """How the index records that its searches are fused: ``weights`` and ``normalizer``; empty if it doesn't."""
        return dict(self._current().settings)

    @takes(SearchOptions)
    def search(self, options: SearchOptions) -> SearchResult:
        """Return the best documents for what is looked for.

        The arguments are those of `SearchOptions`, which describes each: ``text`` by position or name, all others by
        name.

        Raises `QueryError` for an empty query, a size beyond the window, wrong weights and the like, and for what the
        server says of a bad filter; `NotCalibratedError` where corpus statistics are needed and not there; `ImageError`
        for an image that can't be read; and `TypeError` for an argument of an unknown name.
        """
        return self._run(self._story.search(options))

    @takes(DraftOptions)
    def search_draft(self, options: DraftOptions) -> SearchResult:
        """Return the best documents for a text of any length, such as an article that is being written.

        Its passages (see `crosslens.queries.search.draft`) are searched for one by one, and the totals combined; each
        hit shows by ``answers`` which sentence of the draft it comes nearest to. The arguments are those of
        `DraftOptions`. Raises as `search` does, and `QueryError` for a draft of over a thousand passages.
        """
        return self._run(self._story.draft(options))

    @takes(ScoreOptions)
    def scores(self, options: ScoreOptions) -> dict[str, Scores[DocumentKey]]:
        """Return what any normalizer would fuse, by leg: the completed scores of the window, and evidence's needs.

        The arguments are those of `ScoreOptions`. Raises as `search` does.
        """
        return self._run(self._story.scores(options))

    @takes(SearchOptions)
    def legs(self, options: SearchOptions) -> list[Leg]:
        """Return the legs of a search, with their requests. Takes what `search` takes, and raises as it does."""
        return self._run(self._story.legs(options))

    @takes(SearchOptions)
    def to_body(self, options: SearchOptions) -> dict[str, Any]:
        """Return plain Elasticsearch requests for what `search` would look for, to send from anywhere.

        ``legs`` has each leg's own search by name; ``rrf`` and ``linear`` are the same for Elasticsearch's retrievers,
        for those who have the licence. Takes what `search` takes, and raises as it does.
        """
        return self._run(self._story.bodies(options))

    def _current(self) -> Seen:
        return self._run(self._story.current())

    def _run(self, steps: Steps[T]) -> T:
        """Run a story to its end, waiting for each answer."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = self._answer(request)
                except Exception as error:  # noqa: BLE001 - the story knows what it means, or raises it again
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _answer(self, request: Request) -> Any:
        match request:
            case ServerRequest():
                return request.sent_by(self._client).body
            case Work(do):
                return do()
            case Together(work, requests):
                sent = [_POOL.submit(self._attempt, each) for each in requests]
                return work.do(), [each.result() for each in sent]
            case Pause(seconds):
                time.sleep(seconds)
                return None

    def _attempt(self, request: ServerRequest) -> Any:
        try:
            return self._answer(request)
        except ApiError as error:
            return error
