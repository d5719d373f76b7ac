"""The second trip of a search: true scores of chosen documents in every leg, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.scores import Part
from crosslens.queries.search.answers import ByLeg, ask, checked, hits_of, raw_scores
from crosslens.queries.search.legs import PART, Leg, named
from crosslens.queries.search.plan import Plan
from crosslens.queries.search.requests import Search, Steps
from crosslens.queries.search.windows import Windows

Best = list[tuple[DocumentKey, float]]
Shown = list[tuple[DocumentKey, float, dict[str, Part]]]


def completed(
    plan: Plan, windows: Windows, keys: Sequence[DocumentKey], *, scoring: bool
) -> Steps[tuple[set[DocumentKey], ByLeg]]:
    """Return which of ``keys`` are still there, and with ``scoring`` every leg's true scores of them.

    The documents are put into ``windows``. In one round trip, with the aggregations over the window where they are
    asked for and not there yet. Raises `QueryError` for what the server refuses.
    """
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
        # The keyword query scores, and marks the words that highlighting shows.
        query = {"filter": [named(part)], **({"should": [keyword.query]} if keyword else {})}
        searches.append(
            plan.search({"query": {"bool": query}, "size": len(part), "track_total_hits": False, **plan.shown})
        )
        names.append("completion")
    owners: list[Leg] = []
    for leg in plan.legs if scoring and keys else ():
        if leg.kind == "knn":
            for body in leg.completions(keys, rescore=plan.rescore, most=plan.most):
                searches.append(plan.search(body))
                owners.append(leg)
    names += [f"completion of {leg.name}" for leg in owners]
    if not searches:
        return set(), {}
    answers = checked((yield from ask(searches)), names)
    took = float(sum(answer["took"] for answer in answers))
    windows.profile["completion"] = windows.profile.get("completion", 0.0) + took
    if aggregating:
        windows.aggregated = answers.pop(0).get("aggregations", {})
    documents = hits_of(answers[: len(presenting)])
    windows.documents.update(documents)
    raw: ByLeg = {leg.name: {} for leg in plan.legs}
    if keyword is not None:
        raw[keyword.name] = {key: float(hit["_score"] or 0.0) for key, hit in documents.items()}
    again, matched = raw_scores(owners, answers[len(presenting) :])
    for name, scores in again.items():
        raw[name] = {key: score for key, score in scores.items() if key in documents}
    for key, values in matched.items():
        windows.matched.setdefault(key, {}).update(values)
    return set(documents), raw


def shown_of(
    plan: Plan, windows: Windows, best: Best, parts_of: Callable[[DocumentKey], dict[str, Part]]
) -> Steps[tuple[Shown, int]]:
    """Return the documents to show with their true scores, and how many better ones were gone since they were found.

    The place of one that is gone is taken by the next.
    """
    shown: Shown = []
    place, gone, size = plan.offset, 0, plan.options.size
    while len(shown) < size and place < len(best):
        wanted = best[place : place + size - len(shown)]
        place += len(wanted)
        keys = [key for key, _ in wanted]
        scoring = any(not leg.exact or any(key not in windows.raw[leg.name] for key in keys) for leg in plan.legs)
        if not scoring and not plan.options.presents:
            shown += [(key, total, parts_of(key)) for key, total in wanted]
            continue
        there, raw = yield from completed(plan, windows, keys, scoring=scoring)
        for key, total in wanted:
            if key not in there:
                gone += 1
                continue
            parts = parts_of(key)
            if scoring:
                parts = {name: _with_true_score(part, raw[name].get(key)) for name, part in parts.items()}
            shown.append((key, total, parts))
    return shown, gone


def _with_true_score(part: Part, raw: float | None) -> Part:
    """A vector leg that has no score of a document has nothing of it to compare."""
    return replace(part, raw=raw, lacking=raw is None)
