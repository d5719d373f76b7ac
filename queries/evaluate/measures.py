"""The quality of a search on judged queries: each leg alone and fused, with intervals and a paired test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.evaluate.judgements import Judged, as_qrels
from crosslens.queries.fusion.fuse import Mean, Scores, fuse
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer
from crosslens.queries.search.searcher import HybridSearcher

MEASURES = ("nDCG@10", "R@10", "RR")
_RESAMPLES = 9_999
_CONFIDENCE = 0.95
Ranking = dict[str, dict[str, float]]
PerQuery = NDArray[np.float64]


@dataclass(frozen=True)
class Collected:
    """The raw scores of every leg for a judged query, completed over the window: the input of any fusion."""

    judged: Judged
    legs: dict[str, Scores[DocumentKey]]


@dataclass(frozen=True)
class Measured:
    """One way to rank: ``values`` of each measure by query, and their mean's bootstrap interval."""

    name: str
    values: dict[str, PerQuery]
    intervals: dict[str, tuple[float, float]]

    def mean(self, measure: str) -> float:
        """Return the mean over the queries."""
        return float(self.values[measure].mean())


def collect(
    searcher: HybridSearcher,
    judged: Sequence[Judged],
    *,
    standardise: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Collected]:
    """Search for every judged query once; ``standardise`` also collects that normalizer's inputs.

    Raises `QueryError` as `HybridSearcher.search` does.
    """
    collected = []
    for done, query in enumerate(judged, 1):
        collected.append(Collected(query, searcher.scores(query.text, image=query.image, standardise=standardise)))
        progress(done, len(judged))
    return collected


def ranked(
    collected: Sequence[Collected],
    weights: Mapping[str, float],
    normalizer: Normalizer = DEFAULT_NORMALIZER,
    mean: Mean = "arithmetic",
    *,
    legs: Sequence[str] | None = None,
) -> Ranking:
    """Return the fused score of every document by query; ``legs`` None means all."""
    rankings: Ranking = {}
    for each in collected:
        chosen = {name: scores for name, scores in each.legs.items() if legs is None or name in legs}
        given = {name: weight for name, weight in weights.items() if name in chosen}
        if not chosen or (given and not any(given.get(name, 1.0) for name in chosen)):
            rankings[each.judged.id] = {}
            continue
        fused = fuse(chosen, given, normalizer=normalizer, mean=mean)
        rankings[each.judged.id] = {id: total for (_, id), (total, _) in fused.items()}
    return rankings


def measure(name: str, ranking: Ranking, judged: Sequence[Judged], *, seed: int = 0) -> Measured:
    """Return a ranking's nDCG@10, recall@10 and reciprocal rank, by ir-measures, with 95 % bootstrap intervals.

    A query for which nothing was found counts as 0. Raises `QueryError` without the extra "evaluate".
    """
    try:
        import ir_measures
    except ImportError as error:
        raise QueryError("evaluation needs ir-measures: pip install 'crosslens[evaluate]'") from error
    parsed = {text: ir_measures.parse_measure(text) for text in MEASURES}
    values = {text: dict.fromkeys((query.id for query in judged), 0.0) for text in MEASURES}
    by_name = {str(value): text for text, value in parsed.items()}
    for metric in ir_measures.iter_calc(
        list(parsed.values()), as_qrels(judged), {k: v for k, v in ranking.items() if v}
    ):
        values[by_name[str(metric.measure)]][metric.query_id] = float(metric.value)
    arrays = {text: np.array([found[query.id] for query in judged]) for text, found in values.items()}
    return Measured(name, arrays, {text: interval(array, seed=seed) for text, array in arrays.items()})


def interval(values: PerQuery, *, seed: int = 0) -> tuple[float, float]:
    """Return the mean's 95 % percentile bootstrap interval over queries (Efron, Tibshirani 1993, chapter 13)."""
    rng = np.random.default_rng(seed)
    means = np.array([rng.choice(values, len(values)).mean() for _ in range(_RESAMPLES)])
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(low), float(high)


def paired_p(first: PerQuery, second: PerQuery, *, seed: int = 0) -> float:
    """Return the two-sided p of paired differences by random sign flips (Fisher's randomisation test).

    Source: Smucker, Allan, Carterette (2007), doi 10.1145/1321440.1321528.
    """
    differences = first - second
    if not differences.any():
        return 1.0
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(_RESAMPLES, len(differences)))
    reached = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12
    return float((reached.sum() + 1) / (_RESAMPLES + 1))


def evaluate(
    collected: Sequence[Collected],
    weights: Mapping[str, float] | None = None,
    normalizer: Normalizer = DEFAULT_NORMALIZER,
    mean: Mean = "arithmetic",
) -> list[Measured]:
    """Measure each leg alone, then all of them fused."""
    judged = [each.judged for each in collected]
    names = list(dict.fromkeys(name for each in collected for name in each.legs))
    rows = [measure(name, ranked(collected, {}, legs=[name]), judged) for name in names]
    return [*rows, measure("fused", ranked(collected, weights or {}, normalizer, mean), judged)]


def best_single(rows: Sequence[Measured], key: str = MEASURES[0]) -> Measured:
    """Return the best single leg among the rows of `evaluate`."""
    return max((row for row in rows if row.name != "fused"), key=lambda row: row.mean(key))


def as_json(rows: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return means and intervals, for JSON."""
    return [
        {"name": row.name, **{key: {"mean": row.mean(key), "interval": row.intervals[key]} for key in row.values}}
        for row in rows
    ]
