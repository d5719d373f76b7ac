"""A hybrid search as steps without input or output: what to ask the server next, given what it answered.

`plan` is a generator. It yields lists of searches, is sent their answers, and returns the result. So the client that
waits and the one that doesn't (`crosslens.queries.search.searcher`) run the same search.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.fuse import Mean, Part, Scores, fused_scores
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer
from crosslens.queries.search.legs import KEYWORD, PART, Leg, named
from crosslens.queries.search.readings import assign
from crosslens.queries.show.explain import explain
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.refusals import reason

Search = tuple[str, dict[str, Any]]
Plan = Generator[list[Search], list[dict[str, Any]], "SearchResult"]


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

    @property
    def needed(self) -> bool:
        """Whether anything of the documents is asked for, besides what they are called."""
        return self.source is not False or bool(self.fields or self.highlight)


@dataclass(frozen=True)
class Fusion:
    """How the legs become one list; by leg, ``moments`` for "standardise", and noise ``floors``.

    ``sources`` say otherwise than `crosslens.queries.search.readings` which legs read the same. ``comparing`` asks for
    what any normalizer needs, whichever this one is. ``spelling``: words that nobody wrote are also looked for with a
    letter changed.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    normalizer: Normalizer = DEFAULT_NORMALIZER
    mean: Mean = "arithmetic"
    min_score: float | None = None
    complete: bool = True
    moments: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    comparing: bool = False
    spelling: bool = True

    @property
    def by_evidence(self) -> bool:
        """Whether the ranking is known from the legs' own windows, without completed scores."""
        return self.normalizer == "evidence"

    @property
    def needs_chances(self) -> bool:
        """Whether the words' probes are asked for, and which documents lack a vector."""
        return self.by_evidence or self.comparing


@dataclass(frozen=True)
class Aggregations:
    """Elasticsearch aggregations over all ``"keyword"`` matches, or over the documents of the ``"window"``."""

    body: Mapping[str, Any]
    over: Literal["keyword", "window"] = "keyword"


@dataclass
class _Windows:
    """What the first round trip tells: by leg, raw scores, what it can get at most, and what has nothing for it."""

    raw: dict[str, dict[DocumentKey, float]]
    matched: dict[DocumentKey, dict[str, dict[str, Any]]]
    attainable: dict[str, float]
    lacks: dict[str, set[DocumentKey]]
    documents: dict[DocumentKey, Mapping[str, Any]]
    aggregated: dict[str, Any]
    profile: dict[str, float]
    probed: dict[str, Sequence[Mapping[str, Any]]]
    respelt: dict[str, Scores[DocumentKey]] = field(default_factory=dict)

    @property
    def keys(self) -> list[DocumentKey]:
        respelt = (scores.raw for scores in self.respelt.values())
        return list(dict.fromkeys(key for scores in (*self.raw.values(), *respelt) for key in scores))


@dataclass(frozen=True)
class _Steps:
    """One search: what the steps below share."""

    index: str
    legs: Sequence[Leg]
    fusion: Fusion
    presentation: Presentation
    shown: Mapping[str, Any]
    sources: Mapping[str, str]
    aggregations: Aggregations | None
    rescore: bool
    pit: str | None

    def search(self, body: Mapping[str, Any]) -> Search:
        if self.pit:
            return self.index, {**body, "pit": {"id": self.pit, "keep_alive": "5m"}}
        return self.index, dict(body)

    @property
    def over_window(self) -> bool:
        return self.aggregations is not None and self.aggregations.over == "window"

    def windows(self) -> Generator[list[Search], list[dict[str, Any]], _Windows]:
        """The legs' own windows, and what a fusion by evidence needs besides, in one round trip."""
        first = [self.search(self._leg(leg)) for leg in self.legs]
        owners = [leg for leg in self.legs if self.fusion.needs_chances and leg.probes is not None]
        for leg in owners:
            first += [self.search(body) for body in leg.probes.searches]  # type: ignore[union-attr]
        everything = yield first
        names = [leg.name for leg in self.legs]
        answers = checked(everything[: len(names)], names)
        raw, matched = _scores(self.legs, answers)
        attainable: dict[str, float] = {}
        probed: dict[str, Sequence[Mapping[str, Any]]] = {}
        place = len(names)
        for leg in owners:
            assert leg.probes is not None
            told = everything[place : place + len(leg.probes.searches)]
            place += len(leg.probes.searches)
            # A word that the server refuses to look for alone leaves the query as one of which that can't be told.
            if not _failed(told):
                most = leg.probes.attainable(told, max(raw[leg.name].values(), default=0.0))
                probed[leg.name] = told
                if most is not None:
                    attainable[leg.name] = most
        telling = not self.fusion.complete or (self.fusion.by_evidence and self.presentation.collapse)
        return _Windows(
            raw,
            matched,
            attainable,
            _lacking(self.legs, self._siblings, answers),
            _documents(answers) if telling else {},
            next((a["aggregations"] for a in answers if "aggregations" in a), {}),
            {name: float(answer["took"]) for name, answer in zip(names, answers, strict=True)},
            probed,
        )

    def respelt(self, windows: _Windows) -> Generator[list[Search], list[dict[str, Any]], None]:
        """Asks again, in another spelling, where the keyword leg has words that nobody wrote."""
        for leg in self.legs:
            told = windows.probed.get(leg.name)
            if told is None or leg.probes is None or not self.fusion.spelling:
                continue
            respelt = leg.probes.respelt(leg.query, told)
            if respelt is None:
                continue
            again = replace(leg, query=respelt.query)
            said = yield [self.search(self._leg(again)), *(self.search(body) for body in respelt.searches)]
            # A spelling that the server refuses to look for leaves the query as it was typed.
            if _failed(said):
                continue
            answer, *words = said
            attainable = respelt.attainable(told, words)
            windows.profile[f"{leg.name}, respelt"] = float(answer["took"])
            if attainable is None:
                continue
            raw, _ = _scores([again], [answer])
            windows.respelt[leg.name] = Scores(raw[leg.name], leg.floor, attainable=attainable)
            if windows.documents or not self.fusion.complete:
                windows.documents = {**_documents([answer]), **windows.documents}
            for name, keys in _lacking([leg], self._siblings, [answer]).items():
                windows.lacks.setdefault(name, set()).update(keys)

    def _leg(self, leg: Leg) -> dict[str, Any]:
        body = leg.request
        if not self.fusion.complete:
            body = {**body, **self.shown}
        elif self.presentation.collapse and self.fusion.by_evidence:
            body = {**body, "fields": [self.presentation.collapse]}
        if self.aggregations and self.aggregations.over == "keyword" and leg.kind == "keyword":
            body = {**body, "aggs": dict(self.aggregations.body)}
        siblings = self._siblings(leg)
        if siblings:
            # It filters nothing: what of it a document meets comes back with the hit.
            told = [{"bool": {"must": [other.has_value], "_name": _HAS + other.name}} for other in siblings]
            body["post_filter"] = {"bool": {"should": [{"match_all": {}}, *told]}}
        return body

    def _siblings(self, leg: Leg) -> list[Leg]:
        """The vector legs of the same source: a document that lacks their vector isn't judged by them."""
        if not self.fusion.needs_chances:
            return []
        return [
            other
            for other in self.legs
            if other is not leg and other.kind == "knn" and self.sources[other.name] == self.sources[leg.name]
        ]

    def completed(
        self, windows: _Windows, keys: Sequence[DocumentKey], *, scoring: bool
    ) -> Generator[list[Search], list[dict[str, Any]], tuple[set[DocumentKey], dict[str, dict[DocumentKey, float]]]]:
        """Which of ``keys`` are still there, and with ``scoring`` every leg's true scores of them.

        The documents are put into ``windows``. In one round trip, with the aggregations over the window where they are
        asked for and not there yet.
        """
        second: list[Search] = []
        names: list[str] = []
        aggregating = self.over_window and not windows.aggregated
        if aggregating and self.aggregations is not None:
            body = {"query": named(windows.keys), "size": 0, "aggs": dict(self.aggregations.body)}
            second.append(self.search(body))
            names.append("aggregations")
        presenting = range(0, len(keys), PART)
        keyword = next((leg for leg in self.legs if leg.kind == "keyword"), None)
        for start in presenting:
            part = keys[start : start + PART]
            # The keyword query scores, and marks the words that highlighting shows.
            query = {"filter": [named(part)], **({"should": [keyword.query]} if keyword else {})}
            shown = {"query": {"bool": query}, "size": len(part), "track_total_hits": False, **self.shown}
            second.append(self.search(shown))
            names.append("completion")
        owners: list[Leg] = []
        for leg in self.legs if scoring and keys else ():
            if leg.kind == "knn":
                for body in leg.completions(keys, rescore=self.rescore):
                    second.append(self.search(body))
                    owners.append(leg)
        names += [f"completion of {leg.name}" for leg in owners]
        if not second:
            return set(), {}
        answers = checked((yield second), names)
        took = float(sum(answer["took"] for answer in answers))
        windows.profile["completion"] = windows.profile.get("completion", 0.0) + took
        if aggregating:
            windows.aggregated = answers.pop(0).get("aggregations", {})
        documents = _documents(answers[: len(presenting)])
        windows.documents.update(documents)
        raw: dict[str, dict[DocumentKey, float]] = {leg.name: {} for leg in self.legs}
        if keyword is not None:
            raw[keyword.name] = {key: float(hit["_score"] or 0.0) for key, hit in documents.items()}
        again, told = _scores(owners, answers[len(presenting) :])
        for name, scores in again.items():
            raw[name] = {key: score for key, score in scores.items() if key in documents}
        for key, values in told.items():
            windows.matched.setdefault(key, {}).update(values)
        return set(documents), raw

    def by_leg(
        self, windows: _Windows, raw: Mapping[str, Mapping[DocumentKey, float]]
    ) -> dict[str, Scores[DocumentKey]]:
        """What is fused, of the ``raw`` scores by leg."""
        return {
            leg.name: Scores(
                raw[leg.name],
                leg.floor,
                self.fusion.moments.get(leg.name),
                windows.raw[leg.name],
                leg.window,
                windows.attainable.get(leg.name),
                windows.lacks.get(leg.name, frozenset()),
                self.sources[leg.name],
                windows.respelt.get(leg.name),
            )
            for leg in self.legs
        }


_HAS = "crosslens has "
_Best = list[tuple[DocumentKey, float]]
_Shown = list[tuple[DocumentKey, float, dict[str, Part]]]


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
    """The steps of a search, in two round trips at most.

    By evidence the first trip decides the ranking, and the second one brings what is shown: the documents, and their
    true scores in every leg. It is left out where nothing of that is missing. Where a word is nobody's, and may be
    misspelt, there is one more between them. By the other normalizers the second trip completes the whole window, which
    decides the ranking. Without completion there is one trip (two if the window is aggregated).

    ``offset`` leaves that many of the best out; ``pit`` is a point in time to search. Raises `QueryError` for weights,
    sources, normalizers and the like that make no sense, and for answers that are errors.
    """
    steps = _Steps(
        index,
        legs,
        fusion,
        presentation,
        presentation.body(own_paths),
        assign({leg.name: leg.reads for leg in legs}, fusion.sources),
        aggregations,
        rescore,
        pit,
    )
    if aggregations and aggregations.over == "keyword" and KEYWORD not in [leg.name for leg in legs]:
        raise QueryError('this search has no keyword leg to aggregate over; aggregate over the "window"')
    windows = yield from steps.windows()
    yield from steps.respelt(windows)
    keys = windows.keys
    raw: Mapping[str, Mapping[DocumentKey, float]] = windows.raw
    if keys and fusion.complete and not fusion.by_evidence:
        # A document that was deleted between the two trips is no result.
        kept, raw = yield from steps.completed(windows, keys, scoring=True)
        windows.raw = {
            name: {key: s for key, s in scores.items() if key in kept} for name, scores in windows.raw.items()
        }
    by_leg = steps.by_leg(windows, raw)
    fused = fused_scores(by_leg, fusion.weights, normalizer=fusion.normalizer, mean=fusion.mean)
    # Equal totals are ordered by index and id, so that the same search always gives the same list.
    best: _Best = sorted(fused.totals.items(), key=lambda item: (-item[1], item[0]))
    greatest = best[0][1] if best else 0.0
    if fusion.min_score is not None:
        best = [item for item in best if item[1] >= fusion.min_score]
    if presentation.collapse:
        best = _collapsed(best, windows.documents, presentation.collapse)
    gone = 0
    if fusion.by_evidence and fusion.complete:
        shown, gone = yield from _shown(steps, windows, best, fused.parts, offset, size)
    else:
        shown = [(key, total, fused.parts(key)) for key, total in best[offset : offset + size]]
    if steps.over_window and keys and not windows.aggregated:
        yield from steps.completed(windows, (), scoring=False)
    modalities = {leg.name: leg.modality if leg.kind == "knn" else None for leg in legs}
    depth = max((leg.window for leg in legs), default=0)
    noise = {}
    for name, floor in fusion.floors.items():
        mean, deviation = fusion.moments[name]
        if by_leg[name].raw and deviation > 0:
            noise[name] = {"z": (max(by_leg[name].raw.values()) - mean) / deviation, "floor": floor}
    return SearchResult(
        [
            _hit(
                key,
                total,
                parts,
                windows.documents.get(key, {}),
                windows.matched.get(key, {}),
                presentation,
                explain(parts, modalities, depth),
            )
            for key, total, parts in shown
        ],
        [leg.name for leg in legs],
        len(best) - gone,
        aggregations=windows.aggregated,
        profile=windows.profile,
        noise=noise,
        normalizer=fusion.normalizer,
        min_score=fusion.min_score,
        sources=dict(steps.sources),
        best=greatest,
        scores=by_leg,
    )


def _shown(
    steps: _Steps,
    windows: _Windows,
    best: _Best,
    parts_of: Callable[[DocumentKey], dict[str, Part]],
    offset: int,
    size: int,
) -> Generator[list[Search], list[dict[str, Any]], tuple[_Shown, int]]:
    """The documents to show with their true scores, and how many of the better ones were gone since they were found.

    The place of one that is gone is taken by the next.
    """
    shown: _Shown = []
    place, gone = offset, 0
    while len(shown) < size and place < len(best):
        wanted = best[place : place + size - len(shown)]
        place += len(wanted)
        keys = [key for key, _ in wanted]
        scoring = any(not leg.exact or any(key not in windows.raw[leg.name] for key in keys) for leg in steps.legs)
        if not scoring and not steps.presentation.needed:
            shown += [(key, total, parts_of(key)) for key, total in wanted]
            continue
        there, raw = yield from steps.completed(windows, keys, scoring=scoring)
        for key, total in wanted:
            if key not in there:
                gone += 1
                continue
            parts = parts_of(key)
            if scoring:
                parts = {name: _told(part, raw[name].get(key)) for name, part in parts.items()}
            shown.append((key, total, parts))
    return shown, gone


def _told(part: Part, raw: float | None) -> Part:
    """The part with its true score; a vector leg that has none of a document has nothing of it to compare."""
    return replace(part, raw=raw, lacking=raw is None)


def _lacking(
    legs: Sequence[Leg], siblings: Callable[[Leg], Sequence[Leg]], answers: Sequence[Mapping[str, Any]]
) -> dict[str, set[DocumentKey]]:
    """By vector leg, the documents that another leg of its source found and that have no vector for it."""
    lacks: dict[str, set[DocumentKey]] = {}
    for leg, answer in zip(legs, answers, strict=True):
        for other in siblings(leg):
            has = _HAS + other.name
            lacks.setdefault(other.name, set()).update(
                (hit["_index"], hit["_id"])
                for hit in answer["hits"]["hits"]
                if has not in hit.get("matched_queries", ())
            )
    return lacks


def _failed(answers: Iterable[Mapping[str, Any]]) -> bool:
    return any("error" in each or each["_shards"]["failed"] for each in answers)


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
) -> tuple[dict[str, dict[DocumentKey, float]], dict[DocumentKey, dict[str, dict[str, Any]]]]:
    """Raw scores by leg and document, and by document and leg which of its values matched."""
    raw: dict[str, dict[DocumentKey, float]] = {}
    matched: dict[DocumentKey, dict[str, dict[str, Any]]] = {}
    for leg, answer in zip(legs, answers, strict=True):
        scores = raw.setdefault(leg.name, {})
        for hit in answer["hits"]["hits"]:
            key = (hit["_index"], hit["_id"])
            scores[key] = leg.raw(hit["_score"])
            value = leg.matched(hit)
            if value is not None:
                matched.setdefault(key, {})[leg.name] = value
    return raw, matched


def _documents(answers: Sequence[Mapping[str, Any]]) -> dict[DocumentKey, Mapping[str, Any]]:
    return {(hit["_index"], hit["_id"]): hit for answer in answers for hit in answer["hits"]["hits"]}


def _collapsed(best: _Best, documents: Mapping[DocumentKey, Mapping[str, Any]], name: str) -> _Best:
    """The best document of each value of a field; documents without a value all stay."""
    seen: set[str] = set()
    kept = []
    for key, total in best:
        values = documents.get(key, {}).get("fields", {}).get(name)
        value = None if not values else repr(values[0])
        if value is None or value not in seen:
            kept.append((key, total))
        if value is not None:
            seen.add(value)
    return kept


def _hit(
    key: DocumentKey,
    total: float,
    parts: dict[str, Part],
    document: Mapping[str, Any],
    matched: dict[str, dict[str, Any]],
    presentation: Presentation,
    explanation: list[str],
) -> Hit:
    fields = {
        name: values
        for name, values in document.get("fields", {}).items()
        if presentation.fields or name != presentation.collapse
    }
    source, highlight = document.get("_source") or {}, document.get("highlight") or {}
    return Hit(key[0], key[1], total, parts, source, matched, fields, highlight, explanation)
