"""The legs of a hybrid search as plain Elasticsearch request bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.record import VectorField
from crosslens.queries.search.inner import INNER, inner_moments, moment_of
from crosslens.queries.search.probes import Probes, single
from crosslens.queries.search.readings import Reads
from crosslens.queries.search.requests import Query
from crosslens.queries.search.senses import reads_of, sense_of
from crosslens.queries.search.textual import words_query
from crosslens.queries.show.moments import Sense

Kind = Literal["keyword", "knn"]
# Elasticsearch's own limit of num_candidates.
_MAX_CANDIDATES = 10_000
# How many documents a completion names at a time: less than the server returns at most (index.max_result_window), and
# fewer where several vectors a document fill the candidates sooner.
PART, _NESTED_PART = 5_000, 250
_TOLD = ("position", "reference", "start", "end")
# Of what is shown of a document, how many moments each leg names.
_MOMENTS = 3
KEYWORD = "keyword"


def named(keys: Sequence[DocumentKey]) -> Query:
    """A query that exactly the documents of these indices and ids meet."""
    by_index: dict[str, list[str]] = {}
    for index, id in keys:
        by_index.setdefault(index, []).append(id)
    parts: list[Query] = [
        {"bool": {"filter": [{"term": {"_index": index}}, {"ids": {"values": ids}}]}} for index, ids in by_index.items()
    ]
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}


@dataclass(frozen=True)
class Leg:
    """One ranked list of a search: its name, its query, and how its ``_score`` reads.

    ``name`` is the vector field's, "keyword", or of captions their text field's. ``query`` is the ``query`` or the
    ``knn`` of a request. ``floor`` is the least raw score possible: 0 for BM25, -1 for a cosine. ``nested`` values are
    several a document; ``quantised`` vectors are compared roughly unless rescored. ``sense`` is what is compared with
    the query (None: words of the document), ``reads`` the fields that it comes from, and ``probes`` say what a keyword
    query can get at most (None: not asked, or unknown). ``post_filters`` narrow what it finds, and not what is
    aggregated. ``moments`` are the nested objects that have a start and an end, of a sound or footage; else empty.
    """

    name: str
    kind: Kind
    query: Query
    window: int
    floor: float
    filters: tuple[Query, ...] = ()
    nested: bool = False
    quantised: bool = False
    sense: Sense | None = None
    reads: Reads = frozenset()
    probes: Probes | None = None
    post_filters: tuple[Query, ...] = ()
    moments: str = ""

    def raw(self, score: float) -> float:
        """The leg's own scale: BM25 as it is; the cosine behind Elasticsearch's ``_score`` = (1 + cosine) / 2."""
        exact = single(score)
        return exact if self.kind == "keyword" else 2.0 * exact - 1.0

    @property
    def exact(self) -> bool:
        """Whether the scores of what it found are the true ones."""
        return not self.quantised or "rescore_vector" in self.query

    @property
    def has_value(self) -> Query:
        """A query that the documents meet which have a vector for the leg to compare."""
        path: str = self.query["field"]
        exists: Query = {"exists": {"field": path}}
        if not self.nested:
            return exists
        return {"nested": {"path": path.rpartition(".")[0], "query": exists, "ignore_unmapped": True}}

    @property
    def request(self) -> dict[str, Any]:
        """The search for the leg's window."""
        body = {**self._body(self.query, self.filters), **_bare(self.window)}
        return {**body, "post_filter": {"bool": {"filter": list(self.post_filters)}}} if self.post_filters else body

    @property
    def words(self) -> Query:
        """The query of a leg of words as one that marks them."""
        if not self.moments:
            return self.query
        return {"nested": {k: v for k, v in self.query["nested"].items() if k != "inner_hits"}}

    def completions(
        self, keys: Sequence[DocumentKey], *, rescore: bool, most: int = PART, detailed: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Searches for a leg's scores of exactly the documents named, whether the leg found them or not.

        With as many candidates as documents a filtered kNN search compares all of them; ``rescore`` asks for whole
        floats where the field is quantised. ``most`` is how many documents a search may return. ``detailed``: moments
        come with their words, and with those next to the best.
        """
        size = min(_NESTED_PART if self.nested else PART, most)
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            yield self.completion(named(part), len(part), rescore=rescore, detailed=detailed)

    def completion(self, chosen: Query, count: int, *, rescore: bool, detailed: bool = False) -> dict[str, Any]:
        """The search for the leg's scores of the documents that ``chosen`` names, ``count`` of them at most."""
        query = self.query if self.kind == "keyword" else self._exactly(count, rescore=rescore)
        if detailed and self.moments:
            inner = {"inner_hits": inner_moments(self.moments, _MOMENTS, words=True)}
            query = {**query, **inner} if self.kind == "knn" else {"nested": {**query["nested"], **inner}}
        return {**self._body(query, (chosen,)), **_bare(count)}

    def clause(self, chosen: Query, count: int, *, rescore: bool) -> Query:
        """A clause, by the name `scored_as`, that scores the documents that ``chosen`` names, ``count`` at most: found
        or not.

        It stands among ``should`` in a query which only those documents meet, so a BM25 score is that of the whole
        search: what decides it (document frequencies, lengths) doesn't depend on a filter. Vectors are compared as in
        `completions`. Not of a leg whose vectors are nested.
        """
        if self.kind == "keyword":
            return {"bool": {"must": [self.query], "_name": self.scored_as}}
        knn = self._exactly(count, rescore=rescore)
        return {"knn": {**knn, "filter": [chosen], "_name": self.scored_as}}

    @property
    def scored_as(self) -> str:
        """What its clause is called; a keyword query of the user's own may have names of its own."""
        return f"crosslens score of {self.name}"

    def _exactly(self, count: int, *, rescore: bool) -> Query:
        """The kNN search with as many candidates as documents that pass its filter: all of them are compared."""
        knn = {**self.query, "k": count, "num_candidates": _MAX_CANDIDATES if self.nested else count}
        knn.pop("rescore_vector", None)
        if rescore and self.quantised:
            knn["rescore_vector"] = {"oversample": 1.0}
        return knn

    def _body(self, query: Query, filters: Sequence[Query]) -> dict[str, Any]:
        if self.kind == "knn":
            return {"knn": {**query, "filter": list(filters)} if filters else query}
        return {"query": {"bool": {"must": [query], "filter": list(filters)}} if filters else query}

    def matched(self, hit: Mapping[str, Any]) -> dict[str, Any] | None:
        """Which of the hit's values came nearest: its ``position``, of an image its ``reference``, of a passage its
        ``start`` and ``end``, and of a moment what `Hit.matched` says."""
        inner = hit.get("inner_hits", {}).get(INNER, {}).get("hits", {}).get("hits") if self.nested else None
        if not inner:
            return None
        if not self.moments:
            return {k: v for k, v in inner[0]["_source"].items() if k in _TOLD}
        best, *others = (moment_of(each, self.moments, self.raw(each["_score"])) for each in inner)
        return {**best, "also": others} if others else best


def keyword_leg(
    query: str | Query,
    fields: Sequence[str],
    *,
    window: int,
    filters: Sequence[Query],
    reads: Reads = frozenset(),
    probes: Probes | None = None,
    post_filters: Sequence[Query] = (),
) -> Leg:
    """BM25: any Elasticsearch query, or a text as in `words_query`, which describes what it raises."""
    if isinstance(query, str):
        query = words_query(query, fields)
    spoken = bool(reads) and all(how == "captions" for how, _ in reads)
    return Leg(
        KEYWORD,
        "keyword",
        query,
        window,
        0.0,
        tuple(filters),
        sense="words" if spoken else None,
        reads=reads,
        probes=probes,
        post_filters=tuple(post_filters),
    )


def captions_leg(
    name: str,
    query: Query,
    *,
    source: str,
    window: int,
    filters: Sequence[Query],
    probes: Probes | None = None,
    post_filters: Sequence[Query] = (),
) -> Leg:
    """BM25 over the words spoken in moments: a nested ``query``, to the text field ``name`` of the file in ``source``.

    The best moment counts, and an inner hit identifies it.
    """
    moments = name.rpartition(".")[0]
    query = {"nested": {**query["nested"], "inner_hits": inner_moments(moments, 1)}}
    return Leg(
        name,
        "keyword",
        query,
        window,
        0.0,
        tuple(filters),
        nested=True,
        sense="words",
        reads=frozenset({("captions", source)}),
        probes=probes,
        post_filters=tuple(post_filters),
        moments=moments,
    )


def knn_leg(
    field: VectorField,
    vector: Sequence[float],
    *,
    window: int,
    filters: Sequence[Query],
    candidates: int | None = None,
    oversample: float | None = None,
) -> Leg:
    """The ``window`` nearest documents by the cosine of ``field`` and ``vector``, filtered before they are counted.

    ``candidates`` are what each shard looks at (None: twice the window, 200 at least); ``oversample`` times the window
    are compared again with whole floats where the field is quantised. Of a field with several vectors a document, the
    nearest one counts, and an inner hit identifies it.
    """
    knn: Query = {
        "field": field.vector_path,
        "query_vector": list(vector),
        "k": window,
        "num_candidates": min(candidates or max(2 * window, 200), _MAX_CANDIDATES),
    }
    quantised = field.index_type not in ("hnsw", "flat")
    if oversample is not None and quantised:
        knn["rescore_vector"] = {"oversample": oversample}
    if field.moments:
        knn["inner_hits"] = inner_moments(field.path, 1)
    elif field.each:
        knn["inner_hits"] = {"name": INNER, "size": 1, "_source": [f"{field.path}.{name}" for name in _TOLD]}
    return Leg(
        field.field,
        "knn",
        knn,
        window,
        -1.0,
        tuple(filters),
        nested=field.each,
        quantised=quantised,
        sense=sense_of(field),
        reads=reads_of(field),
        moments=field.path if field.moments else "",
    )


def _bare(size: int) -> dict[str, Any]:
    return {"size": size, "_source": False, "track_total_hits": False}


def native_retrievers(
    legs: Sequence[Leg], weights: Mapping[str, float], *, size: int, rank_constant: int = 60
) -> dict[str, dict[str, Any]]:
    """The same legs as request bodies of Elasticsearch's own ``rrf`` and ``linear`` retrievers (they need a licence).

    Their rankings aren't ours: without score completion, and ``linear`` scales by the window's least score.
    """
    if not legs:
        return {}
    retrievers = []
    for leg in legs:
        filters = [*leg.filters, *leg.post_filters]
        narrowing = {"filter": filters} if filters else {}
        if leg.kind == "keyword":
            retrievers.append({"standard": {"query": leg.query, **narrowing}})
        else:
            retrievers.append({"knn": {**leg.query, **narrowing}})
    window = legs[0].window
    weighed = [
        {"retriever": retriever, "weight": weights.get(leg.name, 1.0), "normalizer": "minmax"}
        for leg, retriever in zip(legs, retrievers, strict=True)
    ]
    rrf = {"retrievers": retrievers, "rank_constant": rank_constant, "rank_window_size": window}
    linear = {"retrievers": weighed, "rank_window_size": window}
    return {
        "rrf": {"retriever": {"rrf": rrf}, "size": size},
        "linear": {"retriever": {"linear": linear}, "size": size},
    }
