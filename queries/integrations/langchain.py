"""A LangChain retriever over a hybrid searcher; needs the extra "langchain"."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.table import title_of


class CrosslensRetriever(BaseRetriever):
    """Finds documents for a text.

        retriever = CrosslensRetriever(searcher=searcher, content_field="description", k=5)
        retriever.invoke("blue running shoes")

    ``content_field`` is what becomes a document's content (None: its title); the rest of its source, its ``_index``,
    ``_id``, ``_score`` and the parts of its score are the metadata. ``options`` go to `HybridSearcher.search`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    searcher: HybridSearcher
    content_field: str | None = None
    k: int = 10
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = []
        for hit in self.searcher.search(query, size=self.k, **self.options).hits:
            content = str(hit.source.get(self.content_field, "")) if self.content_field else title_of(hit)
            parts = {leg: part.weighted for leg, part in hit.parts.items()}
            told = {"_index": hit.index, "_id": hit.id, "_score": hit.score, "_parts": parts, "_matched": hit.matched}
            found.append(Document(page_content=content, metadata={**hit.source, **told}, id=hit.id))
        return found
