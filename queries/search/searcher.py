"""Hybrid search over an index that has vectors: words and pictures in, one ranked and explained list out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, NotFoundError

from crosslens.client import server_version, server_version_async
from crosslens.errors import MixedModelsError, ModelError, QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import choose, read_mappings, usable_mappings
from crosslens.ingest.contract.mapping import text_fields
from crosslens.ingest.contract.record import VectorField, own_paths, read_record
from crosslens.ingest.contract.statistics import MOMENTS_INDEX, Moments, moments_query, read_moments, vectors_of
from crosslens.ingest.run.reading import VECTORS_LEFT_OUT_SINCE
from crosslens.ingest.sources.images import ImageSource
from crosslens.queries.fusion.fuse import Mean
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW, Scores
from crosslens.queries.search.analysis import Analysis
from crosslens.queries.search.legs import (
    KEYWORD,
    Leg,
    keyword_leg,
    knn_leg,
    named,
    native_retrievers,
    words_query,
)
from crosslens.queries.search.probes import Query, fields_of, parted, places, probes_of, texts_of
from crosslens.queries.search.readings import copies, words_of
from crosslens.queries.search.steps import (
    Aggregations,
    Fusion,
    Plan,
    Presentation,
    plan,
)
from crosslens.queries.search.terms import Terms, vectors
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.refusals import reason

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["AsyncHybridSearcher", "Hit", "HybridSearcher", "SearchResult"]
_Number = TypeVar("_Number", int, float)
_LOG = logging.getLogger("crosslens")
_MAX_WINDOW = 10_000
# Searchers see a changed mapping at most this much later; `crosslens.ingest.run.migrate` waits for it.
MAPPING_TTL_S = 30.0
_CONSISTENT_TRIES = 10
_RESCORES_SINCE = (8, 18)
_KEEP_ALIVE = "5m"
# How a text is parted into words by the server, remembered for so many texts.
_PARTED = 1_000
_POOL = ThreadPoolExecutor(4, thread_name_prefix="crosslens-words")
Text = tuple[str, tuple[str, ...]]


class SearchOptions(TypedDict, total=False):
    """What `HybridSearcher.search` takes by name; what each means, and the defaults, are said there."""

    image: ImageSource | Sequence[ImageSource] | None
    less_text: str | Sequence[str] | None
    less_image: ImageSource | Sequence[ImageSource] | None
    like: str | DocumentKey | Sequence[str | DocumentKey] | None
    query: Query | None
    filter: Query | Sequence[Query] | None
    weights: Mapping[str, float] | None
    sources: Mapping[str, str] | None
    legs: Sequence[str] | None
    normalizer: Normalizer | None
    mean: Mean
    complete: bool
    spelling: bool
    min_score: float | None
    size: int
    source: Sequence[str] | bool
    fields: Sequence[Any]
    highlight: Mapping[str, Any] | None
    aggregations: Mapping[str, Any] | None
    aggregate_over: Literal["keyword", "window"]
    collapse: str | None
    candidates: int | Mapping[str, int] | None
    oversample: float | Mapping[str, float] | None
    page: str | Literal[True] | None
    false_alarm: float | None


class SearcherOptions(TypedDict, total=False):
    """What both searchers' constructors take by name, see `HybridSearcher`."""

    fields: Sequence[str] | None
    text_fields: Sequence[str] | None
    window: int
    mapping_ttl_s: float


@dataclass(frozen=True)
class _Seen:
    """What the index's mapping said when it was last read; ``at`` is monotonic time in seconds."""

    fields: dict[str, VectorField]
    own_paths: list[str]
    text_fields: list[str]
    indices: list[str]
    version: tuple[int, ...]
    at: float
    settings: dict[str, Any] = field(default_factory=dict)
    moments: dict[str, Moments] | None = None
    analysis: Analysis = field(default_factory=Analysis)
    copies: dict[str, set[str]] = field(default_factory=dict)
    parted: dict[Text, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Request:
    """A search as it was asked for, checked."""

    terms: Terms
    query: Query | None
    filters: list[Query]
    legs: Sequence[str] | None
    fusion: Fusion
    presentation: Presentation
    aggregations: Aggregations | None
    size: int
    candidates: int | Mapping[str, int] | None
    oversample: float | Mapping[str, float] | None
    page: str | Literal[True] | None
    false_alarm: float | None
    default_weights: bool

    @property
    def needs_words(self) -> bool:
        """Whether it must be known what the keyword query could get at most."""
        return self.fusion.needs_chances and (self.legs is None or KEYWORD in self.legs)

    @property
    def needs_moments(self) -> bool:
        """Whether the corpus's moments have a part in the ranking."""
        return self.fusion.normalizer == "standardise" or self.false_alarm is not None

    def page_at(self, opened: str | None) -> _Page | None:
        """Where this search by pages stands: at the beginning, in the point in time ``opened``, or at its token."""
        if opened is not None:
            return _Page(opened, 0, self.digest)
        return _Page.of(self.page, self.digest) if isinstance(self.page, str) else None

    @property
    def digest(self) -> str:
        """Tells this search from another one, whatever page of it is asked for."""
        told = repr((replace(self, page=None, size=0),)).encode("utf-8", "surrogatepass")
        return hashlib.sha256(told).hexdigest()[:16]


@dataclass(frozen=True)
class _Liked:
    """Documents to find more of, by their own index and id, and the vectors that they have, by field."""

    keys: list[DocumentKey]
    vectors: dict[str, list[list[float]]]


@dataclass(frozen=True)
class _Page:
    """Where a search by pages stands: the point in time, how many were shown, and of which search."""

    pit: str
    offset: int
    digest: str

    def token(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.pit, self.offset, self.digest]).encode()).decode()

    @classmethod
    def of(cls, token: str, digest: str) -> _Page:
        try:
            page = cls(*json.loads(base64.urlsafe_b64decode(token.encode())))
        except (ValueError, TypeError, binascii.Error) as error:
            raise QueryError("that is no token of a search's next page") from error
        if page.digest != digest:
            raise QueryError("the token belongs to another search; ask for the same with it, but for the size")
        return page


class _Searcher:
    """What the waiting and the asynchronous searcher share: everything but talking to the server."""

    def __init__(
        self,
        index: str,
        encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None,
        *,
        fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        mapping_ttl_s: float = MAPPING_TTL_S,
        cluster: Elasticsearch | None = None,
    ):
        if not 1 <= window <= _MAX_WINDOW:
            raise QueryError(f"window must be from 1 to {_MAX_WINDOW}, not {window}")
        self._index, self._window = index, window
        self._encoders = Encoders.of(encoders, cluster)
        self._wanted, self._wanted_text, self._ttl_s = fields, text_fields, mapping_ttl_s
        self._seen: _Seen | None = None

    @property
    def _stale(self) -> bool:
        return self._seen is None or time.monotonic() - self._seen.at > self._ttl_s

    def _request(
        self,
        seen: _Seen,
        text: str | Sequence[str] | None = None,
        *,
        image: ImageSource | Sequence[ImageSource] | None = None,
        less_text: str | Sequence[str] | None = None,
        less_image: ImageSource | Sequence[ImageSource] | None = None,
        like: str | DocumentKey | Sequence[str | DocumentKey] | None = None,
        query: Query | None = None,
        filter: Query | Sequence[Query] | None = None,
        weights: Mapping[str, float] | None = None,
        sources: Mapping[str, str] | None = None,
        legs: Sequence[str] | None = None,
        normalizer: Normalizer | None = None,
        mean: Mean = "arithmetic",
        complete: bool = True,
        spelling: bool = True,
        min_score: float | None = None,
        size: int = 10,
        source: Sequence[str] | bool = True,
        fields: Sequence[Any] = (),
        highlight: Mapping[str, Any] | None = None,
        aggregations: Mapping[str, Any] | None = None,
        aggregate_over: Literal["keyword", "window"] = "keyword",
        collapse: str | None = None,
        candidates: int | Mapping[str, int] | None = None,
        oversample: float | Mapping[str, float] | None = None,
        page: str | Literal[True] | None = None,
        false_alarm: float | None = None,
    ) -> _Request:
        if not 0 <= size <= self._window:
            raise QueryError(f"size must be from 0 to the window of {self._window}, not {size}; give a larger window")
        if false_alarm is not None and not 0 < false_alarm < 1:
            raise QueryError(f"the false-alarm rate must lie between 0 and 1, not {false_alarm}")
        if aggregate_over not in ("keyword", "window"):
            raise QueryError(f'aggregate_over must be "keyword" or "window", not {aggregate_over!r}')
        several = [] if like is None else [like] if isinstance(like, str | tuple) else list(like)
        return _Request(
            Terms.of(
                text,
                image,
                less_text,
                less_image,
                [(self._index, each) if isinstance(each, str) else each for each in several],
            ),
            query,
            [] if filter is None else [dict(filter)] if isinstance(filter, Mapping) else list(filter),
            legs,
            Fusion(
                dict(weights or {}),
                normalizer or seen.settings.get("normalizer") or DEFAULT_NORMALIZER,
                mean,
                min_score,
                complete,
                spelling=spelling,
                sources={**(seen.settings.get("sources") or {}), **(sources or {})},
            ),
            Presentation(source, tuple(fields), highlight, collapse),
            None if aggregations is None else Aggregations(aggregations, aggregate_over),
            size,
            candidates,
            oversample,
            page,
            false_alarm,
            weights is None,
        )

    def _words(self, seen: _Seen, request: _Request, liked: _Liked) -> Query | None:
        """What the keyword leg asks; None where it has nothing to ask."""
        terms = request.terms
        if request.query:
            return request.query
        if not seen.text_fields:
            return None
        if terms.words:
            return words_query(terms.words, seen.text_fields)
        if not terms.like:
            return None
        documents = [{"_index": index, "_id": id} for index, id in liked.keys]
        return {
            "more_like_this": {"fields": seen.text_fields, "like": documents, "min_term_freq": 1, "min_doc_freq": 1}
        }

    def _unparted(self, seen: _Seen, request: _Request, words: Query | None) -> list[Text]:
        """The texts of which only the server can tell what their words are, and hasn't told yet."""
        if words is None or not request.needs_words:
            return []
        texts = dict.fromkeys(texts_of(words))
        return [text for text in texts if text not in seen.parted and seen.analysis.words(*text) is None]

    def _keep_parted(self, seen: _Seen, text: Text, answer: Mapping[str, Any]) -> None:
        if len(seen.parted) >= _PARTED:
            seen.parted.clear()
        found = parted(places(answer, seen.analysis.named(text[1])), text[0])
        # An analyser that makes one token of the whole text, or none that tell their place, leaves it as it is.
        seen.parted[text] = found or [text[0]]

    def _keyword_leg(self, seen: _Seen, request: _Request, words: Query, filters: Sequence[Query]) -> Leg:
        def split(text: str, fields: tuple[str, ...]) -> Sequence[str]:
            known = seen.analysis.words(text, fields)
            return seen.parted.get((text, fields), [text]) if known is None else known

        probes = probes_of(words, split, filters) if request.needs_words else None
        read = (fields_of(words) if request.query else None) or seen.text_fields
        return keyword_leg(
            words,
            seen.text_fields,
            window=self._window,
            filters=filters,
            reads=words_of(read, seen.copies, seen.analysis.named),
            probes=probes,
        )

    def _vectors(self, seen: _Seen, request: _Request, liked: _Liked) -> dict[str, list[float]]:
        return vectors(request.terms, list(seen.fields.values()), self._encoders, liked.vectors)

    def _legs(
        self, seen: _Seen, request: _Request, liked: _Liked, words: Query | None, made: Mapping[str, list[float]]
    ) -> list[Leg]:
        filters = list(request.filters)
        if liked.keys:
            # What is to be found more of isn't itself a result.
            filters.append({"bool": {"must_not": [named(liked.keys)]}})
        legs = []
        if words is not None:
            legs.append(self._keyword_leg(seen, request, words, filters))
        for name, vector in made.items():
            legs.append(
                knn_leg(
                    seen.fields[name],
                    vector,
                    window=self._window,
                    filters=filters,
                    candidates=_for_leg(request.candidates, name),
                    oversample=_for_leg(request.oversample, name),
                )
            )
        return _keep(legs, request.legs)

    def _plan(self, seen: _Seen, request: _Request, legs: list[Leg], page: _Page | None) -> Plan:
        moments = {
            leg.name: seen.moments[leg.name].of_cosine(leg.query["query_vector"])
            for leg in legs
            if seen.moments is not None and leg.kind == "knn" and request.needs_moments
        }
        weights = request.fusion.weights
        if request.default_weights and request.fusion.normalizer == seen.settings.get("normalizer"):
            # As tuned, on the scale of the tuning; a search of other legs than those takes what concerns it.
            tuned = {leg.name: seen.settings.get("weights", {}).get(leg.name, 0.0) for leg in legs}
            weights = tuned if any(tuned.values()) else {}
        # Any of several legs can raise a false alarm, so each gets its share of the rate.
        rate = (request.false_alarm or 0.0) / max(len(moments), 1)
        floors = {
            name: seen.moments[name].noise_floor(rate)
            for name in moments
            if seen.moments is not None and request.false_alarm is not None
        }
        return plan(
            self._index,
            legs,
            replace(request.fusion, weights=weights, moments=moments, floors=floors),
            request.presentation,
            seen.own_paths,
            size=request.size,
            offset=page.offset if page else 0,
            aggregations=request.aggregations,
            rescore=seen.version >= _RESCORES_SINCE,
            pit=page.pit if page else None,
        )

    def _lines(self, searches: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """An ``_msearch`` of several searches, each of an index and a body; a point in time names the index itself."""
        return [line for index, body in searches for line in ({} if "pit" in body else {"index": index}, body)]

    def _liked_request(self, seen: _Seen, like: Sequence[DocumentKey]) -> list[tuple[str, dict[str, Any]]]:
        paths = [each.path for each in seen.fields.values()]
        source: dict[str, Any] = {"includes": paths}
        if seen.version >= VECTORS_LEFT_OUT_SINCE:
            source["exclude_vectors"] = False
        return [(index, {"query": {"ids": {"values": [id]}}, "_source": source, "size": 1}) for index, id in like]

    def _liked(self, seen: _Seen, like: Sequence[DocumentKey], answers: Sequence[Mapping[str, Any]]) -> _Liked:
        """What the documents to find more of are like. Raises `QueryError` for one that isn't there."""
        found, keys = dict[str, list[list[float]]](), list[DocumentKey]()
        for (index, id), answer in zip(like, answers, strict=True):
            if "error" in answer or not answer["hits"]["hits"]:
                raise QueryError(f"there is no document {id!r} in {index!r} to find more of")
            hit = answer["hits"]["hits"][0]
            keys.append((hit["_index"], hit["_id"]))
            source = hit.get("_source") or {}
            for each in seen.fields.values():
                for vector in vectors_of(source, each):
                    found.setdefault(each.field, []).append(vector)
        return _Liked(keys, found)

    def _moments_request(self, seen: _Seen, request: _Request) -> list[tuple[str, dict[str, Any]]]:
        """The search for the corpus's moments, where they are needed and not known yet."""
        if seen.moments is not None or not request.needs_moments:
            return []
        return [(MOMENTS_INDEX, moments_query(seen.indices, list(seen.fields.values())))]

    def _with_moments(self, seen: _Seen, answers: Sequence[Mapping[str, Any]]) -> _Seen:
        """The same, with the moments that were asked for. Raises `QueryError` when a field has none."""
        if not answers:
            return seen
        hits = [] if "error" in answers[0] else answers[0]["hits"]["hits"]
        found = read_moments(hits, list(seen.fields.values()))
        missing = sorted(seen.fields.keys() - found.keys())
        if missing:
            raise QueryError(
                f"the vectors of {', '.join(missing)} in {self._index!r} have not been measured; "
                f"run: crosslens calibrate {self._index}"
            )
        self._seen = replace(seen, moments=found)
        return self._seen

    def _see(
        self,
        mappings: Mapping[str, Mapping[str, Any]],
        settings: Mapping[str, Mapping[str, Any]],
        version: tuple[int, ...],
    ) -> _Seen:
        """What the mappings say. Raises `MixedModelsError` in the moment in which several indices change models."""
        chosen = choose(self._index, mappings, self._wanted)
        if self._seen is None:
            self._encoders.check(chosen.values(), self._index)
        for each in chosen.values():
            self._encoders.for_field(each)
        own = dict.fromkeys(path for mapping in mappings.values() for path in own_paths(mapping))
        known = dict.fromkeys(f for mapping in mappings.values() for f in text_fields(mapping))
        searched = list(known) if self._wanted_text is None else list(self._wanted_text)
        chosen_by_owner = next((found for each in mappings.values() if (found := read_record(each).search)), {})
        held: dict[str, set[str]] = {}
        for mapping in mappings.values():
            for path, origins in copies(mapping).items():
                held.setdefault(path, set()).update(origins)
        return _Seen(
            chosen,
            list(own),
            searched,
            list(mappings),
            version,
            time.monotonic(),
            chosen_by_owner,
            analysis=Analysis.of(mappings, settings),
            copies=held,
        )

    def _kept_seeing(self, error: ModelError) -> _Seen:
        """The old state, after a change of model that this machine can't follow. Raises ``error`` if there is none."""
        if self._seen is None:
            raise error
        _LOG.warning("searches go on with the model in use until now: %s", error)
        return replace(self._seen, at=time.monotonic())

    def _finish(self, result: SearchResult, page: _Page | None, times: Sequence[float]) -> SearchResult:
        """The result with its times and, by pages, the token of the next one."""
        token = None
        if page is not None and page.offset + len(result.hits) < result.found and result.hits:
            token = replace(page, offset=page.offset + len(result.hits)).token()
        started, encoded, finished = times
        return replace(result, encode_ms=(encoded - started) * 1e3, search_ms=(finished - encoded) * 1e3, next=token)


class HybridSearcher(_Searcher):
    """Searches an index by text, by image, by both, or by a document.

        searcher = HybridSearcher(client, "products", Encoder("models/clip"))
        searcher.search("blue running shoes", filter={"term": {"in_stock": True}}).hits

    The legs are BM25 over the index's text fields and one kNN search for each vector field, each over the best
    ``window`` documents. The ranking depends on the window and never on ``size``. May be used from several threads.
    When the model of a vector field changes (`crosslens.ingest.run.migrate`), a running searcher follows by itself.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None = None,
        **options: Unpack[SearcherOptions],
    ):
        """``encoders`` make the query's vectors, each for the fields of its model; with none given, the cluster makes
        them where it has the server plugin and the model, else those that this machine remembers. ``fields`` are the
        vector fields to search (None: all), ``text_fields`` those of the keyword leg (None: all full-text fields, an
        empty list: no keyword leg). ``window`` is how many documents each leg finds (100). The index's mapping is read
        again when it was read more than ``mapping_ttl_s`` seconds ago (30).

        Raises `MappingError` when there is no such index, it has no vectors or lacks a field named, and `ModelError`
        when the model of a field is not at hand, or one that was given is of no field.
        """
        super().__init__(index, encoders, cluster=client, **options)
        self._client = client
        self._current()

    @property
    def fields(self) -> dict[str, VectorField]:
        """The vector fields that are searched, by name."""
        return dict(self._current().fields)

    @property
    def settings(self) -> dict[str, Any]:
        """What `crosslens tune` noted in the index: ``weights`` and ``normalizer``; empty for nothing."""
        return dict(self._current().settings)

    def search(self, text: str | Sequence[str] | None = None, **how: Unpack[SearchOptions]) -> SearchResult:
        """The best documents for what is looked for. All arguments but ``text`` are by name.

        What to look for:
        ``text``, ``image``: one or several; ``less_text``, ``less_image``: what to look away from; ``like``: a
        document, by id or (index, id), or several, to find more of. Each field's query vector is the sum of theirs.
        The keyword leg searches for all of ``text``, or for ``query``, any Elasticsearch query.

        Which documents:
        ``filter``: one or several Elasticsearch queries that every result meets. ``min_score``: the least total.
        ``collapse``: a field of whose values each comes once. ``size``: how many, within the window.

        How they are ranked: ``weights`` by leg ("keyword", or a vector field's name); ``legs``: only those named.
        ``normalizer`` and ``mean`` as in `crosslens.queries.fusion.fuse`: by default "evidence", whose totals behave
        like probabilities. ``sources``: a name for what a leg reads, by leg, where legs read the same and the index
        doesn't tell, or tells it otherwise (`crosslens.queries.search.readings`). Weights, sources and normalizer that
        `crosslens tune` noted in the index are the defaults. ``complete``: the documents shown get their true scores in
        all legs, in a second round trip, which also fetches them; by evidence that changes no ranking, by other
        normalizers it decides it. ``spelling``: by evidence a word that nobody wrote is also looked for with one letter
        changed, in a round trip more. ``candidates`` and ``oversample`` as in `crosslens.queries.search.legs.knn_leg`,
        for all legs or by leg.

        What is returned:
        ``source``: document fields (False: none); ``fields``, ``highlight``: as in ``_search``. ``aggregations``: as in
        ``_search``, over all keyword matches or, with ``aggregate_over="window"``, over the documents of the window.
        ``false_alarm``: a rate, as in 0.05, at which a query that nothing answers may pass for answered; the result's
        ``answered`` then tells whether its best vectors stand out of the noise.
        ``page``: True for the first of pages that don't shift while the index changes, then the result's ``next``.

        Raises `QueryError` for an empty query, a size beyond the window, wrong weights and the like, and for what the
        server says of a bad filter; `ImageError` when an image can't be read.
        """
        seen = self._current()
        return self._run(seen, self._request(seen, text, **how))

    def _run(self, seen: _Seen, request: _Request) -> SearchResult:
        started = time.perf_counter()
        liked = self._liked(seen, request.terms.like, self._ask(self._liked_request(seen, request.terms.like)))
        seen = self._with_moments(seen, self._ask(self._moments_request(seen, request)))
        legs = self._legs_of(seen, request, liked)
        encoded = time.perf_counter()
        opened = None
        if request.page is True:
            opened = self._client.open_point_in_time(index=self._index, keep_alive=_KEEP_ALIVE)["id"]
        page = request.page_at(opened)
        steps = self._plan(seen, request, legs, page)
        try:
            asked = next(steps)
            while True:
                asked = steps.send(self._ask(asked))
        except StopIteration as end:
            result: SearchResult = end.value
        return self._finish(result, page, (started, encoded, time.perf_counter()))

    def scores(
        self, text: str | Sequence[str] | None = None, *, standardise: bool = False, **how: Unpack[SearchOptions]
    ) -> dict[str, Scores[DocumentKey]]:
        """What any normalizer would fuse, by leg: the completed scores of the window, and what evidence needs besides.

        ``standardise`` asks for the corpus's moments too. Takes what `search` takes, and raises as it does.
        """
        how["normalizer"] = "standardise" if standardise else "theoretical-min-max"
        how["size"], how["source"] = 0, False
        seen = self._current()
        request = self._request(seen, text, **how)
        return self._run(seen, replace(request, fusion=replace(request.fusion, comparing=True))).scores

    def legs(self, text: str | Sequence[str] | None = None, **how: Unpack[SearchOptions]) -> list[Leg]:
        """The legs of a search, with their requests. Takes what `search` takes, and raises as it does."""
        seen = self._current()
        request = self._request(seen, text, **how)
        liked = self._liked(seen, request.terms.like, self._ask(self._liked_request(seen, request.terms.like)))
        return self._legs_of(seen, request, liked)

    def _legs_of(self, seen: _Seen, request: _Request, liked: _Liked) -> list[Leg]:
        words = self._words(seen, request, liked)
        # The server parts the text while it is encoded.
        asked = [(text, _POOL.submit(self._part, seen, text)) for text in self._unparted(seen, request, words)]
        made = self._vectors(seen, request, liked)
        for text, answer in asked:
            self._keep_parted(seen, text, answer.result())
        return self._legs(seen, request, liked, words, made)

    def _part(self, seen: _Seen, text: Text) -> Mapping[str, Any]:
        index, body = seen.analysis.question(*text)
        try:
            answer: Mapping[str, Any] = self._client.termvectors(index=index, body=body).body
        except ApiError as error:
            return _unasked(error)
        return answer

    def to_body(self, text: str | Sequence[str] | None = None, **how: Unpack[SearchOptions]) -> dict[str, Any]:
        """Plain Elasticsearch requests for what `search` would look for, to send from anywhere.

        ``legs`` has each leg's own search by name; ``rrf`` and ``linear`` are the same for Elasticsearch's retrievers,
        for those who have the licence.
        """
        legs = self.legs(text, **how)
        bodies: dict[str, Any] = {"legs": {leg.name: leg.request for leg in legs}}
        return {**bodies, **native_retrievers(legs, how.get("weights") or {}, size=how.get("size", 10))}

    def _ask(self, searches: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        if not searches:
            return []
        try:
            answers: list[dict[str, Any]] = self._client.msearch(searches=self._lines(searches)).body["responses"]
        except ApiError as error:
            raise refused(error) from error
        return answers

    def _current(self) -> _Seen:
        if self._seen is None or self._stale:
            try:
                self._seen = self._look()
            except ModelError as error:
                self._seen = self._kept_seeing(error)
        return self._seen

    def _look(self) -> _Seen:
        version = self._seen.version if self._seen else server_version(self._client)
        for remaining in reversed(range(_CONSISTENT_TRIES)):
            try:
                mappings = read_mappings(self._client, self._index)
                return self._see(mappings, self._settings(), version)
            except MixedModelsError:
                # A change of model reaches the indices of an alias one after the other.
                if not remaining:
                    raise
                time.sleep(0.1)
        raise AssertionError("the last try raises")

    def _settings(self) -> dict[str, dict[str, Any]]:
        """By index, the flat settings of its analysis; none where this user may not read them."""
        try:
            found = self._client.indices.get_settings(index=self._index, **_ANALYSIS_ONLY)
        except ApiError as error:
            return _unread(error)
        return {name: entry["settings"] for name, entry in found.items()}


class AsyncHybridSearcher(_Searcher):
    """As `HybridSearcher`, with an asynchronous client; encoding runs on a thread. The mapping is read at first use."""

    def __init__(
        self,
        client: AsyncElasticsearch,
        index: str,
        encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None = None,
        **options: Unpack[SearcherOptions],
    ):
        """As `HybridSearcher`, but that errors of the index and the models come with the first search, and that the
        cluster encodes only if a `ClusterEncoder` is given, which takes a waiting client."""
        super().__init__(index, encoders, **options)
        self._client = client

    async def search(self, text: str | Sequence[str] | None = None, **how: Unpack[SearchOptions]) -> SearchResult:
        """As `HybridSearcher.search`."""
        seen = await self._current()
        request = self._request(seen, text, **how)
        started = time.perf_counter()
        answers = await self._ask(self._liked_request(seen, request.terms.like))
        liked = self._liked(seen, request.terms.like, answers)
        seen = self._with_moments(seen, await self._ask(self._moments_request(seen, request)))
        legs = await self._legs_of(seen, request, liked)
        encoded = time.perf_counter()
        opened = None
        if request.page is True:
            opened = (await self._client.open_point_in_time(index=self._index, keep_alive=_KEEP_ALIVE))["id"]
        page = request.page_at(opened)
        steps = self._plan(seen, request, legs, page)
        try:
            asked = next(steps)
            while True:
                asked = steps.send(await self._ask(asked))
        except StopIteration as end:
            result: SearchResult = end.value
        return self._finish(result, page, (started, encoded, time.perf_counter()))

    async def _legs_of(self, seen: _Seen, request: _Request, liked: _Liked) -> list[Leg]:
        words = self._words(seen, request, liked)
        texts = self._unparted(seen, request, words)
        made, *answers = await asyncio.gather(
            asyncio.to_thread(self._vectors, seen, request, liked), *(self._part(seen, text) for text in texts)
        )
        for text, answer in zip(texts, answers, strict=True):
            self._keep_parted(seen, text, answer)
        return self._legs(seen, request, liked, words, made)

    async def _part(self, seen: _Seen, text: Text) -> Mapping[str, Any]:
        index, body = seen.analysis.question(*text)
        try:
            answer: Mapping[str, Any] = (await self._client.termvectors(index=index, body=body)).body
        except ApiError as error:
            return _unasked(error)
        return answer

    async def _ask(self, searches: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        if not searches:
            return []
        try:
            answer = await self._client.msearch(searches=self._lines(searches))
        except ApiError as error:
            raise refused(error) from error
        answers: list[dict[str, Any]] = answer.body["responses"]
        return answers

    async def _current(self) -> _Seen:
        if self._seen is None or self._stale:
            try:
                self._seen = await self._look()
            except ModelError as error:
                self._seen = self._kept_seeing(error)
        return self._seen

    async def _look(self) -> _Seen:
        version = self._seen.version if self._seen else await server_version_async(self._client)
        for remaining in reversed(range(_CONSISTENT_TRIES)):
            try:
                found = await self._client.indices.get_mapping(index=self._index, expand_wildcards="open")
            except NotFoundError as error:
                raise QueryError(f"no index, alias or data stream is named {self._index!r}") from error
            settings = await self._settings()
            try:
                return await asyncio.to_thread(self._see, usable_mappings(self._index, found.body), settings, version)
            except MixedModelsError:
                if not remaining:
                    raise
                await asyncio.sleep(0.1)
        raise AssertionError("the last try raises")

    async def _settings(self) -> dict[str, dict[str, Any]]:
        try:
            found = await self._client.indices.get_settings(index=self._index, **_ANALYSIS_ONLY)
        except ApiError as error:
            return _unread(error)
        return {name: entry["settings"] for name, entry in found.items()}


_ANALYSIS_ONLY: dict[str, Any] = {
    "name": "index.analysis.*",
    "flat_settings": True,
    "expand_wildcards": "open",
    "ignore_unavailable": True,
}


def _unread(error: ApiError) -> dict[str, dict[str, Any]]:
    if error.status_code != 403:
        raise refused(error) from error
    _LOG.debug("the index's analysis can't be read, and is taken to be Elasticsearch's own: %s", error)
    return {}


def _unasked(error: ApiError) -> dict[str, Any]:
    """A text that the server doesn't part stays whole: the ranking is then a little less sure of its words."""
    _LOG.debug("the server doesn't tell a text's words: %s", error)
    return {}


def refused(error: ApiError) -> QueryError:
    """What the server says of a request as a whole."""
    body = error.body if isinstance(error.body, dict) else {}
    return QueryError(f"Elasticsearch refused the search: {reason(body.get('error') or {}) or error}")


def _for_leg(value: _Number | Mapping[str, _Number] | None, name: str) -> _Number | None:
    return value.get(name) if isinstance(value, Mapping) else value


def _keep(legs: list[Leg], names: Sequence[str] | None) -> list[Leg]:
    if names is None:
        return legs
    kept = [leg for leg in legs if leg.name in names]
    if not kept:
        raise QueryError(f"no leg is named {', '.join(names)}; this search has {', '.join(leg.name for leg in legs)}")
    return kept
