"""Searching an index from asyncio."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from elasticsearch import AsyncElasticsearch

from crosslens.async_client import connect_async
from crosslens.client import Connection
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.sources.access import ImageAccess, ImageReader
from crosslens.queries.search.async_searcher import AsyncHybridSearcher
from crosslens.queries.search.keywords import takes
from crosslens.queries.search.options import IndexDraftOptions, IndexSearchOptions
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.result import SearchResult


class AsyncIndex:
    """The asyncio counterpart of `crosslens.Index`, for searching. Needs aiohttp (the extra "async").

    async with AsyncIndex("products", model="models/clip") as products:
        result = await products.search("blue running shoes")
    """

    def __init__(
        self,
        name: str,
        *,
        client: AsyncElasticsearch | None = None,
        url: str | None = None,
        api_key: str | None = None,
        user: str | None = None,
        password: str | None = None,
        ca_certs: Path | str | None = None,
        cloud_id: str | None = None,
        model: str | Path | VectorEncoder | None = None,
        image_root: Path | str | None = None,
        images: ImageAccess | None = None,
        device: str = "auto",
    ):
        """Takes the arguments of `crosslens.Index`; the first search connects."""
        self.name = name
        self._client, self._own_client = client, client is None
        self._connection = Connection.from_environment(url, api_key, user, password, ca_certs, cloud_id)
        self._model, self._images = model, ImageAccess.of(images, image_root)
        self._device = device
        self._searchers: dict[tuple[Any, ...], AsyncHybridSearcher] = {}

    @cached_property
    def _reader(self) -> ImageReader:
        return self._images.reader()

    async def client(self) -> AsyncElasticsearch:
        """Return the Elasticsearch client. Raises `ConnectionFailedError` when no cluster answers."""
        if self._client is None:
            self._client = await connect_async(self._connection)
        return self._client

    @takes(IndexSearchOptions)
    async def search(self, options: IndexSearchOptions) -> SearchResult:
        """Search as `crosslens.Index.search` does."""
        searcher = await self._searcher(options.of_searcher)
        return await self._shown(searcher, await searcher.search(**options.of_search))

    @takes(IndexDraftOptions)
    async def search_draft(self, options: IndexDraftOptions) -> SearchResult:
        """Search as `crosslens.Index.search_draft` does."""
        searcher = await self._searcher(options.of_searcher)
        return await self._shown(searcher, await searcher.search_draft(**options.of_search))

    async def fields(self) -> dict[str, VectorField]:
        """Return the vector fields that are searched, by name. Raises `MappingError` and `ModelError`."""
        return await (await self._searcher(IndexSearchOptions().of_searcher)).fields()

    async def _searcher(self, made_with: dict[str, Any]) -> AsyncHybridSearcher:
        key = tuple(made_with.values())
        if key not in self._searchers:
            model = await self._named()
            self._searchers[key] = AsyncHybridSearcher(await self.client(), self.name, model, **made_with)
        return self._searchers[key]

    async def _shown(self, searcher: AsyncHybridSearcher, result: SearchResult) -> SearchResult:
        fields = await searcher.fields()
        return replace(result, pictures=Pictures(list(fields.values()), self._reader))

    async def _named(self) -> VectorEncoder | Encoders:
        """Return the model, opened, or what looks for each field's own."""
        if isinstance(self._model, str | Path):
            opened: VectorEncoder = await asyncio.to_thread(Encoder, Path(self._model), device=self._device)
            self._model = opened
        return self._model or Encoders(device=self._device)

    async def close(self) -> None:
        """Close the client, unless it was given."""
        if self._client is not None and self._own_client:
            await self._client.close()

    async def __aenter__(self) -> Self:
        await self.client()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
