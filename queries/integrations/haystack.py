"""A Haystack component over a hybrid searcher; needs the extra "haystack"."""

from __future__ import annotations

from typing import Any

from haystack import Document, component

from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.table import title_of


@component
class CrosslensRetriever:
    """Finds documents for a text, in a pipeline.

        pipeline.add_component("retriever", CrosslensRetriever(searcher, content_field="description"))

    ``content_field`` is what becomes a document's content (None: its title); the rest of its source is its meta.
    """

    def __init__(self, searcher: HybridSearcher, *, content_field: str | None = None, top_k: int = 10):
        """``top_k`` is how many are returned unless `run` is told otherwise."""
        self._searcher, self._content_field, self._top_k = searcher, content_field, top_k

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """The best documents, with their scores; ``options`` go to `HybridSearcher.search`."""
        found = []
        for hit in self._searcher.search(query, size=top_k or self._top_k, **(options or {})).hits:
            content = str(hit.source.get(self._content_field, "")) if self._content_field else title_of(hit)
            meta = {**hit.source, "index": hit.index, "parts": {leg: p.weighted for leg, p in hit.parts.items()}}
            found.append(Document(id=f"{hit.index}/{hit.id}", content=content, score=hit.score, meta=meta))
        return {"documents": found}
