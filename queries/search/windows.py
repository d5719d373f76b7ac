"""The first trip of a search: the windows of all legs, the words' probes, and what lacks a vector.

And one more where the keyword leg has words that nobody wrote: the same query in another spelling.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.scores import Scores
from crosslens.queries.search.answers import ByLeg, ask, checked, failed, hits_of, raw_scores
from crosslens.queries.search.legs import KEYWORD, Leg
from crosslens.queries.search.plan import Plan, highlighting
from crosslens.queries.search.probes import Probes
from crosslens.queries.search.requests import Steps
from crosslens.queries.search.respelling import respelt

_HAS = "crosslens has "


@dataclass
class Windows:
    """What is known of the documents that any leg found, and is added to by each further trip.

    By leg: ``raw`` scores, the ``attainable`` score of its query, documents that it ``lacks`` a vector of, the answers
    of its ``probed`` words, and the scores of its query ``respelt``. By document: ``matched``, for each leg the value
    that came nearest, and ``documents``, the hit that has what is shown. ``profile`` has the server's time of each part
    in milliseconds. ``matching``: whether the windows came with what matched, or only what is shown does.
    """

    raw: ByLeg
    matched: dict[DocumentKey, dict[str, dict[str, Any]]]
    attainable: dict[str, float]
    lacks: dict[str, set[DocumentKey]]
    documents: dict[DocumentKey, Mapping[str, Any]]
    aggregated: dict[str, Any]
    profile: dict[str, float]
    probed: dict[str, Sequence[Mapping[str, Any]]]
    respelt: dict[str, Scores[DocumentKey]] = field(default_factory=dict)
    matching: bool = True

    @property
    def keys(self) -> list[DocumentKey]:
        """Every document that any leg found."""
        respelt = (scores.raw for scores in self.respelt.values())
        return list(dict.fromkeys(key for scores in (*self.raw.values(), *respelt) for key in scores))

    def note_lacking(self, plan: Plan, keys: Collection[DocumentKey], raw: ByLeg) -> None:
        """Note which of ``keys`` have no vector for a leg: those of which a completion found no score in it."""
        for leg in plan.legs:
            if leg.kind == "knn":
                found = raw[leg.name].keys() | self.raw[leg.name].keys()
                self.lacks.setdefault(leg.name, set()).update(key for key in keys if key not in found)

    def by_leg(self, plan: Plan, raw: Mapping[str, Mapping[DocumentKey, float]]) -> dict[str, Scores[DocumentKey]]:
        """Return what is fused, of the ``raw`` scores by leg, the windows' own or completed ones."""
        return {
            leg.name: Scores(
                raw[leg.name],
                leg.floor,
                plan.moments.get(leg.name),
                self.raw[leg.name],
                leg.window,
                self.attainable.get(leg.name),
                self.lacks.get(leg.name, frozenset()),
                plan.sources[leg.name],
                self.respelt.get(leg.name),
            )
            for leg in plan.legs
        }


def first_trip(plan: Plan) -> Steps[Windows]:
    """Return the legs' own windows, and what a fusion by evidence needs besides.

    Raises `QueryError` for a search that the server refuses; a refused probe only leaves its query's limit unknown.
    """
    searches = [plan.search(window_body(plan, leg)) for leg in plan.legs]
    for _, probes in _probing(plan):
        searches += [plan.search(body) for body in probes.searches]
    everything = yield from ask(searches)
    names = [leg.name for leg in plan.legs]
    answers = checked(everything[: len(names)], names)
    raw, matched = raw_scores(plan.legs, answers)
    attainable, said = probed(plan, everything[len(names) :], raw)
    return Windows(
        raw,
        matched,
        attainable,
        _lacking(plan, plan.legs, answers),
        # The keyword leg's, which come first, have what is highlighted.
        hits_of(answers[::-1]) if _brings_documents(plan) else {},
        next((answer["aggregations"] for answer in answers if "aggregations" in answer), {}),
        {name: float(answer["took"]) for name, answer in zip(names, answers, strict=True)},
        said,
    )


def _probing(plan: Plan) -> list[tuple[Leg, Probes]]:
    return [(leg, leg.probes) for leg in plan.legs if plan.wanted.needs_chances and leg.probes is not None]


def probed(
    plan: Plan, answers: Sequence[Mapping[str, Any]], raw: ByLeg
) -> tuple[dict[str, float], dict[str, Sequence[Mapping[str, Any]]]]:
    """Return the attainable scores by leg, as far as they are known, and the answers of the probes by leg."""
    attainable: dict[str, float] = {}
    heard: dict[str, Sequence[Mapping[str, Any]]] = {}
    place = 0
    for leg, probes in _probing(plan):
        said = answers[place : place + len(probes.searches)]
        place += len(probes.searches)
        # A word that the server refuses to look for alone leaves the query as one whose limit isn't known.
        if failed(said):
            continue
        most = probes.attainable(said, max(raw[leg.name].values(), default=0.0))
        heard[leg.name] = said
        if most is not None:
            attainable[leg.name] = most
    return attainable, heard


def respelling_trip(plan: Plan, windows: Windows) -> Steps[None]:
    """Ask again, in another spelling, where the keyword leg has words that nobody wrote; add it to ``windows``."""
    for leg in plan.legs:
        said = windows.probed.get(leg.name)
        if said is None or leg.probes is None or not plan.options.spelling:
            continue
        otherwise = respelt(leg.probes, leg.query, said)
        if otherwise is None:
            continue
        again = replace(leg, query=otherwise.query)
        bodies = [window_body(plan, again), *otherwise.searches]
        answers = yield from ask([plan.search(body) for body in bodies])
        # A spelling that the server refuses to look for leaves the query as it was typed.
        if failed(answers):
            continue
        answer, *words = answers
        windows.profile[f"{leg.name}, respelt"] = float(answer["took"])
        attainable = otherwise.attainable(said, words)
        if attainable is None:
            continue
        raw, matched = raw_scores([again], [answer])
        for key, values in matched.items():
            windows.matched[key] = values | windows.matched.get(key, {})
        windows.respelt[leg.name] = Scores(raw[leg.name], leg.floor, attainable=attainable)
        if _brings_documents(plan):
            windows.documents = {**hits_of([answer]), **windows.documents}
        for name, keys in _lacking(plan, [again], [answer]).items():
            windows.lacks.setdefault(name, set()).update(keys)


def _brings_documents(plan: Plan) -> bool:
    """Whether the windows have something of their documents besides scores: all that is shown, or what collapses."""
    return bool(plan.options.collapse) or not plan.options.complete


def window_body(plan: Plan, leg: Leg) -> dict[str, Any]:
    """Return the search for a leg's window, with whatever else the first trip brings."""
    body, options = leg.request, plan.options
    if not options.complete:
        # With several legs of words, any one of them marks those of all.
        several = sum(each.kind == "keyword" for each in plan.legs) > 1
        body = {**body, **(highlighting(plan, plan.shown) if several else plan.shown)}
    elif options.collapse:
        body = {**body, "fields": [options.collapse]}
    if plan.over_keyword and leg.name == KEYWORD:
        body = {**body, "aggs": dict(options.aggregations or {})}
    siblings = plan.siblings(leg)
    if siblings:
        # It filters nothing: what of it a document meets comes back with the hit.
        clauses = [{"bool": {"must": [other.has_value], "_name": _HAS + other.name}} for other in siblings]
        has = {"bool": {"should": [{"match_all": {}}, *clauses]}}
        body["post_filter"] = {"bool": {"filter": [*leg.post_filters, has]}} if leg.post_filters else has
    return body


def _lacking(plan: Plan, legs: Sequence[Leg], answers: Sequence[Mapping[str, Any]]) -> dict[str, set[DocumentKey]]:
    """By vector leg, the documents that another leg found and that have no vector for it; see `Plan.siblings`."""
    lacks: dict[str, set[DocumentKey]] = {}
    for leg, answer in zip(legs, answers, strict=True):
        for other in plan.siblings(leg):
            has = _HAS + other.name
            lacks.setdefault(other.name, set()).update(
                (hit["_index"], hit["_id"])
                for hit in answer["hits"]["hits"]
                if has not in hit.get("matched_queries", ())
            )
    return lacks
