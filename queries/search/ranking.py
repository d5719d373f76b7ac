"""The trips of a search in their order, and the ranking that they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crosslens.ingest.contract.documents import DocumentKey, source_values
from crosslens.queries.fusion.fuse import fused_scores
from crosslens.queries.fusion.scores import Part, Scores
from crosslens.queries.search.completion import NAMES_ONLY, Best, completed, shown_of
from crosslens.queries.search.joined import joined_trip, joins
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.plan import Plan
from crosslens.queries.search.presence import Presence
from crosslens.queries.search.requests import Steps
from crosslens.queries.search.rescoring import rescoring_trip
from crosslens.queries.search.sorting import sorted_by_field
from crosslens.queries.search.windows import Windows, first_trip, respelling_trip
from crosslens.queries.show.explain import explain
from crosslens.queries.show.moments import Found, moments_of, span
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.surrogates import well_formed


def ranked(plan: Plan) -> Steps[SearchResult]:
    """Return the result of a search, in two round trips by evidence and three by other normalizers.

    By evidence the first trip decides the ranking, and the second one brings what is shown: the documents, and their
    true scores in every leg. It is left out where nothing of that is missing. There is one more between them where a
    word is nobody's, and may be misspelt, and one where quantised vectors found only a few documents. By the other
    normalizers the second trip completes the whole window, which decides the ranking, and the third one brings what is
    shown. With the server plugin both trips by evidence are one (`crosslens.queries.search.joined`). Without completion
    there is one trip (two if the window is aggregated), which brings all documents of the
    window. Sorting by a field is a trip of its own.

    Raises `QueryError` for weights, normalizers and the like that make no sense, and for answers that are errors.
    """
    wanted, options = plan.wanted, plan.options
    found = (yield from joined_trip(plan)) if joins(plan) else None
    windows, brought = found or ((yield from first_trip(plan)), None)
    if brought is None:
        yield from respelling_trip(plan, windows)
        yield from rescoring_trip(plan, windows)
    keys = windows.keys
    raw: Mapping[str, Mapping[DocumentKey, float]] = windows.raw
    if keys and options.complete and not wanted.by_evidence:
        # A document that was deleted between the two trips isn't a result.
        kept, raw = yield from completed(plan, windows, keys, legs=plan.legs, showing=NAMES_ONLY)
        windows.raw = {
            name: {key: score for key, score in scores.items() if key in kept} for name, scores in windows.raw.items()
        }
        windows.note_lacking(plan, kept, raw)
    by_leg = windows.by_leg(plan, raw)
    fused = fused_scores(by_leg, plan.weights, normalizer=wanted.normalizer, mean=options.mean)
    # Equal totals are ordered by index and id, so that the same search always gives the same list.
    best: Best = sorted(fused.totals.items(), key=lambda item: (-item[1], item[0]))
    greatest = best[0][1] if best else 0.0
    if options.min_score is not None:
        best = [item for item in best if item[1] >= options.min_score]
    if options.collapse:
        best = _collapsed(best, windows.documents, options.collapse)
    best = yield from sorted_by_field(plan, best)
    gone = 0
    if brought is not None:
        together = brought.shown(plan, windows, best, fused.parts)
        if together is None:
            return (yield from ranked(replace(plan, presence=Presence(False))))
        shown = together
    elif options.complete:
        shown, gone = yield from shown_of(plan, windows, best, fused.parts, scoring=wanted.by_evidence)
    else:
        end = plan.offset + options.size
        shown = [(key, total, fused.parts(key)) for key, total in best[plan.offset : end]]
    if plan.over_window and keys and not windows.aggregated:
        yield from completed(plan, windows, (), legs=(), showing=NAMES_ONLY)
    return SearchResult(
        [_hit(plan, windows, *each) for each in shown],
        [leg.name for leg in plan.legs],
        len(best) - gone,
        aggregations=windows.aggregated,
        profile=windows.profile,
        noise=_noise(plan, by_leg),
        normalizer=wanted.normalizer,
        min_score=options.min_score,
        sources=dict(plan.sources),
        best=greatest,
        scores={} if brought else by_leg,
    )


def _noise(plan: Plan, by_leg: Mapping[str, Scores[DocumentKey]]) -> dict[str, dict[str, float]]:
    noise = {}
    for name, floor in plan.floors.items():
        mean, deviation = plan.moments[name]
        if by_leg[name].raw and deviation > 0:
            noise[name] = {"z": (max(by_leg[name].raw.values()) - mean) / deviation, "floor": floor}
    return noise


def _collapsed(best: Best, documents: Mapping[DocumentKey, Mapping[str, Any]], name: str) -> Best:
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


def _hit(plan: Plan, windows: Windows, key: DocumentKey, total: float, parts: dict[str, Part]) -> Hit:
    document, options = windows.documents.get(key, {}), plan.options
    fields = {
        name: values
        for name, values in document.get("fields", {}).items()
        if options.fields or name != options.collapse
    }
    source, highlight = document.get("_source") or {}, document.get("highlight") or {}
    known = windows.matched.get(key, {})
    legs = {leg.name: leg for leg in plan.legs}
    matched = {
        name: value if legs[name].moments else _worded(source, legs[name], value) for name, value in known.items()
    }
    whole = sum(part.weighted for part in parts.values())
    moments = moments_of(
        Found(
            sorted(field for _, field in leg.reads)[0], leg.sense, parts[name].weighted / whole if whole else 0.0, value
        )
        for name, value in known.items()
        if (leg := legs[name]).moments and leg.sense is not None
    )
    times = {
        name: span(value["start_ms"], value["end_ms"])
        for name, value in known.items()
        if legs[name].moments and parts[name].chance is not None
    }
    depth = max((leg.window for leg in plan.legs), default=0)
    explanation = explain(parts, {leg.name: leg.sense for leg in plan.legs}, depth, times)
    return Hit(key[0], key[1], total, parts, source, matched, fields, highlight, explanation, moments=moments)


def _worded(source: Mapping[str, Any], leg: Leg, value: Mapping[str, Any]) -> dict[str, Any]:
    """What matched, of a passage with its words, which stand in the document."""
    fields = sorted(field for _, field in leg.reads)
    texts = source_values(source, fields[0]) if "end" in value and fields else []
    if value["position"] >= len(texts):
        return dict(value)
    return {**value, "text": well_formed(texts[value["position"]][value["start"] : value["end"]])}
