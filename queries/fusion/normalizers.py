"""Normalizers: the raw scores of one leg on a scale that other legs share.

A leg's raw scores are BM25 or cosines, by document. Each function says its formula and source, its range, and what
happens for one hit, equal scores, and negative ones. "evidence" isn't a scale of a single leg: see
`crosslens.queries.fusion.evidence`. `missing` defines the score of a document that the leg didn't score. They depend
only on the window, not on the number of requested results.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Literal, TypeVar, get_args

K = TypeVar("K", bound=Hashable)
Normalizer = Literal["evidence", "theoretical-min-max", "min-max", "z-score", "l2", "rank", "standardise"]
NORMALIZERS: tuple[Normalizer, ...] = get_args(Normalizer)
DEFAULT_NORMALIZER: Normalizer = "evidence"
RANK_CONSTANT = 60


def theoretical_min_max(raw: Mapping[K, float], floor: float) -> dict[K, float]:
    """Min-max scaling from the least possible score instead of the least one seen.

        n(d) = (s(d) - floor) / (max(s) - floor)

    Range 0..1; the best document gets 1. Unlike plain min-max it doesn't push the last document of the window to 0
    and doesn't change when the window grows. BM25 has floor 0, a cosine -1.
    One hit, or equal scores, give 1. Scores that all equal the floor give 0: nothing was found. A score below the floor
    counts as the floor.

    Source: theoretical min-max, Bruch, Gai, Ingber (2023), An Analysis of Fusion Functions for Hybrid Retrieval,
    section 4.2, doi 10.1145/3596512.
    """
    if not raw:
        return {}
    highest = max(raw.values())
    if highest <= floor:
        return dict.fromkeys(raw, 0.0)
    return {key: max(score - floor, 0.0) / (highest - floor) for key, score in raw.items()}


def min_max(raw: Mapping[K, float]) -> dict[K, float]:
    """n(d) = (s(d) - min(s)) / (max(s) - min(s))

    Range 0..1: the best of the window gets 1, the last one 0. One hit, or equal scores, give 1: they matched.
    OpenSearch gives the last one 0.001, so that it differs from documents that weren't found; with score completion
    every document is scored, so ours is 0.

    Source: Lee (1997), Analyses of Multiple Evidence Combination, doi 10.1145/258525.258587.
    """
    if not raw:
        return {}
    lowest, highest = min(raw.values()), max(raw.values())
    if highest == lowest:
        return dict.fromkeys(raw, 1.0)
    return {key: (score - lowest) / (highest - lowest) for key, score in raw.items()}


def z_score(raw: Mapping[K, float]) -> dict[K, float]:
    """n(d) = (s(d) - mean(s)) / deviation(s), with the window's own mean and (population) standard deviation.

    Range unbounded, some of it negative; a mean of 0. One hit, or equal scores, give 0.

    Source: Montague, Aslam (2001), Relevance Score Normalization for Metasearch, doi 10.1145/502585.502657.
    """
    if not raw:
        return {}
    mean = math.fsum(raw.values()) / len(raw)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in raw.values()) / len(raw))
    # Equal scores differ from their mean by rounding alone.
    if deviation <= 1e-12 * max(abs(mean), 1e-300):
        return dict.fromkeys(raw, 0.0)
    return {key: (score - mean) / deviation for key, score in raw.items()}


def l2(raw: Mapping[K, float]) -> dict[K, float]:
    """n(d) = s(d) / sqrt(sum of s^2)

    Range 0..1; one hit gives 1, n equal ones 1/sqrt(n) each. A negative cosine counts as 0. All 0 give 0.

    Source: OpenSearch's documentation, normalization processor, technique l2.
    """
    positive = {key: max(score, 0.0) for key, score in raw.items()}
    # Scaled first, so that squares of very small or large scores don't vanish or overflow.
    highest = max(positive.values(), default=0.0)
    if highest == 0.0:
        return dict.fromkeys(raw, 0.0)
    norm = math.sqrt(math.fsum((score / highest) ** 2 for score in positive.values()))
    return {key: score / highest / norm for key, score in positive.items()}


def rank(raw: Mapping[K, float], constant: int = RANK_CONSTANT) -> dict[K, float]:
    """n(d) = (constant + 1) / (constant + rank(d)), ranks from 1

    Range above 0 to 1: the best document gets 1. Summed, it is reciprocal rank fusion times ``constant`` + 1, which
    changes no ranking. Equal scores have equal ranks, that of the first of them. ``raw`` are the scores of what the leg
    found by itself: a document that it didn't match has no rank, and gets 0.

    Source: Cormack, Clarke, Buettcher (2009), Reciprocal Rank Fusion, doi 10.1145/1571941.1572114.
    """
    ranks: dict[float, int] = {}
    for place, score in enumerate(sorted(raw.values(), reverse=True), 1):
        ranks.setdefault(score, place)
    return {key: (constant + 1) / (constant + ranks[score]) for key, score in raw.items()}


def standardise(raw: Mapping[K, float], mean: float, deviation: float) -> dict[K, float]:
    """z(d) = (s(d) - mean) / deviation, with mean and deviation of the query's score over the whole corpus

    of the leg's field, not the window's. For a cosine these are exactly q.m and sqrt(q' C q), with m and C the mean
    and covariance of the field's vectors. Texts and images then compare though their cosines lie far apart (the
    modality gap, Liang et al. 2022, arXiv 2203.02053). Range unbounded; an average document gets 0. A
    deviation of 0 gives 0.
    """
    if deviation <= 0.0:
        return dict.fromkeys(raw, 0.0)
    return {key: (score - mean) / deviation for key, score in raw.items()}


def missing(normalized: Mapping[K, float], normalizer: Normalizer) -> float:
    """Return a document's value from a leg that didn't score it: 0, or under z-score the leg's least."""
    return min(0.0, min(normalized.values(), default=0.0)) if normalizer == "z-score" else 0.0
