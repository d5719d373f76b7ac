"""A Haystack component over a hybrid searcher; needs the extra "haystack"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack.utils import Secret

from crosslens.client import Connection, connect
from crosslens.errors import QueryError
from crosslens.ingest.model.encoder import Encoder
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.integrations.contents import contents, metadata
from crosslens.queries.search.searcher import HybridSearcher


@component
class CrosslensRetriever:
    """Finds documents for a text, in a pipeline.

        pipeline.add_component("retriever", CrosslensRetriever(index="products", content_field="description"))

    Named by its ``index``, it can be saved with its pipeline, without secrets: API key and password are Haystack's
    `Secret`, or left to the environment. It connects when the pipeline is warmed up; to load it, name this module in
    Haystack's ``allowed_modules``. Over a ``searcher`` of your own it works at once, but can't be saved.
    """

    def __init__(
        self,
        searcher: HybridSearcher | None = None,
        *,
        index: str | None = None,
        url: str | None = None,
        api_key: Secret | None = None,
        user: str | None = None,
        password: Secret | None = None,
        ca_certs: str | None = None,
        cloud_id: str | None = None,
        model: str | None = None,
        vector_fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        content_field: str | None = None,
        top_k: int = 10,
    ):
        """``content_field``, which may lie within objects ("product.description"), becomes a document's content (None:
        its title); its source is its meta. ``top_k`` is how many `run` returns by default.

        What is left out of the connection comes from the environment, as for `crosslens.connect`. ``model`` is a model
        folder (None: the index's own model). Raises `QueryError` without, or with both, ``searcher`` and ``index``.
        """
        if (searcher is None) == (index is None):
            raise QueryError("a retriever needs a searcher or the name of an index, and not both", parameter="index")
        self._searcher = searcher
        self._content_field, self._top_k = content_field, top_k
        self._parameters: dict[str, Any] = {
            "index": index,
            "url": url,
            "api_key": api_key,
            "user": user,
            "password": password,
            "ca_certs": ca_certs,
            "cloud_id": cloud_id,
            "model": model,
            "vector_fields": None if vector_fields is None else list(vector_fields),
            "text_fields": None if text_fields is None else list(text_fields),
            "window": window,
            "content_field": content_field,
            "top_k": top_k,
        }

    def warm_up(self) -> None:
        """Connect, and load the model. Raises what `crosslens.connect` and `HybridSearcher` raise."""
        if self._searcher is not None:
            return
        given = self._parameters
        connection = Connection.from_environment(
            given["url"],
            None if given["api_key"] is None else given["api_key"].resolve_value(),
            given["user"],
            None if given["password"] is None else given["password"].resolve_value(),
            given["ca_certs"],
            given["cloud_id"],
        )
        self._searcher = HybridSearcher(
            connect(connection),
            given["index"],
            None if given["model"] is None else Encoder(Path(given["model"])),
            fields=given["vector_fields"],
            text_fields=given["text_fields"],
            window=given["window"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the component as Haystack saves it. Raises `SerializationError` for one over a searcher."""
        if self._parameters["index"] is None:
            raise SerializationError(
                "a CrosslensRetriever over a searcher can't be saved, since a searcher holds an open client; "
                "make it with index= (and url=, model= and the like) instead"
            )
        secrets = {
            name: secret.to_dict() for name in ("api_key", "password") if (secret := self._parameters[name]) is not None
        }
        saved: dict[str, Any] = default_to_dict(self, **{**self._parameters, **secrets})
        return saved

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CrosslensRetriever:
        """Return the component that `to_dict` described."""
        given = dict(data.get("init_parameters") or {})
        for name in ("api_key", "password"):
            if isinstance(given.get(name), dict):
                given[name] = Secret.from_dict(given[name])
        loaded: CrosslensRetriever = default_from_dict(cls, {**data, "init_parameters": given})
        return loaded

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the best documents, with their scores; ``options`` go to `HybridSearcher.search`."""
        self.warm_up()
        assert self._searcher is not None
        size = self._top_k if top_k is None else top_k
        hits = self._searcher.search(query, **{"size": size, **(options or {})}).hits
        found = []
        for hit, content in zip(hits, contents(hits, self._content_field), strict=True):
            parts = {leg: part.weighted for leg, part in hit.parts.items()}
            meta = {**metadata(hit), "index": hit.index, "parts": parts}
            if hit.moments:
                meta["moments"] = [asdict(each) for each in hit.moments]
            found.append(Document(id=f"{hit.index}/{hit.id}", content=content, score=hit.score, meta=meta))
        return {"documents": found}
