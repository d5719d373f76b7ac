"""A hybrid search as steps without input or output: what to ask the server next, given what it answered.

`plan` is a generator. It yields lists of searches, is sent their answers, and returns the result. So the client that
waits and the one that doesn't (`crosslens.queries.hybrid`) run the same search.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from crosslens.client import reason
from crosslens.errors import QueryError
from crosslens.queries.fusion import Mean, Part, Scores, fuse
from crosslens.queries.legs import KEYWORD, PART, Key, Leg, named
from crosslens.queries.normalise import Normaliser

Search = tuple[str, dict[str, Any]]
Plan = Generator[list[Search], list[dict[str, Any]], "SearchResult"]


@dataclass(frozen=True)
class Hit:
    """One result: ``score`` 0..1 is the mean of the ``parts``, one for each leg of the search.

    ``matched`` tells, by leg, which value of a field with a vector for each value came nearest: its ``position`` among
    the document's values, and an image's ``reference``. ``fields`` and ``highlight`` are Elasticsearch's.
    """

    index: str
    id: str
    score: float
    parts: dict[str, Part]
    source: dict[str, Any]
    matched: dict[str, dict[str, Any]] = field(default_factory=dict)
    fields: dict[str, list[Any]] = field(default_factory=dict)
    highlight: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; ``found`` documents were in some leg's window and passed ``min_score`` and ``collapse``.

    Times in milliseconds; ``profile`` has the server's own time of each leg and of the completion. ``next`` continues
    a search by pages (None: the window is at its end). ``noise`` has, by vector leg, the standardised cosine ``z`` of
    its best document, and the ``floor`` that chance exceeds at the rate asked for. ``scores`` are what was fused: every
    leg's raw scores of all documents of the window.
    """

    hits: list[Hit]
    legs: list[str]
    found: int
    encode_ms: float = 0.0
    search_ms: float = 0.0
    aggregations: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)
    next: str | None = None
    noise: dict[str, dict[str, float]] = field(default_factory=dict)
    scores: dict[str, Scores[Key]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def answered(self) -> bool | None:
        """Whether any vector leg's best document stands out of the noise; None when that wasn't asked."""
        return any(each["z"] > each["floor"] for each in self.noise.values()) if self.noise else None

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(replace(self, scores={}))


@dataclass(frozen=True)
class Presentation:
    """What of the documents is returned, as in ``_search``; ``collapse`` is a field of which each value comes once."""

    source: Sequence[str] | bool = True
    fields: Sequence[Any] = ()
    highlight: Mapping[str, Any] | None = None
    collapse: str | None = None

    def body(self, own_paths: Sequence[str]) -> dict[str, Any]:
        """The part of a request that asks for it; vectors and crosslens's own state are left out."""
        body: dict[str, Any] = {"_source": False}
        if self.source is not False:
            includes = ["*"] if self.source is True else list(self.source)
            body["_source"] = {"includes": includes, "excludes": list(own_paths)}
        wanted = [*self.fields, *([self.collapse] if self.collapse else [])]
        if wanted:
            body["fields"] = wanted
        if self.highlight:
            body["highlight"] = dict(self.highlight)
        return body


@dataclass(frozen=True)
class Fusion:
    """How the legs become one list; by leg, ``moments`` for "standardise", and noise ``floors``."""

    weights: Mapping[str, float] = field(default_factory=dict)
    normaliser: Normaliser = "theoretical-min-max"
    mean: Mean = "arithmetic"
    min_score: float | None = None
    complete: bool = True
    moments: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Aggregations:
    """Elasticsearch aggregations over all ``"keyword"`` matches, or over the documents of the ``"window"``."""

    body: Mapping[str, Any]
    over: Literal["keyword", "window"] = "keyword"


def plan(
    index: str,
    legs: Sequence[Leg],
    fusion: Fusion,
    presentation: Presentation,
    own_paths: Sequence[str],
    *,
    size: int,
    offset: int = 0,
    aggregations: Aggregations | None = None,
    rescore: bool = True,
    pit: str | None = None,
) -> Plan:
    """The steps of a search: two round trips with completion, one without (two if the window is aggregated).

    ``offset`` leaves that many of the best out; ``pit`` is a point in time to search. Raises `QueryError` for weights,
    normalisers and the like that make no sense, and for answers that are errors.
    """
    shown = presentation.body(own_paths)

    def search(body: Mapping[str, Any]) -> Search:
        return (index, {**body, "pit": {"id": pit, "keep_alive": "5m"}}) if pit else (index, dict(body))

    first = []
    for leg in legs:
        body = leg.request if fusion.complete else {**leg.request, **shown}
        if aggregations and aggregations.over == "keyword" and leg.kind == "keyword":
            body = {**body, "aggs": dict(aggregations.body)}
        first.append(search(body))
    if aggregations and aggregations.over == "keyword" and KEYWORD not in [leg.name for leg in legs]:
        raise QueryError('this search has no keyword leg to aggregate over; aggregate over the "window"')
    answers = checked((yield first), [leg.name for leg in legs])
    profile = {leg.name: float(answer["took"]) for leg, answer in zip(legs, answers, strict=True)}
    raw, matched = _scores(legs, answers)
    documents = {} if fusion.complete else _documents(answers)
    aggregated: dict[str, Any] = next((a["aggregations"] for a in answers if "aggregations" in a), {})
    keys = list(dict.fromkeys(key for scores in raw.values() for key in scores))
    over_window = aggregations is not None and aggregations.over == "window"
    if keys and (fusion.complete or over_window):
        keyword = next((leg for leg in legs if leg.kind == "keyword"), None)
        second: list[Search] = []
        names: list[str] = []
        if over_window and aggregations is not None:
            second.append(search({"query": named(keys), "size": 0, "aggs": dict(aggregations.body)}))
            names.append("aggregations")
        presenting = range(0, len(keys), PART) if fusion.complete else range(0)
        for start in presenting:
            part = keys[start : start + PART]
            # The keyword query scores, and marks the words that highlighting shows.
            query = {"filter": [named(part)], **({"should": [keyword.query]} if keyword else {})}
            second.append(search({"query": {"bool": query}, "size": len(part), "track_total_hits": False, **shown}))
            names.append("completion")
        owners: list[Leg] = []
        for leg in legs if fusion.complete else ():
            if leg.kind == "knn":
                for body in leg.completions(keys, rescore=rescore):
                    second.append(search(body))
                    owners.append(leg)
        names += [f"completion of {leg.name}" for leg in owners]
        completed = checked((yield second), names)
        profile["completion"] = float(sum(answer["took"] for answer in completed))
        if over_window:
            aggregated = completed.pop(0).get("aggregations", {})
        if fusion.complete:
            documents = _documents(completed[: len(presenting)])
            # A document that was deleted between the two is no result.
            keys = [key for key in keys if key in documents]
            raw = {leg.name: {} for leg in legs}
            if keyword is not None:
                raw[keyword.name] = {key: float(documents[key]["_score"] or 0.0) for key in keys}
            again, told = _scores(owners, completed[len(presenting) :])
            for name, scores in again.items():
                raw[name] = {key: score for key, score in scores.items() if key in documents}
            for key, values in told.items():
                matched.setdefault(key, {}).update(values)
    kept = set(keys)
    by_leg = {
        leg.name: Scores(
            {key: score for key, score in raw[leg.name].items() if key in kept}, leg.floor, fusion.moments.get(leg.name)
        )
        for leg in legs
    }
    fused = fuse(by_leg, fusion.weights, normaliser=fusion.normaliser, mean=fusion.mean)
    # Equal totals are ordered by index and id, so that the same search always gives the same list.
    best = sorted(fused.items(), key=lambda item: (-item[1][0], item[0]))
    if fusion.min_score is not None:
        best = [item for item in best if item[1][0] >= fusion.min_score]
    if presentation.collapse:
        best = _collapsed(best, documents, presentation.collapse)
    hits = [
        _hit(key, total, parts, documents.get(key, {}), matched.get(key, {}), presentation)
        for key, (total, parts) in best[offset : offset + size]
    ]
    noise = {}
    for name, floor in fusion.floors.items():
        mean, deviation = fusion.moments[name]
        if by_leg[name].raw and deviation > 0:
            noise[name] = {"z": (max(by_leg[name].raw.values()) - mean) / deviation, "floor": floor}
    return SearchResult(
        hits,
        [leg.name for leg in legs],
        len(best),
        aggregations=aggregated,
        profile=profile,
        noise=noise,
        scores=by_leg,
    )


def checked(answers: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The answers of an ``_msearch``. Raises `QueryError` for an error, or for shards that didn't answer."""
    for name, answer in zip(names, answers, strict=True):
        if "error" in answer:
            raise QueryError(f"Elasticsearch refused the search ({name}): {reason(answer['error'])}")
        if answer["_shards"]["failed"]:
            raise QueryError(f"{answer['_shards']['failed']} shards failed in the search ({name}); try again")
    return list(answers)


def _scores(
    legs: Sequence[Leg], answers: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, dict[Key, float]], dict[Key, dict[str, dict[str, Any]]]]:
    """Raw scores by leg and document, and by document and leg which of its values matched."""
    raw: dict[str, dict[Key, float]] = {}
    matched: dict[Key, dict[str, dict[str, Any]]] = {}
    for leg, answer in zip(legs, answers, strict=True):
        scores = raw.setdefault(leg.name, {})
        for hit in answer["hits"]["hits"]:
            key = (hit["_index"], hit["_id"])
            scores[key] = leg.raw(hit["_score"])
            value = leg.matched(hit)
            if value is not None:
                matched.setdefault(key, {})[leg.name] = value
    return raw, matched


def _documents(answers: Sequence[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    return {(hit["_index"], hit["_id"]): hit for answer in answers for hit in answer["hits"]["hits"]}


def _collapsed(
    best: Sequence[tuple[Key, tuple[float, dict[str, Part]]]], documents: Mapping[Key, Mapping[str, Any]], name: str
) -> list[tuple[Key, tuple[float, dict[str, Part]]]]:
    """The best document of each value of a field; documents without a value all stay."""
    seen: set[str] = set()
    kept = []
    for key, item in best:
        values = documents.get(key, {}).get("fields", {}).get(name)
        value = None if not values else repr(values[0])
        if value is None or value not in seen:
            kept.append((key, item))
        if value is not None:
            seen.add(value)
    return kept


def _hit(
    key: Key,
    total: float,
    parts: dict[str, Part],
    document: Mapping[str, Any],
    matched: dict[str, dict[str, Any]],
    presentation: Presentation,
) -> Hit:
    fields = {
        name: values
        for name, values in document.get("fields", {}).items()
        if presentation.fields or name != presentation.collapse
    }
    return Hit(
        key[0], key[1], total, parts, document.get("_source") or {}, matched, fields, document.get("highlight") or {}
    )
