"""The searches that people ask for, made of the indices that are served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import NotFoundError

from crosslens.async_index import AsyncIndex
from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import inputs
from crosslens.ingest.contract.fields import usable_mappings
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageReader
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.show.result import SearchResult
from crosslens.serving.asked import Asked, Document
from crosslens.serving.given import GivenPictures
from crosslens.serving.sieves import Sieves
from crosslens.serving.views import HIGHLIGHT

# As long as searchers take a mapping to be as it was read.
_MAPPING_TTL_S = 30.0


@dataclass(frozen=True)
class Asking:
    """What a search is made with besides what a person asks for: given pictures, documents' pictures, named fields."""

    given: GivenPictures
    reader: ImageReader
    facets: Sequence[str] | None = None


class Searches:
    """Searches of one index, from asyncio. What blocks (pictures, encoding) runs on threads."""

    def __init__(self, index: AsyncIndex, how: Asking):
        self.index, self._how = index, how
        self._sieves: tuple[float, Sieves] | None = None
        self._indices: frozenset[str] = frozenset()

    async def search(self, asked: Asked) -> tuple[SearchResult, Sieves]:
        """Return the page of results that was asked for, and what they can be narrowed down by.

        Raises `QueryError` for what can't be asked, and what `AsyncIndex.search` raises.
        """
        sieves = await self.sieves()
        # The credentials may open other indices, of which nothing is to be learnt here.
        if foreign := next((index for index, _ in (*asked.like, *asked.less) if index not in self._indices), None):
            raise QueryError(f"{foreign!r} is not an index that is served here")
        pictures = [await asyncio.to_thread(self._how.given.read, each) for each in asked.pictures]
        less = [await self._content(each) for each in asked.less]
        arguments: dict[str, Any] = {
            **arguments_of(asked, sieves),
            "image": pictures or None,
            "less_image": [picture for picture, _ in less if picture is not None] or None,
            "less_text": [text for _, text in less if text is not None] or None,
        }
        return await self.index.search(asked.text.strip() or None, **arguments), sieves

    async def sieves(self) -> Sieves:
        """Return what results can be narrowed down by, read anew when it was read half a minute ago."""
        known = self._sieves
        if known is not None and time.monotonic() - known[0] < _MAPPING_TTL_S:
            return known[1]
        # The searcher's own reading says best what is wrong with an index.
        fields = await self.index.fields()
        client = await self.index.client()
        found = await client.indices.get_mapping(index=self.index.name, expand_wildcards="open")
        mappings = usable_mappings(self.index.name, found.body)
        sieves = Sieves.of(mappings.values(), fields.values(), self._how.facets)
        self._sieves, self._indices = (time.monotonic(), sieves), frozenset(mappings)
        return sieves

    async def _content(self, document: Document) -> tuple[bytes | None, str | None]:
        """What a document shows, to look away from: its picture, or else its text."""
        index, id = document
        fields = (await self.index.fields()).values()
        source = await self._source(index, id, [source for each in fields for source in each.sources])
        for reference in _values(source, fields, "image"):
            return await asyncio.to_thread(self._how.reader.read, reference), None
        for text in _values(source, fields, "text"):
            return None, text
        raise QueryError(f"document {id!r} has neither a picture nor a text to look away from")

    async def _source(self, index: str, id: str, paths: Sequence[str]) -> dict[str, Any]:
        client = await self.index.client()
        # By a search of the served name, so that no document of another index can be had.
        body = {"bool": {"filter": [{"ids": {"values": [id]}}, {"term": {"_index": index}}]}}
        try:
            found = await client.search(index=self.index.name, query=body, source_includes=list(paths), size=1)
        except NotFoundError as error:
            raise QueryError(f"document {id!r} is not there any more") from error
        if not found["hits"]["hits"]:
            raise QueryError(f"document {id!r} is not there any more")
        return dict(found["hits"]["hits"][0].get("_source") or {})


def arguments_of(asked: Asked, sieves: Sieves) -> dict[str, Any]:
    """Return what a search takes besides its text and pictures. Raises `QueryError` for fields that aren't offered."""
    return {
        "like": list(asked.like) or None,
        "filter": sieves.filters(asked) or None,
        "weights": dict(asked.weights) or None,
        "normalizer": asked.normalizer,
        "sort": sieves.sort(asked),
        "aggregations": sieves.aggregations(),
        "aggregate_over": "window",
        "highlight": HIGHLIGHT if asked.text.strip() else None,
        "page": asked.page or True,
        "size": asked.size,
        "window": DEFAULT_WINDOW,
    }


def _values(source: dict[str, Any], fields: Any, modality: str) -> list[str]:
    of_modality: list[VectorField] = [each for each in fields if each.modality == modality]
    return [value for each in of_modality for value in inputs(source, each)[:1]]
