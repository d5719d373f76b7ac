"""As `crosslens.queries.search.searcher`, for asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.record import VectorField
from crosslens.queries.fusion.scores import Scores
from crosslens.queries.search.base import Searcher
from crosslens.queries.search.keywords import takes
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.options import DraftOptions, ScoreOptions, SearchOptions
from crosslens.queries.search.requests import Pause, Request, ServerRequest, Steps, T, Together, Work
from crosslens.queries.show.result import SearchResult


class AsyncHybridSearcher(Searcher[AsyncElasticsearch]):
    """As `HybridSearcher`, with an asynchronous client.

    The mapping is read at the first search, which raises what is wrong with the index and its models. Queries are
    encoded on a thread, so that the event loop goes on.
    """

    async def fields(self) -> dict[str, VectorField]:
        """Return the vector fields that are searched, by name. Raises `MappingError` and `ModelError`."""
        return dict((await self._run(self._story.current())).fields)

    @takes(SearchOptions)
    async def search(self, options: SearchOptions) -> SearchResult:
        """As `HybridSearcher.search`; also raises `MappingError` and `ModelError`."""
        return await self._run(self._story.search(options))

    @takes(DraftOptions)
    async def search_draft(self, options: DraftOptions) -> SearchResult:
        """As `HybridSearcher.search_draft`; also raises `MappingError` and `ModelError`."""
        return await self._run(self._story.draft(options))

    @takes(ScoreOptions)
    async def scores(self, options: ScoreOptions) -> dict[str, Scores[DocumentKey]]:
        """As `HybridSearcher.scores`; also raises `MappingError` and `ModelError`."""
        return await self._run(self._story.scores(options))

    @takes(SearchOptions)
    async def legs(self, options: SearchOptions) -> list[Leg]:
        """As `HybridSearcher.legs`; also raises `MappingError` and `ModelError`."""
        return await self._run(self._story.legs(options))

    @takes(SearchOptions)
    async def to_body(self, options: SearchOptions) -> dict[str, Any]:
        """As `HybridSearcher.to_body`; also raises `MappingError` and `ModelError`."""
        return await self._run(self._story.bodies(options))

    async def _run(self, steps: Steps[T]) -> T:
        """Run a story to its end, awaiting each answer."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = await self._answer(request)
                except Exception as error:  # noqa: BLE001 - the story knows what it means, or raises it again
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _answer(self, request: Request) -> Any:
        match request:
            case ServerRequest():
                return (await request.sent_by(self._client)).body
            case Work(do):
                return await asyncio.to_thread(do)
            case Together(work, requests):
                done, *answers = await asyncio.gather(
                    asyncio.to_thread(work.do), *(self._attempt(each) for each in requests)
                )
                return done, answers
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None

    async def _attempt(self, request: ServerRequest) -> Any:
        try:
            return await self._answer(request)
        except ApiError as error:
            return error
