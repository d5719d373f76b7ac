"""A LangChain retriever over a hybrid searcher; needs the extra "langchain"."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from crosslens.errors import QueryError
from crosslens.queries.integrations.contents import contents, metadata
from crosslens.queries.search.async_searcher import AsyncHybridSearcher
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult


class CrosslensRetriever(BaseRetriever):
    """Finds documents for a text.

        retriever = CrosslensRetriever(searcher=searcher, content_field="description", k=5)
        retriever.invoke("blue running shoes")
        retriever.invoke("blue running shoes", k=20, filter={"term": {"in_stock": True}})

    ``content_field``, which may lie within objects ("product.description"), becomes a document's content (None: its
    title); its source, its ``_index``, ``_id``, ``_score`` and the parts of its score are the metadata. ``options`` go
    to `HybridSearcher.search`; ``k`` and options of a single call come before them. `ainvoke` uses
    ``async_searcher`` where there is one, else ``searcher`` on a thread.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    searcher: HybridSearcher | None = None
    async_searcher: AsyncHybridSearcher | None = None
    content_field: str | None = None
    k: int = 10
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[Document]:
        if self.searcher is None:
            raise QueryError("the retriever has only an asynchronous searcher", hint="use ainvoke, or give a searcher")
        return self._documents(self.searcher.search(query, **self._how(k, options)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[Document]:
        how = self._how(k, options)
        if self.async_searcher is not None:
            return self._documents(await self.async_searcher.search(query, **how))
        if self.searcher is None:
            raise QueryError("the retriever has nothing to search with", hint="give it a searcher")
        return self._documents(await asyncio.to_thread(self.searcher.search, query, **how))

    def _how(self, k: int | None, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"size": self.k if k is None else k, **self.options, **({} if k is None else {"size": k}), **options}

    def _documents(self, result: SearchResult) -> list[Document]:
        found = []
        for hit, content in zip(result.hits, contents(result.hits, self.content_field), strict=True):
            parts = {leg: part.weighted for leg, part in hit.parts.items()}
            own = {"_index": hit.index, "_id": hit.id, "_score": hit.score, "_parts": parts, "_matched": hit.matched}
            if hit.moments:
                own["_moments"] = [asdict(each) for each in hit.moments]
            found.append(Document(page_content=content, metadata={**metadata(hit), **own}, id=hit.id))
        return found
