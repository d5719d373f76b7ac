"""Searching an index from asyncio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from elasticsearch import AsyncElasticsearch

from crosslens.async_client import connect_async
from crosslens.client import Connection
from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.search.searcher import AsyncHybridSearcher, SearchOptions
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.result import SearchResult

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncIndex:
    """As `crosslens.Index`, for searching from asyncio. Needs aiohttp (the extra "async").

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
    ):
        """As for `crosslens.Index`; the connection is made by the first search."""
        self.name = name
        self._client, self._own_client = client, client is None
        self._connection = Connection.from_environment(url, api_key, user, password, ca_certs, cloud_id)
        self._model, self._images = model, images or ImageAccess(root=image_root)
        self._searchers: dict[tuple[Any, ...], AsyncHybridSearcher] = {}

    async def client(self) -> AsyncElasticsearch:
        """The Elasticsearch client. Raises `ConnectionFailedError` when no cluster answers."""
        if self._client is None:
            self._client = await connect_async(self._connection)
        return self._client

    async def search(
        self,
        text: str | Sequence[str] | None = None,
        *,
        vector_fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        **how: Unpack[SearchOptions],
    ) -> SearchResult:
        """As `crosslens.Index.search`."""
        key = (
            None if vector_fields is None else tuple(vector_fields),
            None if text_fields is None else tuple(text_fields),
            window,
        )
        if key not in self._searchers:
            if isinstance(self._model, str | Path):
                self._model = Encoder(Path(self._model))
            self._searchers[key] = AsyncHybridSearcher(
                await self.client(),
                self.name,
                self._model,
                fields=vector_fields,
                text_fields=text_fields,
                window=window,
            )
        searcher = self._searchers[key]
        result = await searcher.search(text, **how)
        fields = (await searcher._current()).fields
        return replace(result, pictures=Pictures(list(fields.values()), self._images.reader()))

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
