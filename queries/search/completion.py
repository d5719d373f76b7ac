"""The later trips of a search: true scores of chosen documents in the legs, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.scores import Part
from crosslens.queries.search.answers import ByLeg, ask, checked, hits_of, raw_scores
from crosslens.queries.search.legs import PART, Leg, named
from crosslens.queries.search.plan import Plan, highlighting
from crosslens.queries.search.requests import Search, Steps
from crosslens.queries.search.windows import Windows

Best = list[tuple[DocumentKey, float]]
Shown = list[tuple[DocumentKey, float, dict[str, Part]]]
Hits = dict[DocumentKey, Mapping[str, Any]]
NAMES_ONLY: Mapping[str, Any] = {"_source": False}


def completed(
    plan: Plan, windows: Windows, keys: Sequence[DocumentKey], *, legs: Sequence[Leg], showing: Mapping[str, Any]
) -> Steps[tuple[Hits, ByLeg]]:
    """Return the hits of those of ``keys`` that are still there, and the true scores of them in ``legs``.

    ``showing`` is the part of a request that asks for what is shown of a document. In one round trip, with the
    aggregations over the window where they are asked for and not there yet. Raises `QueryError` for what the server
    refuses.
    """
    searches: list[Search] = []
    names: list[str] = []
    aggregating = plan.over_window and not windows.aggregated
    if aggregating:
        body = {"query": named(windows.keys), "size": 0, "aggs": dict(plan.options.aggregations or {})}
        searches.append(plan.search(body))
        names.append("aggregations")
    size = min(PART, plan.most)
    # Each leg is a named clause of one search, whose hits have its score. What matched in nested objects comes only
    # with a search of its own.
    named_legs = [leg for leg in legs if not leg.nested]
    starts = range(0, len(keys), size)
    for start in starts:
        part = keys[start : start + size]
        chosen = named(part)
        clauses = [leg.clause(chosen, len(part), rescore=plan.rescore) for leg in named_legs]
        query = {"bool": {"filter": [chosen], **({"should": clauses} if clauses else {})}}
        body = {"query": query, "size": len(part), "track_total_hits": False, **highlighting(plan, showing)}
        searches.append(plan.search(body))
        names.append("completion")
    owners: list[Leg] = []
    for leg in legs if keys else ():
        if leg.nested:
            detailed = showing is not NAMES_ONLY
            for body in leg.completions(keys, rescore=plan.rescore, most=plan.most, detailed=detailed):
                searches.append(plan.search(body))
                owners.append(leg)
    names += [f"completion of {leg.name}" for leg in owners]
    answers = checked((yield from ask(searches, scoring=bool(named_legs))), names)
    took = float(sum(answer["took"] for answer in answers))
    windows.profile["completion"] = windows.profile.get("completion", 0.0) + took
    if aggregating:
        windows.aggregated = answers.pop(0).get("aggregations", {})
    there = hits_of(answers[: len(starts)])
    raw = {leg.name: clause_scores(leg, there) for leg in named_legs}
    again, matched = raw_scores(owners, answers[len(starts) :])
    raw |= nested_scores(owners, again, there)
    for key, values in matched.items():
        windows.matched.setdefault(key, {}).update(values)
    return there, raw


def clause_scores(leg: Leg, there: Mapping[DocumentKey, Mapping[str, Any]]) -> dict[DocumentKey, float]:
    """Return the scores of a leg's clause; 0 where words don't match, and none where there is no vector."""
    scores: dict[DocumentKey, float] = {}
    for key, hit in there.items():
        score = (hit.get("matched_queries") or {}).get(leg.scored_as)
        if score is not None or leg.kind == "keyword":
            scores[key] = leg.raw(score or 0.0)
    return scores


def nested_scores(legs: Sequence[Leg], found: ByLeg, there: Mapping[DocumentKey, Mapping[str, Any]]) -> ByLeg:
    """Return the scores that searches of their own ``found`` for nested legs, of documents that are still there; 0
    where words don't match."""
    raw: ByLeg = {}
    for leg in legs:
        scores = dict.fromkeys(there, 0.0) if leg.kind == "keyword" else {}
        raw[leg.name] = scores | {key: score for key, score in found[leg.name].items() if key in there}
    return raw


def shown_of(
    plan: Plan, windows: Windows, best: Best, parts_of: Callable[[DocumentKey], dict[str, Part]], *, scoring: bool
) -> Steps[tuple[Shown, int]]:
    """Return the documents to show, and how many better ones were gone since they were found.

    The place of one that is gone is taken by the next. With ``scoring`` they get the true scores that aren't known.
    """
    shown: Shown = []
    place, gone, size = plan.offset, 0, plan.options.size
    while len(shown) < size and place < len(best):
        wanted = best[place : place + size - len(shown)]
        place += len(wanted)
        keys = [key for key, _ in wanted]
        legs = [leg for leg in plan.legs if leg.moments or (scoring and lacks_scores(leg, windows, keys))]
        if not legs and not plan.options.presents:
            shown += [(key, total, parts_of(key)) for key, total in wanted]
            continue
        there, raw = yield from completed(plan, windows, keys, legs=legs, showing=plan.shown)
        windows.documents.update(there)
        for key, total in wanted:
            if key not in there:
                gone += 1
                continue
            parts = parts_of(key)
            for name, scores in raw.items():
                # A vector leg that has no score of a document has nothing of it to compare.
                parts[name] = replace(parts[name], raw=scores.get(key), lacking=key not in scores)
            shown.append((key, total, parts))
    return shown, gone


def lacks_scores(leg: Leg, windows: Windows, keys: Sequence[DocumentKey]) -> bool:
    """Return whether a leg must be asked for what it gives to these documents, and which of their values matched."""
    if leg.nested and not windows.matching:
        return True
    return not leg.exact or any(key not in windows.raw[leg.name] for key in keys)
