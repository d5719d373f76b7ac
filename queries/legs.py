"""The legs of a hybrid search as plain Elasticsearch request bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crosslens.errors import QueryError
from crosslens.ingest.contract import VectorField

Kind = Literal["keyword", "knn"]
# Elasticsearch's own limit of num_candidates.
_MAX_CANDIDATES = 10_000
_INNER = "matched"
_TOLD = ("position", "reference")


@dataclass(frozen=True)
class Leg:
    """One search of the ``_msearch``: its name, its request, and how its ``_score`` reads.

    ``field`` is what users call it by when several legs search one vector field: that field, or "keyword".
    ``floor`` is the least raw score possible: 0 for BM25, -1 for a cosine. ``nested`` vectors are several a document.
    """

    name: str
    field: str
    kind: Kind
    request: dict[str, Any]
    floor: float
    nested: bool = False

    def raw(self, score: float) -> float:
        """The leg's own scale: BM25 as it is; the cosine behind Elasticsearch's ``_score`` = (1 + cosine) / 2."""
        return score if self.kind == "keyword" else 2.0 * score - 1.0

    def matched(self, hit: Mapping[str, Any]) -> dict[str, Any] | None:
        """Which of the hit's values came nearest: its ``position`` and, of an image, its ``reference``."""
        if not self.nested:
            return None
        inner = hit["inner_hits"][_INNER]["hits"]["hits"]
        return {k: v for k, v in inner[0]["_source"].items() if k in _TOLD} if inner else None


def keyword_leg(text: str, fields: Sequence[str], *, window: int, filters: Sequence[dict[str, Any]]) -> Leg:
    """BM25 over ``fields``, each document by its best field; any of the words may match."""
    if not fields:
        raise QueryError("the index has no text field to search by keyword; leave the keyword leg out")
    query: dict[str, Any] = {
        "multi_match": {"query": text, "fields": list(fields), "type": "best_fields", "operator": "or"}
    }
    if filters:
        query = {"bool": {"must": [query], "filter": list(filters)}}
    return Leg("keyword", "keyword", "keyword", _request(window, {"query": query}), 0.0)


def knn_leg(
    name: str, field: VectorField, vector: Sequence[float], *, window: int, filters: Sequence[dict[str, Any]]
) -> Leg:
    """The ``window`` nearest documents by the cosine of ``field`` and ``vector``, filtered before they are counted.

    Of a field with several vectors a document, the nearest one counts, and an inner hit tells which it is.
    """
    knn: dict[str, Any] = {
        "field": field.vector_path,
        "query_vector": list(vector),
        "k": window,
        "num_candidates": min(max(2 * window, 200), _MAX_CANDIDATES),
    }
    if filters:
        knn["filter"] = list(filters)
    if field.each:
        told = [f"{field.path}.{name}" for name in _TOLD]
        knn["inner_hits"] = {"name": _INNER, "size": 1, "_source": told}
    return Leg(name, field.field, "knn", _request(window, {"knn": knn}), -1.0, field.each)


def _request(window: int, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "size": window, "_source": False, "track_total_hits": False}
