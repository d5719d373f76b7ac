"""Choosing weights and normaliser by cross-validation on judged queries, and saying when one leg alone is as good."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.queries.evaluate import MEASURES, Collected, Measured, interval, measure, paired_p, ranked
from crosslens.queries.fusion import fuse
from crosslens.queries.normalise import Normaliser

LEAST_QUERIES = 20
_FOLDS = 5
_REPEATS = 4
_STEPS = {1: 1, 2: 20, 3: 10, 4: 6, 5: 4}
_SIGNIFICANT = 0.05
_KEY = MEASURES[0]


@dataclass(frozen=True)
class Choice:
    """Weights that sum to 1, by leg, and a normaliser."""

    weights: tuple[tuple[str, float], ...]
    normaliser: Normaliser

    @property
    def single(self) -> str | None:
        """The only leg that has a weight, if there is one."""
        used = [name for name, weight in self.weights if weight > 0]
        return used[0] if len(used) == 1 else None


@dataclass(frozen=True)
class Tuned:
    """The choice on all queries; ``expected`` is what choosing so is worth on queries it wasn't chosen by.

    ``single`` is the best leg alone, chosen in the same way; ``p`` of the difference. ``worthwhile`` says whether
    fusing beats it.
    """

    choice: Choice
    expected: Measured
    single_leg: str
    single: Measured
    p: float

    @property
    def worthwhile(self) -> bool:
        """Whether the fused search is better than the best leg alone, beyond chance."""
        return self.expected.mean(_KEY) > self.single.mean(_KEY) and self.p < _SIGNIFICANT


def choices(legs: Sequence[str], normalisers: Sequence[Normaliser]) -> Iterator[Choice]:
    """Every combination of weights on a grid, single legs among them; of a single leg the normaliser is no matter."""
    steps = _STEPS.get(len(legs), 3)
    for parts in itertools.product(range(steps + 1), repeat=len(legs)):
        if sum(parts) != steps:
            continue
        weights = tuple((name, part / steps) for name, part in zip(legs, parts, strict=True))
        for normaliser in normalisers:
            choice = Choice(weights, normaliser)
            if choice.single is None or normaliser == normalisers[0]:
                yield choice


def tune(
    collected: Sequence[Collected],
    normalisers: Sequence[Normaliser],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Tuned:
    """The best choice by mean nDCG@10, valued by repeated five-fold cross-validation.

    In each fold the choice is made on the other four fifths; every query's value is the mean of those it had as an
    unseen one. Equal choices: the one nearest to equal weights. Raises `QueryError` for fewer than 20 queries.
    """
    if len(collected) < LEAST_QUERIES:
        raise QueryError(f"{len(collected)} judged queries are too few to choose by; {LEAST_QUERIES} are the least")
    judged = [each.judged for each in collected]
    legs = list(dict.fromkeys(name for each in collected for name in each.legs))
    candidates = list(choices(legs, normalisers))
    # The plainest first, so that among equal ones it is taken.
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
    expected = measure("tuned", ranked(collected, dict(candidates[best].weights), candidates[best].normaliser), judged)
    single = measure("best leg", ranked(collected, dict(candidates[best_alone].weights)), judged)
    return Tuned(
        candidates[best],
        _unseen(expected, unseen),
        str(candidates[best_alone].single),
        _unseen(single, unseen_single),
        paired_p(unseen, unseen_single, seed=seed),
    )


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
    for normaliser in dict.fromkeys(choice.normaliser for choice in candidates):
        rows = [i for i, choice in enumerate(candidates) if choice.normaliser == normaliser]
        fused = fuse(each.legs, {}, normaliser=normaliser)
        # Equal scores: by document id, the later first, as trec_eval orders them.
        ordered = sorted(fused.items(), key=lambda item: item[0][1], reverse=True)
        if not ordered:
            continue
        parts = np.array([[part.normalised for part in found.values()] for _, (_, found) in ordered])
        weights = np.array([[dict(candidates[i].weights).get(name, 0.0) for name in each.legs] for i in rows])
        gains = np.array([grades.get(id, 0) for (_, id), _ in ordered], dtype=np.float64)
        # Rounded, so that sums that differ in their last bit alone count as equal.
        scores = np.round(parts @ weights.T, 12)
        top = np.argsort(-scores, axis=0, kind="stable")[:10]
        gained = (gains[top] * discounts[: len(top), None]).sum(axis=0)
        values[rows] = np.where(weights.sum(axis=1) > 0, gained / best, 0.0)
    return values
