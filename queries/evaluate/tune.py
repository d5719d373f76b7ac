"""Choosing weights and normalizer by cross-validation on judged queries, and saying when one leg alone is as good."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.evaluate.measures import MEASURES, Collected, Measured, interval, measure, paired_p, ranked
from crosslens.queries.fusion.evidence import default_weights, evidences
from crosslens.queries.fusion.fuse import Scores, fuse
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer

LEAST_QUERIES = 20
_FOLDS = 5
_REPEATS = 4
_STEPS = {1: 1, 2: 20, 3: 10, 4: 6, 5: 4}
_SIGNIFICANT = 0.05
_KEY = MEASURES[0]


@dataclass(frozen=True)
class Choice:
    """A normalizer, and weights by leg that sum to 1."""

    weights: tuple[tuple[str, float], ...]
    normalizer: Normalizer

    @property
    def single(self) -> str | None:
        """The only leg that has a weight, if there is one."""
        used = [name for name, weight in self.weights if weight > 0]
        return used[0] if len(used) == 1 else None


@dataclass(frozen=True)
class Tuned:
    """The best choice on all queries; ``expected`` is what such a choice is worth on queries that it hasn't seen.

    ``single`` is the best leg alone, chosen the same way, and ``p`` belongs to the difference; ``worthwhile`` says
    whether fusing beats it. ``untuned`` is the default search, and ``former`` the default until release 0.3
    (theoretical-min-max, equal weights); ``p_untuned`` belongs to the difference to ``untuned``.
    """

    choice: Choice
    expected: Measured
    single_leg: str
    single: Measured
    p: float
    untuned: Measured
    former: Measured
    p_untuned: float

    @property
    def settings(self) -> dict[str, Any]:
        """The choice as an index records it."""
        return {"weights": dict(self.choice.weights), "normalizer": self.choice.normalizer}

    @property
    def better_than_untuned(self) -> bool:
        """Whether the choice is better than the default search, beyond chance."""
        return self.expected.mean(_KEY) > self.untuned.mean(_KEY) and self.p_untuned < _SIGNIFICANT

    @property
    def worthwhile(self) -> bool:
        """Whether the fused search is better than the best leg alone, beyond chance."""
        return self.expected.mean(_KEY) > self.single.mean(_KEY) and self.p < _SIGNIFICANT


def choices(legs: Sequence[str], normalizers: Sequence[Normalizer]) -> Iterator[Choice]:
    """Every combination of weights on a grid, single legs among them (for which the normalizer is irrelevant)."""
    steps = _STEPS.get(len(legs), 3)
    for parts in itertools.product(range(steps + 1), repeat=len(legs)):
        if sum(parts) != steps:
            continue
        weights = tuple((name, part / steps) for name, part in zip(legs, parts, strict=True))
        for normalizer in normalizers:
            choice = Choice(weights, normalizer)
            if choice.single is None or normalizer == normalizers[0]:
                yield choice


def tune(
    collected: Sequence[Collected],
    normalizers: Sequence[Normalizer],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Tuned:
    """The best choice by mean nDCG@10, valued by repeated five-fold cross-validation.

    In each fold the choice is made on the other four fifths; a query's value is the mean of its values in the folds
    that left it out. Ties go to the choice nearest to equal weights. Raises `QueryError` for fewer than 20 queries.
    """
    if len(collected) < LEAST_QUERIES:
        raise QueryError(f"{len(collected)} judged queries are too few to choose by; {LEAST_QUERIES} are the least")
    judged = [each.judged for each in collected]
    legs = list(dict.fromkeys(name for each in collected for name in each.legs))
    candidates = list(choices(legs, normalizers))
    if DEFAULT_NORMALIZER in normalizers:
        candidates.append(_default(collected, legs))
    # The plainest first, so that it wins ties.
    candidates.sort(key=lambda c: sum((weight - 1 / len(legs)) ** 2 for _, weight in c.weights))
    values = np.empty((len(candidates), len(collected)))
    for column, each in enumerate(collected):
        values[:, column] = ndcg_of_choices(each, candidates)
        progress(column + 1, len(collected))
    alone = [i for i, choice in enumerate(candidates) if choice.single is not None]
    unseen, unseen_single = (
        _cross_validated(values, range(len(candidates)), seed),
        _cross_validated(values, alone, seed),
    )
    best = int(np.argmax(values.mean(axis=1)))
    best_alone = max(alone, key=lambda i: values[i].mean())
    expected = measure("tuned", ranked(collected, dict(candidates[best].weights), candidates[best].normalizer), judged)
    single = measure("best leg", ranked(collected, dict(candidates[best_alone].weights)), judged)
    untuned = measure("untuned", ranked(collected, {}), judged)
    return Tuned(
        candidates[best],
        _unseen(expected, unseen),
        str(candidates[best_alone].single),
        _unseen(single, unseen_single),
        paired_p(unseen, unseen_single, seed=seed),
        untuned,
        measure("former default", ranked(collected, {}, "theoretical-min-max"), judged),
        paired_p(unseen, untuned.values[_KEY], seed=seed),
    )


def _default(collected: Sequence[Collected], legs: Sequence[str]) -> Choice:
    """The default search as a choice: legs of one source share a weight."""
    known: dict[str, Scores[DocumentKey]] = {name: scores for each in collected for name, scores in each.legs.items()}
    weights = default_weights(known)
    whole = sum(weights.values())
    return Choice(tuple((name, weights[name] / whole) for name in legs), DEFAULT_NORMALIZER)


def _unseen(row: Measured, values: NDArray[np.float64]) -> Measured:
    return Measured(row.name, {**row.values, _KEY: values}, {**row.intervals, _KEY: interval(values)})


def _cross_validated(values: NDArray[np.float64], allowed: Sequence[int] | range, seed: int) -> NDArray[np.float64]:
    """Each query's value under the choice made without it."""
    rng = np.random.default_rng(seed)
    rows = np.array(list(allowed))
    total = np.zeros(values.shape[1])
    for _ in range(_REPEATS):
        folds = rng.permutation(values.shape[1]) % _FOLDS
        for fold in range(_FOLDS):
            chosen = rows[int(np.argmax(values[rows][:, folds != fold].mean(axis=1)))]
            total[folds == fold] += values[chosen, folds == fold]
    return total / _REPEATS


def ndcg_of_choices(each: Collected, candidates: Sequence[Choice]) -> NDArray[np.float64]:
    """nDCG@10 of one query under every choice, with gain = grade: as ir-measures' (trec_eval's), but hundreds at once.

    Source: Jaervelin, Kekaelaeinen (2002), doi 10.1145/582415.582418.
    """
    grades = {doc: max(1, round(grade)) for doc, grade in each.judged.relevant.items()}
    discounts = 1 / np.log2(np.arange(2, 12))
    ideal = sorted(grades.values(), reverse=True)[:10]
    best = sum(grade * discount for grade, discount in zip(ideal, discounts, strict=False))
    values = np.zeros(len(candidates))
    for normalizer in dict.fromkeys(choice.normalizer for choice in candidates):
        rows = [i for i, choice in enumerate(candidates) if choice.normalizer == normalizer]
        weights = np.array([[dict(candidates[i].weights).get(name, 0.0) for name in each.legs] for i in rows])
        keys, totals = _totals(each, weights, normalizer)
        if not keys:
            continue
        # Equal scores: by document id, the later first, as trec_eval orders them.
        order = sorted(range(len(keys)), key=lambda i: keys[i][1], reverse=True)
        gains = np.array([grades.get(keys[i][1], 0) for i in order], dtype=np.float64)
        top = np.argsort(-totals[order], axis=0, kind="stable")[:10]
        gained = (gains[top] * discounts[: len(top), None]).sum(axis=0)
        values[rows] = np.where(weights.sum(axis=1) > 0, gained / best, 0.0)
    return values


def _totals(
    each: Collected, weights: NDArray[np.float64], normalizer: Normalizer
) -> tuple[list[DocumentKey], NDArray[np.float64]]:
    """What documents (rows) are ranked by under each choice of weights (columns), before it is put between 0 and 1."""
    if normalizer == "evidence":
        return evidences(each.legs, weights)
    fused = fuse(each.legs, {}, normalizer=normalizer)
    shape = (len(fused), len(each.legs))
    parts = np.array([[part.normalized for part in found.values()] for _, found in fused.values()]).reshape(shape)
    able = np.array([[not part.lacking for part in found.values()] for _, found in fused.values()]).reshape(shape)
    # As `fuse` shares out weights: among the legs that found anything.
    able &= np.array([any(raw > leg.floor for raw in leg.raw.values()) for leg in each.legs.values()], dtype=bool)
    share = able.astype(np.float64) @ weights.T
    totals: NDArray[np.float64] = np.divide(parts @ weights.T, share, out=np.zeros_like(share), where=share > 0)
    # Rounded, so that sums that differ in their last bit alone count as equal.
    return list(fused), np.round(totals, 12)
