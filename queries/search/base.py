"""What the waiting and the asynchronous searcher have in common: how they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from elasticsearch import AsyncElasticsearch, Elasticsearch

from crosslens.errors import QueryError
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.search.mapping import MAPPING_TTL_S, IndexReader
from crosslens.queries.search.remembered import QUERY_CACHE_BYTES, QueryVectors
from crosslens.queries.search.story import Story

Client = TypeVar("Client", Elasticsearch, AsyncElasticsearch)
_MAX_WINDOW = 10_000


class Searcher(Generic[Client]):
    """A client, and the story of the searches that are asked of it."""

    def __init__(
        self,
        client: Client,
        index: str,
        encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None = None,
        *,
        fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        mapping_ttl_s: float = MAPPING_TTL_S,
        query_cache_bytes: int = QUERY_CACHE_BYTES,
    ):
        """Search ``index``: a name, an alias, a pattern, a data stream, or several with commas.

        encoders: what makes the query's vectors, each for the fields of its model. None: the cluster, where it has the
            server plugin and the model, else the models that this machine remembers. The cluster is asked by a waiting
            client; an asynchronous searcher takes a `ClusterEncoder` that has one.
        fields: the vector fields to search. None: all.
        text_fields: the text fields of the keyword leg, in nested objects as well, with boosts as in ``title^3``. None:
            the full-text fields that can be searched in every index, 256 at most (see
            `crosslens.queries.search.textual.TextFields`); empty: no keyword leg.
        window: how many documents each leg finds, from 1 to 10,000, and at most as many as the index returns
            (``index.max_result_window``), to which the default is cut. The ranking depends on it.
        mapping_ttl_s: for how many seconds the index's mapping is taken to be as it was read.
        query_cache_bytes: how much memory the vectors of recent queries may take, so that a text, or an image given as
            bytes, that is searched for again isn't encoded again. 0: none are kept.

        Raises `QueryError` for a window or a cache out of range. What is wrong with the index raises `MappingError` (it
        isn't there, has no vectors, or lacks a field named), and with its models `ModelError` (one isn't at hand, or
        one that was given is of no field): from a waiting searcher at once, from an asynchronous one at its first
        search.
        """
        if not 1 <= window <= _MAX_WINDOW:
            raise QueryError(f"window must be from 1 to {_MAX_WINDOW}, not {window}")
        self.index = index
        self._client: Client = client
        self._encoders = Encoders.of(encoders, client if isinstance(client, Elasticsearch) else None)
        reader = IndexReader(index, self._encoders, fields, text_fields, mapping_ttl_s)
        self._story = Story(reader, window, QueryVectors(query_cache_bytes))
        self._begin()

    def _begin(self) -> None:
        """What a searcher does as soon as it is made."""
