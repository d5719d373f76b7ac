"""Fusing the scores of several legs into one.

A leg maps documents to raw scores on a scale of its own. Each leg is normalised to 0..1, weighted, and summed; a
document that a leg didn't find takes 0 from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from crosslens.errors import QueryError

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Part:
    """What one leg adds to a document: ``raw`` score (None: not found by it), ``normalised`` 0..1, ``weighted``."""

    raw: float | None
    normalised: float
    weighted: float


def theoretical_minimum(raw: Mapping[Key, float], floor: float) -> dict[Key, float]:
    """Min-max scaling from the least possible score instead of the least one seen.

        n(d) = (s(d) - floor) / (max(s) - floor)

    Range 0..1; the best document gets 1. Unlike plain min-max it doesn't push the last document of the window to 0
    and doesn't change when the window grows. BM25 has floor 0, a cosine -1.
    One hit, or equal scores, give 1. Scores that all equal the floor give 1: they matched. A score below the floor
    counts as the floor.

    Source: theoretical min-max, Bruch, Gai, Ingber (2023), An Analysis of Fusion Functions for Hybrid Retrieval,
    section 4.2, doi 10.1145/3596512.
    """
    if not raw:
        return {}
    highest = max(raw.values())
    if highest <= floor:
        return dict.fromkeys(raw, 1.0)
    return {key: max(score - floor, 0.0) / (highest - floor) for key, score in raw.items()}


def fuse(
    legs: Mapping[str, tuple[Mapping[Key, float], float]], weights: Mapping[str, float]
) -> dict[Key, tuple[float, dict[str, Part]]]:
    """Weighted mean of the legs' normalised scores: each document's total, 0..1, and its part of every leg.

    ``legs`` maps a leg's name to its raw scores and their floor. Weights are divided by their sum, so that totals
    compare between queries; a leg without a weight has 1. The total is the sum of the weighted parts.

    Raises `QueryError` when a weight is negative or not finite, names no leg, or all are 0.
    """
    shares = _shares(list(legs), weights)
    normalised = {name: theoretical_minimum(raw, floor) for name, (raw, floor) in legs.items()}
    keys = dict.fromkeys(key for scores in normalised.values() for key in scores)
    fused = {}
    for key in keys:
        parts = {}
        for name, (raw, _) in legs.items():
            value = normalised[name].get(key, 0.0)
            parts[name] = Part(raw.get(key), value, value * shares[name])
        fused[key] = (sum(part.weighted for part in parts.values()), parts)
    return fused


def _shares(names: list[str], weights: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise QueryError(f"weights name no leg of this search: {', '.join(unknown)}; its legs are {', '.join(names)}")
    chosen = {name: float(weights.get(name, 1.0)) for name in names}
    for name, weight in chosen.items():
        if not 0.0 <= weight < float("inf"):
            raise QueryError(f"the weight of {name} must be 0 or more, not {weight}")
    total = sum(chosen.values())
    if names and total == 0:
        raise QueryError("at least one weight must be more than 0")
    return {name: weight / total for name, weight in chosen.items()}
