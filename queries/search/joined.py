"""A search by evidence in one request, where the cluster has the server plugin.

The plugin searches for what the legs would be asked anyway, in a point in time of its own. There documents have places,
so that the ids of a window, which lie among compressed stored fields, need not be read. It answers the windows as
places and scores, and what is shown of the best documents. Those it finds by the same formulas as this package, and
with them all that equal the last one; the ranking and its explanation are made here, of the same numbers as without it.

Where more must be asked first (words of another spelling; few documents with rounded scores; many that are equal), it
answers with the names of all documents found, and the search goes on as it does without the plugin. So it does from its
start for whatever needs more of all documents of the window than their scores (`joins`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import ApiError

from crosslens.client import JSON_HEADERS
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.scores import Part
from crosslens.queries.search.answers import Answer, ByLeg, checked, raw_scores, refused
from crosslens.queries.search.completion import Best, Shown, clause_scores, lacks_scores, nested_scores
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.plan import Plan, highlighting
from crosslens.queries.search.presence import PATH
from crosslens.queries.search.requests import KEEP_ALIVE, Query, ServerRequest, Steps
from crosslens.queries.search.windows import Windows, probed, window_body

# What the plugin puts the documents to show in the place of.
_CHOSEN: Query = {"crosslens_chosen": {}}
# So many more documents than are shown may equal the last one before the names of all are asked for.
_EQUALS = 20


@dataclass(frozen=True)
class WholeSearch(ServerRequest):
    """A search by the plugin."""

    body: Mapping[str, Any]

    def sent_by(self, client: Any) -> Any:
        """``POST _crosslens/search``."""
        params = {"include_named_queries_score": "true"}
        return client.perform_request("POST", PATH, params=params, headers=JSON_HEADERS, body=self.body)


def joins(plan: Plan) -> bool:
    """Return whether the plugin can make this search: it is there, and nothing needs all documents of the window.

    That do other normalizers than evidence, sorting, collapsing, aggregations over the window, and a search without
    completion, which brings all documents at once. Nor does it search other clusters' indices.
    """
    options = plan.options
    alone = not (options.sort or options.collapse or plan.over_window or plan.wanted.comparing)
    weighed = all(math.isfinite(weight) and weight >= 0 for weight in plan.weights.values())
    here = plan.pit is not None or ":" not in plan.index
    return plan.presence.there and plan.wanted.by_evidence and options.complete and alone and weighed and here


@dataclass(frozen=True)
class Brought:
    """What came with the windows: by place the ``names`` of the documents to show, and by name their ``documents``,
    ``raw`` scores by leg, and what of them ``matched``."""

    names: Mapping[DocumentKey, DocumentKey]
    documents: Mapping[DocumentKey, Mapping[str, Any]]
    raw: ByLeg
    matched: Mapping[DocumentKey, dict[str, dict[str, Any]]]

    def shown(
        self, plan: Plan, windows: Windows, best: Best, parts_of: Callable[[DocumentKey], dict[str, Part]]
    ) -> Shown | None:
        """Return the documents to show, equal ones in the order of their names, and add them to ``windows``.

        ``best`` are places with totals. None where others were brought than those, as by a plugin that
        reckons otherwise.
        """
        here = [item for item in best if item[0] in self.names]
        here.sort(key=lambda item: (-item[1], self.names[item[0]]))
        before = sum(1 for key, total in best if key not in self.names and total > here[0][1]) if here else 0
        start = plan.offset - before
        chosen = here[max(start, 0) : start + plan.options.size] if here else []
        wanted = max(min(len(best) - plan.offset, plan.options.size), 0)
        left_out = max((total for key, total in best[before:] if key not in self.names), default=-math.inf)
        if start < 0 or len(chosen) != wanted or (chosen and left_out >= chosen[-1][1]):
            return None if wanted else []
        places = [key for key, _ in chosen]
        lacking = [leg.name for leg in plan.legs if lacks_scores(leg, windows, places)]
        shown: Shown = []
        for place, total in chosen:
            name, parts = self.names[place], parts_of(place)
            for leg in lacking:
                parts[leg] = replace(parts[leg], raw=self.raw[leg].get(name), lacking=name not in self.raw[leg])
            windows.documents[name] = self.documents[name]
            windows.matched[name] = dict(self.matched.get(name, {}))
            shown.append((name, total, parts))
        return shown


def joined_trip(plan: Plan) -> Steps[tuple[Windows, Brought | None] | None]:
    """Return the windows; by places with what is to be shown or, without that, by names. None where no plugin answers.

    Raises `QueryError` for a search that the server refuses.
    """
    try:
        answer = yield WholeSearch(_request(plan))
    except ApiError as error:
        if not _unknown(error):
            raise refused(error) from error
        # Another node has answered than the one that was asked for its plugin.
        plan.presence.there = False
        return None
    legs = [leg.name for leg in plan.legs]
    if "shown" not in answer and "named" not in answer:
        checked(answer["windows"], legs)
    if "shown" in answer:
        windows = _windows(plan, answer, _place)
        brought = _brought(plan, windows, answer["shown"])
        return windows, brought
    hits = [hit for each in checked(answer["named"], ["names"] * len(answer["named"])) for hit in each["hits"]["hits"]]
    names = {_place(hit["sort"][-1]): (hit["_index"], hit["_id"]) for hit in hits}
    return _windows(plan, answer, lambda place: names[_place(place)]), None


def _unknown(error: ApiError) -> bool:
    """Whether an answer says that there is no such address: an exception of a search has a type and a reason."""
    said = error.body.get("error") if isinstance(error.body, Mapping) else None
    return error.status_code == 410 or (error.status_code in (400, 404, 405) and isinstance(said, str))


def _place(number: int) -> DocumentKey:
    """What a document is known by in the plugin's point in time: its shard and number there, and no index or id."""
    return "", str(number)


def _request(plan: Plan) -> dict[str, Any]:
    options, places = plan.options, {leg.name: i for i, leg in enumerate(plan.legs)}
    legs: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    for leg in plan.legs:
        said: dict[str, Any] = {
            "name": leg.name,
            "source": plan.sources[leg.name],
            "cosine": leg.kind == "knn",
            "window": leg.window,
            "rough": plan.rescore and not leg.exact,
            "siblings": [places[other.name] for other in plan.siblings(leg)],
        }
        if leg.name in plan.weights:
            said["weight"] = plan.weights[leg.name]
        if leg.probes is not None:
            probes += leg.probes.searches
            times, count = list(leg.probes.times), leg.probes.words
            said["words"] = {"times": times, "count": count, "whole": leg.probes.whole, "spelling": options.spelling}
        legs.append(said)
    most = min(options.size + _EQUALS, plan.most)
    shown: dict[str, Any] = {"from": plan.offset, "size": options.size, "most": most, "searches": _showing(plan, most)}
    if options.min_score is not None:
        shown["min_score"] = options.min_score
    where = {"pit": {"id": plan.pit, "keep_alive": KEEP_ALIVE}} if plan.pit else {"index": plan.index}
    windows = [window_body(plan, leg) for leg in plan.legs]
    return {**where, "windows": windows, "probes": probes, "legs": legs, "shown": shown}


def _showing(plan: Plan, most: int) -> list[dict[str, Any]]:
    """The searches for what is shown, as `crosslens.queries.search.completion.completed` makes them."""
    clauses = [leg.clause(_CHOSEN, most, rescore=plan.rescore) for leg in plan.legs if not leg.nested]
    query = {"bool": {"filter": [_CHOSEN], "should": clauses}}
    first = {"query": query, "size": most, "track_total_hits": False, **highlighting(plan, plan.shown)}
    return [first, *(leg.completion(_CHOSEN, most, rescore=plan.rescore, detailed=True) for leg in _nested(plan))]


def _nested(plan: Plan) -> list[Leg]:
    return [leg for leg in plan.legs if leg.nested]


def _windows(plan: Plan, answer: Answer, key_of: Callable[[int], DocumentKey]) -> Windows:
    raw: ByLeg = {}
    lacks: dict[str, set[DocumentKey]] = {}
    answers: Sequence[Answer] = answer["windows"]
    for leg, found in zip(plan.legs, answers, strict=True):
        keys = [key_of(place) for place in found["places"]]
        raw[leg.name] = {key: leg.raw(score) for key, score in zip(keys, found["scores"], strict=True)}
        for other in plan.siblings(leg):
            lacks.setdefault(other.name, set()).update(keys[i] for i in found["lacks"].get(other.name, ()))
    attainable, said = probed(plan, answer["probes"], raw)
    return Windows(
        raw,
        {},
        attainable,
        lacks,
        {},
        next((each["aggregations"] for each in answers if "aggregations" in each), {}),
        {leg.name: float(each["took"]) for leg, each in zip(plan.legs, answers, strict=True)},
        said,
        matching=False,
    )


def _brought(plan: Plan, windows: Windows, answers: Sequence[Answer]) -> Brought:
    if not answers:
        return Brought({}, {}, {}, {})
    nested = _nested(plan)
    answers = checked(answers, ["completion", *(f"completion of {leg.name}" for leg in nested)])
    windows.profile["completion"] = float(sum(answer["took"] for answer in answers))
    hits = answers[0]["hits"]["hits"]
    documents = {(hit["_index"], hit["_id"]): hit for hit in hits}
    raw = {leg.name: clause_scores(leg, documents) for leg in plan.legs if not leg.nested}
    again, matched = raw_scores(nested, answers[1:])
    names = {_place(hit["sort"][-1]): (hit["_index"], hit["_id"]) for hit in hits}
    return Brought(names, documents, raw | nested_scores(nested, again, documents), matched)
