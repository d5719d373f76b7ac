"""Fusing the scores of several legs into one: each leg is normalised, weighted, and a mean is taken."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

from crosslens.errors import QueryError
from crosslens.queries import normalise
from crosslens.queries.normalise import NORMALISERS, Normaliser

Key = TypeVar("Key", bound=Hashable)
Mean = Literal["arithmetic", "geometric", "harmonic"]
MEANS: tuple[Mean, ...] = get_args(Mean)


@dataclass(frozen=True)
class Part:
    """What one leg adds to a document: ``raw`` score (None: it has none), ``normalised``, and ``weighted``.

    The arithmetic mean is the sum of the weighted parts.
    """

    raw: float | None
    normalised: float
    weighted: float


@dataclass(frozen=True)
class Scores(Generic[Key]):
    """The raw scores of a leg by document, and their ``floor``, the least score possible.

    ``moments`` are mean and standard deviation of the query's score over the whole corpus, for `standardise`.
    """

    raw: Mapping[Key, float]
    floor: float
    moments: tuple[float, float] | None = None


def fuse(
    legs: Mapping[str, Scores[Key]],
    weights: Mapping[str, float],
    *,
    normaliser: Normaliser = "theoretical-min-max",
    mean: Mean = "arithmetic",
) -> dict[Key, tuple[float, dict[str, Part]]]:
    """Each document's total and its part of every leg.

    Weights are divided by their sum, so that totals compare between queries; a leg without a weight has 1. Means of
    normalised scores n with weights w (source: OpenSearch's documentation, combination techniques):

        arithmetic  sum(w n) / sum(w)
        geometric   exp(sum(w ln n) / sum(w))
        harmonic    sum(w) / sum(w / n)

    A leg in which no score exceeds the floor found nothing, and gives 0. In the geometric and harmonic mean only legs
    with n > 0 count, as in OpenSearch; so a document that one leg alone scores gets that leg's score whole, and these
    two make sense with completed scores only.

    With "standardise", the standardised legs share one scale: 0 for the corpus's mean and below, 1 for the largest z
    of any of them; a leg without moments (BM25) is scaled by theoretical-min-max.

    Raises `QueryError` when a weight is negative or not finite, names no leg, or all are 0; for an unknown normaliser
    or mean; and for a mean of scores that may be negative.
    """
    if normaliser not in NORMALISERS:
        raise QueryError(f"unknown normaliser {normaliser!r}; one of {', '.join(NORMALISERS)}")
    if mean not in MEANS:
        raise QueryError(f"unknown mean {mean!r}; one of {', '.join(MEANS)}")
    if normaliser == "z-score" and mean != "arithmetic":
        raise QueryError(f"a {mean} mean needs scores that aren't negative, and z-score gives such")
    shares = _shares(list(legs), weights)
    normalised = {
        # Completed, a leg that found nothing has the floor's score everywhere; equal scores aren't matches there.
        name: scores if any(raw > legs[name].floor for raw in legs[name].raw.values()) else dict.fromkeys(scores, 0.0)
        for name, scores in _normalise(legs, normaliser).items()
    }
    absent = {name: normalise.missing(scores, normaliser) for name, scores in normalised.items()}
    fused = {}
    for key in dict.fromkeys(key for scores in normalised.values() for key in scores):
        parts = {}
        for name, scores in legs.items():
            value = normalised[name].get(key, absent[name])
            parts[name] = Part(scores.raw.get(key), value, value * shares[name])
        fused[key] = (_mean([(shares[name], part.normalised) for name, part in parts.items()], mean), parts)
    return fused


def _normalise(legs: Mapping[str, Scores[Key]], normaliser: Normaliser) -> dict[str, dict[Key, float]]:
    if normaliser == "standardise":
        return _standardise(legs)
    functions = {
        "theoretical-min-max": lambda scores: normalise.theoretical_min_max(scores.raw, scores.floor),
        "min-max": lambda scores: normalise.min_max(scores.raw),
        "z-score": lambda scores: normalise.z_score(scores.raw),
        "l2": lambda scores: normalise.l2(scores.raw),
        "rank": lambda scores: normalise.rank(scores.raw),
    }
    return {name: functions[normaliser](scores) for name, scores in legs.items()}


def _standardise(legs: Mapping[str, Scores[Key]]) -> dict[str, dict[Key, float]]:
    standardised = {
        name: normalise.standardise(scores.raw, *scores.moments)
        for name, scores in legs.items()
        if scores.moments is not None
    }
    top = max((z for scores in standardised.values() for z in scores.values()), default=0.0)
    return {
        name: {key: max(z, 0.0) / top if top > 0 else 0.0 for key, z in standardised[name].items()}
        if name in standardised
        else normalise.theoretical_min_max(scores.raw, scores.floor)
        for name, scores in legs.items()
    }


def _mean(values: Sequence[tuple[float, float]], mean: Mean) -> float:
    if mean == "arithmetic":
        return sum(share * value for share, value in values)
    counted = [(share, value) for share, value in values if value > 0 and share > 0]
    total = sum(share for share, _ in counted)
    if not counted:
        return 0.0
    if mean == "geometric":
        return math.exp(sum(share * math.log(value) for share, value in counted) / total)
    return total / sum(share / value for share, value in counted)


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
