"""Fusing the scores of several legs into one: each leg is normalized, weighted, and a mean is taken."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeVar, get_args

from crosslens.errors import QueryError
from crosslens.queries.fusion import evidence
from crosslens.queries.fusion import normalizers as normalize
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, NORMALIZERS, Normalizer
from crosslens.queries.fusion.scores import Part, Scores

__all__ = ["MEANS", "Mean", "Part", "Scores", "fuse"]

K = TypeVar("K", bound=Hashable)
Mean = Literal["arithmetic", "geometric", "harmonic"]
MEANS: tuple[Mean, ...] = get_args(Mean)


class Fused(Protocol[K]):
    """Totals by document, and each document's parts by leg."""

    @property
    def totals(self) -> Mapping[K, float]: ...

    def parts(self, key: K) -> dict[str, Part]: ...


def fuse(
    legs: Mapping[str, Scores[K]],
    weights: Mapping[str, float],
    *,
    normalizer: Normalizer = DEFAULT_NORMALIZER,
    mean: Mean = "arithmetic",
) -> dict[K, tuple[float, dict[str, Part]]]:
    """Return each document's total and its part of every leg.

    "evidence", the default, is described in `crosslens.queries.fusion.evidence`; it has its own way to combine, and
    doesn't take another mean. With the others, weights are divided by their sum, so that totals compare between
    queries; a leg without a weight has 1. Means of normalized scores n with weights w (source: OpenSearch's
    documentation, combination techniques):

        arithmetic  sum(w n) / sum(w)
        geometric   exp(sum(w ln n) / sum(w))
        harmonic    sum(w) / sum(w / n)

    A leg in which no score exceeds the floor found nothing, and gives 0. In the geometric and harmonic mean only legs
    with n > 0 count, as in OpenSearch; so a document that one leg alone scores gets that leg's score whole, and these
    two make sense with completed scores only.

    With "standardise", the standardised legs share one scale: 0 for the corpus's mean and below, 1 for the largest z
    of any of them; a leg without corpus statistics (BM25) is scaled by theoretical-min-max.

    Raises `QueryError` when a weight is negative or not finite, names no leg, or all are 0; for an unknown normalizer
    or mean; and for a mean of scores that may be negative.
    """
    fused = fused_scores(legs, weights, normalizer=normalizer, mean=mean)
    return {key: (total, fused.parts(key)) for key, total in fused.totals.items()}


def fused_scores(
    legs: Mapping[str, Scores[K]], weights: Mapping[str, float], *, normalizer: Normalizer, mean: Mean
) -> Fused[K]:
    """Fuse as `fuse` does, with parts made on request."""
    if normalizer not in NORMALIZERS:
        raise QueryError(f"unknown normalizer {normalizer!r}; one of {', '.join(NORMALIZERS)}")
    if mean not in MEANS:
        raise QueryError(f"unknown mean {mean!r}; one of {', '.join(MEANS)}")
    if normalizer == "z-score" and mean != "arithmetic":
        raise QueryError(f"a {mean} mean needs scores that aren't negative, and z-score gives such")
    if normalizer == "evidence" and mean != "arithmetic":
        raise QueryError(f"a {mean} mean is of normalized scores, which evidence doesn't take; choose a normalizer")
    shares = _shares(list(legs), weights)
    if normalizer == "evidence":
        return evidence.Combined(legs, weights)
    return _Averaged(legs, shares, normalizer, mean)


class _Averaged(Generic[K]):
    """A mean of normalized scores."""

    def __init__(self, legs: Mapping[str, Scores[K]], shares: Mapping[str, float], normalizer: Normalizer, mean: Mean):
        self._legs, self._shares = legs, shares
        self._normalized = {
            # A completed leg that found nothing has the floor's score everywhere; equal scores aren't matches there.
            name: scores
            if any(raw > legs[name].floor for raw in legs[name].raw.values())
            else dict.fromkeys(scores, 0.0)
            for name, scores in _normalize(legs, normalizer).items()
        }
        self._absent = {name: normalize.missing(scores, normalizer) for name, scores in self._normalized.items()}
        self.totals = {
            key: _mean([(shares[name], self._value(name, key)) for name in legs], mean)
            for key in dict.fromkeys(key for scores in self._normalized.values() for key in scores)
        }

    def _value(self, name: str, key: K) -> float:
        return self._normalized[name].get(key, self._absent[name])

    def parts(self, key: K) -> dict[str, Part]:
        return {
            name: Part(scores.raw.get(key), self._value(name, key), self._value(name, key) * self._shares[name])
            for name, scores in self._legs.items()
        }


def _normalize(legs: Mapping[str, Scores[K]], normalizer: Normalizer) -> dict[str, dict[K, float]]:
    if normalizer == "standardise":
        return _standardise(legs)
    functions = {
        "theoretical-min-max": lambda scores: normalize.theoretical_min_max(scores.raw, scores.floor),
        "min-max": lambda scores: normalize.min_max(scores.raw),
        "z-score": lambda scores: normalize.z_score(scores.raw),
        "l2": lambda scores: normalize.l2(scores.raw),
        "rank": lambda scores: normalize.rank(scores.raw),
    }
    return {name: functions[normalizer](scores) for name, scores in legs.items()}


def _standardise(legs: Mapping[str, Scores[K]]) -> dict[str, dict[K, float]]:
    standardised = {
        name: normalize.standardise(scores.raw, *scores.moments)
        for name, scores in legs.items()
        if scores.moments is not None
    }
    top = max((z for scores in standardised.values() for z in scores.values()), default=0.0)
    return {
        name: {key: max(z, 0.0) / top if top > 0 else 0.0 for key, z in standardised[name].items()}
        if name in standardised
        else normalize.theoretical_min_max(scores.raw, scores.floor)
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
