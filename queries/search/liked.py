"""Documents to find more of: what they are called, and the vectors that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.run.reading import VECTORS_LEFT_OUT_SINCE
from crosslens.queries.search.answers import ask
from crosslens.queries.search.mapping import Seen
from crosslens.queries.search.requests import Steps


@dataclass(frozen=True)
class Liked:
    """Documents by their own index and id (an alias may have led to them), and by field their vectors, [n][dims].

    ``routing`` has that of each document, None where it is routed by its id.
    """

    keys: list[DocumentKey]
    vectors: dict[str, list[list[float]]]
    routing: list[str | None]

    @property
    def items(self) -> list[dict[str, str]]:
        """The documents as a ``more_like_this`` query names them."""
        return [
            {"_index": index, "_id": id, **({} if routing is None else {"routing": routing})}
            for (index, id), routing in zip(self.keys, self.routing, strict=True)
        ]


def read_liked(seen: Seen, like: Sequence[DocumentKey]) -> Steps[Liked]:
    """Return the documents named, in one round trip. Raises `QueryError` for one that isn't there."""
    source: dict[str, Any] = {"includes": [each.path for each in seen.fields.values()]}
    if seen.version >= VECTORS_LEFT_OUT_SINCE:
        source["exclude_vectors"] = False
    answers = yield from ask(
        [(index, {"query": {"ids": {"values": [id]}}, "_source": source, "size": 1}) for index, id in like]
    )
    vectors, keys, routing = dict[str, list[list[float]]](), list[DocumentKey](), list[str | None]()
    for (index, id), answer in zip(like, answers, strict=True):
        if "error" in answer or not answer["hits"]["hits"]:
            raise QueryError(f"there is no document {id!r} in {index!r} to find more of")
        hit = answer["hits"]["hits"][0]
        keys.append((hit["_index"], hit["_id"]))
        routing.append(hit.get("_routing"))
        for each in seen.fields.values():
            found = vectors_of(hit.get("_source") or {}, each)
            if found and each.moments:
                # A file's many moments are to weigh no more than a document's one vector.
                found = [np.mean(np.asarray(found, dtype=np.float64), axis=0).tolist()]
            for vector in found:
                vectors.setdefault(each.field, []).append(vector)
    return Liked(keys, vectors, routing)
