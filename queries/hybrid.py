"""Hybrid search over an index that has vectors: words and pictures in, one ranked and explained list out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.errors import MixedModelsError, ModelError, QueryError
from crosslens.ingest import contract
from crosslens.ingest.contract import VectorField
from crosslens.ingest.encoder import Encoder
from crosslens.ingest.encoders import Encoders
from crosslens.ingest.fields import choose, read_mappings, recorded_fields
from crosslens.ingest.images import ImageSource
from crosslens.queries.fusion import Part, fuse
from crosslens.queries.legs import Leg, keyword_leg, knn_leg

DEFAULT_WINDOW = 100
_LOG = logging.getLogger("crosslens")
_MAX_WINDOW = 10_000
# Searchers see a changed mapping at most this much later; `crosslens.ingest.migrate` waits for it.
MAPPING_TTL_S = 30.0
_CONSISTENT_TRIES = 10

_Key = tuple[str, str]


@dataclass(frozen=True)
class Hit:
    """One result: ``score`` 0..1 is the sum of the weighted ``parts``, one for each leg of the search.

    ``matched`` tells, by leg, which value of a field with a vector for each value came nearest: its ``position`` among
    the document's values, and an image's ``reference``.
    """

    index: str
    id: str
    score: float
    parts: dict[str, Part]
    source: dict[str, Any]
    matched: dict[str, dict[str, Any]] = field(default_factory=dict)


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


@dataclass(frozen=True)
class _Seen:
    """What the index's mapping said when it was last read; ``at`` is monotonic time in seconds."""

    fields: dict[str, VectorField]
    own_paths: list[str]
    text_fields: list[str]
    at: float


class HybridSearcher:
    """Searches an index by text, by image, or by both.

        searcher = HybridSearcher(client, "products", Encoder("models/clip"))
        searcher.search("blue running shoes", filter={"term": {"in_stock": True}}).hits

    The legs are BM25 over the index's text fields and one kNN search for each vector field, each over the best
    ``window`` documents. The ranking depends on the window and never on ``size``. May be used from several threads.
    When the model of a vector field changes (`crosslens.ingest.migrate`), a running searcher follows by itself.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        encoders: Encoder | Encoders | Sequence[Encoder] | None = None,
        *,
        fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        mapping_ttl_s: float = MAPPING_TTL_S,
    ):
        """``encoders`` make the query's vectors, each for the fields of its model; models not given are looked for
        among those this machine remembers. ``fields`` are the vector fields to search (None: all), ``text_fields``
        those of the keyword leg (None: all full-text fields, an empty list: no keyword leg). The index's mapping is
        read again when it was read more than ``mapping_ttl_s`` seconds ago.

        Raises `MappingError` when there is no such index, it has no vectors or lacks a field named, and `ModelError`
        when the model of a field is not at hand, or one that was given is of no field.
        """
        if not 1 <= window <= _MAX_WINDOW:
            raise QueryError(f"window must be from 1 to {_MAX_WINDOW}, not {window}")
        self._client, self._index, self._window = client, index, window
        self._encoders = Encoders.of(encoders)
        self._wanted, self._wanted_text, self._ttl_s = fields, text_fields, mapping_ttl_s
        self._seen = self._look(strict=True)

    @property
    def fields(self) -> dict[str, VectorField]:
        """The vector fields that are searched, by name."""
        return dict(self._seen.fields)

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
        seen = self._current()
        filters = [] if filter is None else [filter] if isinstance(filter, Mapping) else list(filter)
        started = time.perf_counter()
        vectors = self._encode(seen, text, image)
        encoded = time.perf_counter()
        run = _keep(self._legs(seen, text, vectors, filters), legs)
        raw, matched = self._run(run)
        expanded = _expand_weights(weights or {}, run)
        fused = fuse({leg.name: (scores, leg.floor) for leg, scores in zip(run, raw, strict=True)}, expanded)
        # Equal totals are ordered by index and id, so that the same search always gives the same list.
        best = sorted(fused.items(), key=lambda item: (-item[1][0], item[0]))[:size]
        sources = self._sources(seen, [key for key, _ in best], source)
        hits = [
            Hit(key[0], key[1], total, parts, sources.get(key, {}), matched.get(key, {}))
            for key, (total, parts) in best
        ]
        finished = time.perf_counter()
        return SearchResult(
            hits, [leg.name for leg in run], len(fused), (encoded - started) * 1e3, (finished - encoded) * 1e3
        )

    def legs(
        self, text: str | None = None, *, image: ImageSource | None = None, filters: Sequence[dict[str, Any]] = ()
    ) -> list[Leg]:
        """The legs of a search, with their requests. Raises as `search` does."""
        seen = self._current()
        return self._legs(seen, text, self._encode(seen, text, image), filters)

    def _legs(
        self,
        seen: _Seen,
        text: str | None,
        vectors: Mapping[str, Mapping[str, Sequence[float]]],
        filters: Sequence[dict[str, Any]],
    ) -> list[Leg]:
        legs = []
        if text and text.strip() and seen.text_fields:
            legs.append(keyword_leg(text, seen.text_fields, window=self._window, filters=filters))
        for each in seen.fields.values():
            kinds = vectors[each.fingerprint]
            for kind, vector in kinds.items():
                name = each.field if len(kinds) == 1 else f"{each.field}:{kind}"
                legs.append(knn_leg(name, each, vector, window=self._window, filters=filters))
        return legs

    def _encode(self, seen: _Seen, text: str | None, image: ImageSource | None) -> dict[str, dict[str, list[float]]]:
        """The query's vectors by model's fingerprint, each under "text", "image" or both."""
        vectors: dict[str, dict[str, list[float]]] = {}
        for each in seen.fields.values():
            if each.fingerprint in vectors:
                continue
            encoder = self._encoders.for_field(each)
            made = vectors[each.fingerprint] = {}
            if text is not None and text.strip():
                made["text"] = encoder.encode_texts([text])[0].tolist()
            if image is not None:
                made["image"] = encoder.encode_images([image])[0].tolist()
            if not made:
                raise QueryError("nothing to search for: give a text that isn't blank, an image, or both")
        return vectors

    def _run(self, legs: Sequence[Leg]) -> tuple[list[dict[_Key, float]], dict[_Key, dict[str, dict[str, Any]]]]:
        """Each leg's raw scores by document, and by document and leg which of its values matched."""
        results = self._msearch([(self._index, leg.request) for leg in legs], [leg.name for leg in legs])
        matched: dict[_Key, dict[str, dict[str, Any]]] = {}
        scores: list[dict[_Key, float]] = []
        for leg, hits in zip(legs, results, strict=True):
            scores.append({(hit["_index"], hit["_id"]): leg.raw(hit["_score"]) for hit in hits})
            for hit in hits:
                value = leg.matched(hit)
                if value is not None:
                    matched.setdefault((hit["_index"], hit["_id"]), {})[leg.name] = value
        return scores, matched

    def _sources(self, seen: _Seen, keys: Sequence[_Key], source: Sequence[str] | bool) -> dict[_Key, dict[str, Any]]:
        """The documents of the results, vectors and crosslens's own state left out."""
        if not keys or source is False:
            return {}
        wanted: dict[str, list[str]] = {}
        for index, id in keys:
            wanted.setdefault(index, []).append(id)
        filtered = {
            "includes": ["*"] if source is True else list(source),
            "excludes": seen.own_paths,
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

    def _current(self) -> _Seen:
        if time.monotonic() - self._seen.at > self._ttl_s:
            try:
                self._seen = self._look()
            except ModelError as error:
                # A change of model that this machine can't follow: the old vectors serve until they are dropped.
                _LOG.warning("searches go on with the model in use until now: %s", error)
                self._seen = replace(self._seen, at=time.monotonic())
        return self._seen

    def _look(self, *, strict: bool = False) -> _Seen:
        """Reads what the index holds now: its vector fields, their models, and its text fields."""
        for remaining in reversed(range(_CONSISTENT_TRIES)):
            mappings = read_mappings(self._client, self._index)
            try:
                recorded = recorded_fields(self._index, mappings)
                break
            except MixedModelsError:
                # A change of model reaches the indices of an alias one after the other.
                if not remaining:
                    raise
                time.sleep(0.1)
        chosen = choose(self._index, recorded, self._wanted)
        if strict:
            self._encoders.check(chosen.values(), self._index)
        for each in chosen.values():
            self._encoders.for_field(each)
        own = dict.fromkeys(path for mapping in mappings.values() for path in contract.own_paths(mapping))
        known = dict.fromkeys(f for mapping in mappings.values() for f in contract.text_fields(mapping))
        text_fields = list(known) if self._wanted_text is None else list(self._wanted_text)
        return _Seen(chosen, list(own), text_fields, time.monotonic())


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
