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
    """Each document's total and its part of every leg.

    "evidence", the default, is described in `crosslens.queries.fusion.evidence`; it combines legs in its own way and
    takes no mean but the default. With the others, weights are divided by their sum, so that totals of different
    queries compare; a leg without a weight has 1. Means of normalized scores n with weights w (source: OpenSearch's
    documentation, combination techniques):

        arithmetic  sum(w n) / sum(w)
        geometric   exp(sum(w ln n) / sum(w))
        harmonic    sum(w) / sum(w / n)

    A leg can't judge a document with nothing for it to compare (`Scores.lacks`: no vector yet, or nothing to make one
    from). Its weight then goes to the legs that can judge the document and found anything at all, in proportion to
    their own weights. So a new document is judged by what it has, a document that a leg could have found but didn't
    gets 0 from it, and a leg that found nothing changes no ranking. A document that only legs of weight 0 can judge
    gets 0.

    A leg in which no score exceeds the floor found nothing, and gives 0. In the geometric and harmonic mean only legs
    with n > 0 count, as in OpenSearch, which likewise leaves out what can't judge a document; so a document that one
    leg alone scores gets all of that leg's score, and these two make sense only with completed scores.

    With "rank", only what a leg found by itself has a rank in it, whether scores are completed or not; so where every
    leg can judge every document, this is reciprocal rank fusion.

    With "standardise", the standardised legs share one scale: 0 for the corpus's mean and below, 1 for the largest z
    of any of them; a leg without moments (BM25) is scaled by theoretical-min-max.

    Raises `QueryError` when a weight is negative or not finite, names no leg, or all are 0; for an unknown normalizer
    or mean; and for a mean of scores that may be negative.
    """
    fused = fused_scores(legs, weights, normalizer=normalizer, mean=mean)
    return {key: (total, fused.parts(key)) for key, total in fused.totals.items()}


def fused_scores(
    legs: Mapping[str, Scores[K]], weights: Mapping[str, float], *, normalizer: Normalizer, mean: Mean
) -> Fused[K]:
    """As `fuse`, the parts made when they are asked for."""
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
        self._active = [name for name, each in legs.items() if any(raw > each.floor for raw in each.raw.values())]
        self._normalized = {
            # Completed, a leg that found nothing has the floor's score everywhere; equal scores aren't matches there.
            name: scores if name in self._active else dict.fromkeys(scores, 0.0)
            for name, scores in _normalize(legs, normalizer).items()
        }
        self._absent = {name: normalize.missing(scores, normalizer) for name, scores in self._normalized.items()}
        self.totals = {
            key: _mean([(share, self._normalized[name].get(key, self._absent[name])) for name, share in able], mean)
            for key, able in (
                (key, self._able(key)) for key in dict.fromkeys(key for scores in legs.values() for key in scores.raw)
            )
        }

    def _able(self, key: K) -> list[tuple[str, float]]:
        """The legs that can judge a document, with their shares."""
        able = [name for name, scores in self._legs.items() if key not in scores.lacks or key in scores.raw]
        if len(able) == len(self._legs):
            return list(self._shares.items())
        whole = sum(self._shares[name] for name in able if name in self._active)
        raised = sum(self._shares[name] for name in self._active) / whole if whole > 0 else 0.0
        return [(name, self._shares[name] * raised) for name in able]

    def parts(self, key: K) -> dict[str, Part]:
        able = dict(self._able(key))
        parts = {}
        for name, scores in self._legs.items():
            value = self._normalized[name].get(key, self._absent[name]) if name in able else 0.0
            parts[name] = Part(scores.raw.get(key), value, value * able.get(name, 0.0), lacking=name not in able)
        return parts


def _normalize(legs: Mapping[str, Scores[K]], normalizer: Normalizer) -> dict[str, dict[K, float]]:
    if normalizer == "standardise":
        return _standardise(legs)
    functions = {
        "theoretical-min-max": lambda scores: normalize.theoretical_min_max(scores.raw, scores.floor),
        "min-max": lambda scores: normalize.min_max(scores.raw),
        "z-score": lambda scores: normalize.z_score(scores.raw),
        "l2": lambda scores: normalize.l2(scores.raw),
        "rank": lambda scores: normalize.rank(_matched(scores)),
    }
    return {name: functions[normalizer](scores) for name, scores in legs.items()}


def _matched(scores: Scores[K]) -> dict[K, float]:
    """The scores of what a leg found by itself: completed ones have no rank in it."""
    found = scores.found
    return {key: score for key, score in scores.raw.items() if score > scores.floor and key in found}


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
