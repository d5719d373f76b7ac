"""True scores of chosen documents in every leg, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.scores import Part
from crosslens.queries.search.answers import Answer, ByLeg, ask, ask_named, checked, hits_of, raw_scores
from crosslens.queries.search.keys import Moved, id_of, named, slot_clauses, slot_of
from crosslens.queries.search.legs import PART, Leg
from crosslens.queries.search.plan import Plan
from crosslens.queries.search.requests import Query, Search, Steps
from crosslens.queries.search.windows import Windows

Best = list[tuple[DocumentKey, float]]
Shown = list[tuple[DocumentKey, float, dict[str, Part]]]
# So many more documents than are shown are fetched to put equal ones in order; of more the ids are asked for first.
_EQUALS = 20


def completed(
    plan: Plan, windows: Windows, keys: Sequence[DocumentKey], *, scoring: bool, showing: Mapping[str, Any] | None
) -> Steps[tuple[dict[DocumentKey, Mapping[str, Any]], ByLeg]]:
    """Return the hits of those of ``keys`` that are still there, and with ``scoring`` every leg's true scores of them.

    ``showing`` is the part of a request that asks for what hits have besides (None: nothing, with slots not even an
    id). In one round trip, with the aggregations over the window where they are asked for and not there yet. Raises
    `QueryError` for what the server refuses, and `Moved` where one of ``keys`` is a slot with none or two documents.
    """
    aggregating = plan.over_window and not windows.aggregated
    if not keys and not aggregating:
        return {}, {}
    alone = len(keys) <= min(PART, plan.most) and not (scoring and any(leg.nested for leg in plan.legs))
    if alone and not aggregating:
        there, raw = yield from _in_one(plan, windows, keys, scoring=scoring, showing=showing)
    else:
        there, raw = yield from _in_several(plan, windows, keys, scoring=scoring, showing=showing)
    if plan.slots and len(there) != len(keys):
        raise Moved
    return there, raw


def _in_one(
    plan: Plan, windows: Windows, keys: Sequence[DocumentKey], *, scoring: bool, showing: Mapping[str, Any] | None
) -> Steps[tuple[dict[DocumentKey, Mapping[str, Any]], ByLeg]]:
    """As `completed`, by one search in which each leg is a named clause."""
    # The keyword query is asked in any case, since it marks the words that highlighting shows.
    legs = [leg for leg in plan.legs if scoring or leg.kind == "keyword"]
    clauses = [leg.clause(keys, rescore=plan.rescore) for leg in legs]
    answer = yield from ask_named(_presenting(plan, keys, clauses, showing=showing))
    (answer,) = checked([answer], ["completion"])
    _note(windows, [answer])
    there = _hits(plan, [answer], showing=showing)
    raw: ByLeg = {leg.name: {} for leg in plan.legs}
    for key, hit in there.items():
        scores = hit.get("matched_queries") or {}
        for leg in legs:
            # A document that the words don't match has a score of 0; one without a vector has none.
            if leg.kind == "keyword" or leg.clause_name in scores:
                raw[leg.name][key] = leg.raw(scores.get(leg.clause_name, 0.0))
    return there, raw


def _in_several(
    plan: Plan, windows: Windows, keys: Sequence[DocumentKey], *, scoring: bool, showing: Mapping[str, Any] | None
) -> Steps[tuple[dict[DocumentKey, Mapping[str, Any]], ByLeg]]:
    """As `completed`, by a search for each leg and part of the documents: more of them than a search may return, or
    with nested vectors."""
    searches: list[Search] = []
    names: list[str] = []
    aggregating = plan.over_window and not windows.aggregated
    if aggregating:
        body = {"query": named(windows.keys), "size": 0, "aggs": dict(plan.options.aggregations or {})}
        searches.append(plan.search(body))
        names.append("aggregations")
    size = min(PART, plan.most)
    presenting = range(0, len(keys), size)
    keyword = next((leg for leg in plan.legs if leg.kind == "keyword"), None)
    for start in presenting:
        part = keys[start : start + size]
        searches.append(_presenting(plan, part, [keyword.query] if keyword else [], showing=showing))
        names.append("completion")
    owners: list[Leg] = []
    for leg in plan.legs if scoring and keys else ():
        if leg.kind == "knn":
            for body in leg.completions(keys, rescore=plan.rescore, most=plan.most):
                searches.append(plan.bare(body))
                owners.append(leg)
    names += [f"completion of {leg.name}" for leg in owners]
    answers = checked((yield from ask(searches)), names)
    _note(windows, answers)
    if aggregating:
        windows.aggregated = answers.pop(0).get("aggregations", {})
    there = _hits(plan, answers[: len(presenting)], showing=showing)
    raw: ByLeg = {leg.name: {} for leg in plan.legs}
    if keyword is not None:
        raw[keyword.name] = {key: keyword.raw(hit["_score"] or 0.0) for key, hit in there.items()}
    again, matched = raw_scores(owners, answers[len(presenting) :])
    for name, scores in again.items():
        raw[name] = {key: score for key, score in scores.items() if key in there}
    for key, values in matched.items():
        windows.matched.setdefault(key, {}).update(values)
    return there, raw


def _presenting(
    plan: Plan, keys: Sequence[DocumentKey], clauses: Sequence[Query], *, showing: Mapping[str, Any] | None
) -> Search:
    """A search for the documents named, which the clauses score; of two in one slot both are found."""
    should = [*clauses, *(slot_clauses(keys) if showing is not None else ())]
    query = {"bool": {"filter": [named(keys)], **({"should": should} if should else {})}}
    size = min(len(keys) + 1, plan.most) if plan.slots else len(keys)
    body = {"query": query, "size": size, "track_total_hits": False}
    return plan.bare({**body, "_source": False}) if showing is None else plan.search({**body, **showing})


def _hits(
    plan: Plan, answers: Sequence[Answer], *, showing: Mapping[str, Any] | None
) -> dict[DocumentKey, Mapping[str, Any]]:
    if showing is None or not plan.slots:
        return hits_of(answers)
    hits = [hit for answer in answers for hit in answer["hits"]["hits"]]
    there = {slot_of(hit): hit for hit in hits}
    if len(there) < len(hits):
        raise Moved
    return there


def _note(windows: Windows, answers: Sequence[Answer]) -> None:
    took = float(sum(answer["took"] for answer in answers))
    windows.profile["completion"] = windows.profile.get("completion", 0.0) + took


def shown_of(
    plan: Plan, windows: Windows, best: Best, parts_of: Callable[[DocumentKey], dict[str, Part]], *, scoring: bool
) -> Steps[tuple[Shown, int]]:
    """Return the documents to show, by index and id, and how many better ones were gone since they were found.

    The place of one that is gone is taken by the next. With ``scoring`` they get their true scores in every leg. Raises
    as `completed` does.
    """
    if plan.slots:
        return (yield from _shown_of_slots(plan, windows, best, parts_of, scoring=scoring)), 0
    shown: Shown = []
    place, gone, size = plan.offset, 0, plan.options.size
    while len(shown) < size and place < len(best):
        wanted = best[place : place + size - len(shown)]
        place += len(wanted)
        lacking = scoring and _lack_scores(plan, windows, wanted)
        if not lacking and not plan.options.presents:
            shown += [(key, total, parts_of(key)) for key, total in wanted]
            continue
        there, raw = yield from completed(
            plan, windows, [key for key, _ in wanted], scoring=lacking, showing=plan.shown
        )
        windows.documents.update(there)
        for key, total in wanted:
            if key in there:
                shown.append((key, total, _with_true_scores(parts_of(key), raw, key) if lacking else parts_of(key)))
            else:
                gone += 1
    return shown, gone


def _shown_of_slots(
    plan: Plan, windows: Windows, best: Best, parts_of: Callable[[DocumentKey], dict[str, Part]], *, scoring: bool
) -> Steps[Shown]:
    start, end = plan.offset, min(plan.offset + plan.options.size, len(best))
    if start >= end:
        return []
    # Equal totals are ordered by ids, which aren't known yet: so all that are equal to those at the ends are looked at.
    first, last = start, end
    while first > 0 and best[first - 1][1] == best[start][1]:
        first -= 1
    while last < len(best) and best[last][1] == best[end - 1][1]:
        last += 1
    wanted = best[first:last]
    if last - first > end - start + _EQUALS:
        if plan.slots is not None and plan.slots.hashed is not None:
            raise Moved
        slots = [key for key, _ in wanted]
        there, _ = yield from completed(plan, windows, slots, scoring=False, showing={"_source": False})
        wanted.sort(key=lambda item: (-item[1], id_of(there[item[0]])))
        wanted, first = wanted[start - first : end - first], start
    lacking = scoring and _lack_scores(plan, windows, wanted)
    there, raw = yield from completed(plan, windows, [key for key, _ in wanted], scoring=lacking, showing=plan.shown)
    shown: Shown = []
    for slot, total in wanted:
        hit = there[slot]
        windows.documents[id_of(hit)] = hit
        parts = _with_true_scores(parts_of(slot), raw, slot) if lacking else parts_of(slot)
        shown.append((id_of(hit), total, parts))
    shown.sort(key=lambda each: (-each[1], each[0]))
    return shown[start - first : end - first]


def _lack_scores(plan: Plan, windows: Windows, wanted: Best) -> bool:
    return any(not leg.exact or any(key not in windows.raw[leg.name] for key, _ in wanted) for leg in plan.legs)


def _with_true_scores(parts: Mapping[str, Part], raw: ByLeg, key: DocumentKey) -> dict[str, Part]:
    """A vector leg that has no score of a document has nothing of it to compare."""
    scores = {name: raw[name].get(key) for name in parts}
    return {name: replace(part, raw=scores[name], lacking=scores[name] is None) for name, part in parts.items()}
