"""Hybrid search over an index that has vectors: words and pictures in, one ranked and explained list out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.errors import QueryError
from crosslens.ingest import contract
from crosslens.ingest.contract import VectorField
from crosslens.ingest.encoder import Encoder
from crosslens.ingest.images import ImageSource
from crosslens.ingest.write import read_mappings
from crosslens.queries.fusion import Part, fuse
from crosslens.queries.legs import Leg, keyword_leg, knn_leg

DEFAULT_WINDOW = 100
_MAX_WINDOW = 10_000
_MAPPING_TTL_S = 30.0

_Key = tuple[str, str]


@dataclass(frozen=True)
class Hit:
    """One result: ``score`` 0..1 is the sum of the weighted ``parts``, one for each leg of the search."""

    index: str
    id: str
    score: float
    parts: dict[str, Part]
    source: dict[str, Any]


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; ``found`` documents were in some leg's window; times in milliseconds."""

    hits: list[Hit]
    legs: list[str]
    found: int
    encode_ms: float
    search_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(self)


def recorded_fields(index: str, mappings: Mapping[str, Mapping[str, Any]]) -> dict[str, VectorField]:
    """The vector fields that the mappings behind ``index`` record, by name.

    Raises `QueryError` when there is none, or when two indices hold different models' vectors in one field.
    """
    recorded: dict[str, VectorField] = {}
    for name, mapping in mappings.items():
        for field in contract.vector_fields(mapping).values():
            if field.fingerprint != recorded.setdefault(field.field, field).fingerprint:
                raise QueryError(f"{field.field!r} holds another model's vectors in {name!r} than elsewhere")
    if not recorded:
        raise QueryError(
            f"index {index!r} has no vectors yet; make them with: crosslens add {index} --model FOLDER ..."
        )
    return recorded


class HybridSearcher:
    """Searches an index by text, by image, or by both.

        searcher = HybridSearcher(client, "products", Encoder("models/clip"))
        searcher.search("blue running shoes", filter={"term": {"in_stock": True}}).hits

    The legs are BM25 over the index's text fields and one kNN search for each vector field, each over the best
    ``window`` documents. The ranking depends on the window and never on ``size``. May be used from several threads.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        encoder: Encoder,
        *,
        fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
    ):
        """``fields`` are the vector fields to search (None: all), ``text_fields`` those of the keyword leg (None: all
        full-text fields, an empty list: no keyword leg).

        Raises `MappingError` when there is no such index, `QueryError` when it has no vectors, lacks a field named,
        or holds another model's vectors than ``encoder`` makes.
        """
        if not 1 <= window <= _MAX_WINDOW:
            raise QueryError(f"window must be from 1 to {_MAX_WINDOW}, not {window}")
        self._client, self._index, self._encoder, self._window = client, index, encoder, window
        self._wanted, self._wanted_text = fields, text_fields
        self._read_at = float("-inf")
        self._refresh()

    @property
    def fields(self) -> dict[str, VectorField]:
        """The vector fields that are searched, by name."""
        return dict(self._fields)

    def search(
        self,
        text: str | None = None,
        *,
        image: ImageSource | None = None,
        filter: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        weights: Mapping[str, float] | None = None,
        legs: Sequence[str] | None = None,
        size: int = 10,
        source: Sequence[str] | bool = True,
    ) -> SearchResult:
        """The best ``size`` documents for the text, the image, or both.

        ``filter`` is one or several Elasticsearch queries that every result meets. ``weights`` are by leg ("keyword",
        or a vector field's name), 1 where not given; ``legs`` keeps only the legs named. ``source`` names the document
        fields to return (False: none). With both a text and an image each vector field has two legs, FIELD:text and
        FIELD:image; a weight for FIELD goes to both.

        Raises `QueryError` for an empty query, a size beyond the window, or wrong weights; `ImageError` when the
        image can't be read; what the server says of a bad filter comes as `QueryError` too.
        """
        if not 0 <= size <= self._window:
            raise QueryError(f"size must be from 0 to the window of {self._window}, not {size}; give a larger window")
        if time.monotonic() - self._read_at > _MAPPING_TTL_S:
            self._refresh()
        filters = [] if filter is None else [filter] if isinstance(filter, Mapping) else list(filter)
        started = time.perf_counter()
        vectors = self._encode(text, image)
        encoded = time.perf_counter()
        run = _keep(self.legs(text, vectors, filters), legs)
        raw = self._run(run)
        expanded = _expand_weights(weights or {}, run)
        fused = fuse({leg.name: (scores, leg.floor) for leg, scores in zip(run, raw, strict=True)}, expanded)
        # Equal totals are ordered by index and id, so that the same search always gives the same list.
        best = sorted(fused.items(), key=lambda item: (-item[1][0], item[0]))[:size]
        sources = self._sources([key for key, _ in best], source)
        hits = [Hit(key[0], key[1], total, parts, sources.get(key, {})) for key, (total, parts) in best]
        finished = time.perf_counter()
        return SearchResult(
            hits, [leg.name for leg in run], len(fused), (encoded - started) * 1e3, (finished - encoded) * 1e3
        )

    def legs(
        self, text: str | None, vectors: Mapping[str, Sequence[float]], filters: Sequence[dict[str, Any]] = ()
    ) -> list[Leg]:
        """The legs of a search: ``vectors`` holds the query's vector under "text", "image" or both."""
        legs = []
        if text and text.strip() and self._text_fields:
            legs.append(keyword_leg(text, self._text_fields, window=self._window, filters=filters))
        for field in self._fields:
            for kind, vector in vectors.items():
                name = field if len(vectors) == 1 else f"{field}:{kind}"
                legs.append(knn_leg(name, field, vector, window=self._window, filters=filters))
        return legs

    def _encode(self, text: str | None, image: ImageSource | None) -> dict[str, list[float]]:
        vectors: dict[str, list[float]] = {}
        if text is not None and text.strip():
            vectors["text"] = self._encoder.encode_texts([text])[0].tolist()
        if image is not None:
            vectors["image"] = self._encoder.encode_images([image])[0].tolist()
        if not vectors:
            raise QueryError("nothing to search for: give a text that isn't blank, an image, or both")
        return vectors

    def _run(self, legs: Sequence[Leg]) -> list[dict[_Key, float]]:
        results = self._msearch([(self._index, leg.request) for leg in legs], [leg.name for leg in legs])
        return [
            {(hit["_index"], hit["_id"]): leg.raw(hit["_score"]) for hit in hits}
            for leg, hits in zip(legs, results, strict=True)
        ]

    def _sources(self, keys: Sequence[_Key], source: Sequence[str] | bool) -> dict[_Key, dict[str, Any]]:
        """The documents of the results, vectors and crosslens's own state left out."""
        if not keys or source is False:
            return {}
        wanted: dict[str, list[str]] = {}
        for index, id in keys:
            wanted.setdefault(index, []).append(id)
        filtered = {
            "includes": ["*"] if source is True else list(source),
            "excludes": [contract.STATE, *self._recorded],
        }
        searches = [
            (index, {"query": {"ids": {"values": ids}}, "size": len(ids), "_source": filtered})
            for index, ids in wanted.items()
        ]
        results = self._msearch(searches, [f"results in {index}" for index in wanted])
        return {(h["_index"], h["_id"]): h.get("_source") or {} for hits in results for h in hits}

    def _msearch(self, searches: Sequence[tuple[str, dict[str, Any]]], names: Sequence[str]) -> list[list[Any]]:
        """The hits of several searches, each of an index and a body, in one request."""
        lines = [line for index, body in searches for line in ({"index": index}, body)]
        try:
            responses = self._client.msearch(searches=lines)["responses"]
        except ApiError as error:
            body = error.body if isinstance(error.body, dict) else {}
            raise QueryError(f"Elasticsearch refused the search: {_reason(body.get('error') or {})}") from error
        for name, response in zip(names, responses, strict=True):
            if "error" in response:
                raise QueryError(f"Elasticsearch refused the search ({name}): {_reason(response['error'])}")
            if response["_shards"]["failed"]:
                raise QueryError(f"{response['_shards']['failed']} shards failed in the search ({name}); try again")
        return [response["hits"]["hits"] for response in responses]

    def _refresh(self) -> None:
        """Reads what the index holds now: its vector fields, their model, and its text fields."""
        mappings = read_mappings(self._client, self._index)
        recorded = recorded_fields(self._index, mappings)
        chosen = {f: recorded[f] for f in recorded if self._wanted is None or f in self._wanted}
        missing = sorted(set(self._wanted or ()) - set(chosen))
        if missing:
            raise QueryError(
                f"index {self._index!r} has no vector field {', '.join(missing)}; it has {', '.join(recorded)}"
            )
        for field in chosen.values():
            if field.fingerprint != self._encoder.fingerprint:
                raise QueryError(
                    f"the vectors in {field.field!r} of index {self._index!r} are of {field.model} "
                    f"({field.fingerprint}), but the query would be encoded by {self._encoder.name} "
                    f"({self._encoder.fingerprint}); use the index's model"
                )
        self._fields, self._recorded = chosen, recorded
        known = dict.fromkeys(f for mapping in mappings.values() for f in contract.text_fields(mapping))
        self._text_fields = list(known) if self._wanted_text is None else list(self._wanted_text)
        self._read_at = time.monotonic()


def _keep(legs: list[Leg], names: Sequence[str] | None) -> list[Leg]:
    if names is None:
        return legs
    kept = [leg for leg in legs if leg.name in names or leg.field in names]
    if not kept:
        raise QueryError(f"no leg is named {', '.join(names)}; this search has {', '.join(leg.name for leg in legs)}")
    return kept


def _expand_weights(weights: Mapping[str, float], legs: Sequence[Leg]) -> dict[str, float]:
    """Weights by leg: its own, else its field's. Names that are neither stay, for `fuse` to refuse."""
    shared = {leg.field for leg in legs} - {leg.name for leg in legs}
    expanded = {name: weight for name, weight in weights.items() if name not in shared}
    for leg in legs:
        if leg.field in weights:
            expanded.setdefault(leg.name, weights[leg.field])
    return expanded


def _reason(error: Any) -> str:
    """The first cause in the server's description of an error."""
    if not isinstance(error, Mapping):
        return str(error)
    causes = error.get("root_cause") or [error]
    return str(causes[0].get("reason") or error.get("reason") or error)
