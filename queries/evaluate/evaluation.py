"""Evaluating and tuning an index's search on judged queries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crosslens.errors import NotCalibratedError, QueryError
from crosslens.queries.evaluate.clicks import ClickReport, read_clicks
from crosslens.queries.evaluate.judgements import Judged, read_jsonl, read_trec
from crosslens.queries.evaluate.measures import (
    MEASURES,
    Collected,
    Measured,
    best_single,
    collect,
    measure,
    paired_p,
    ranked,
)
from crosslens.queries.evaluate.measures import evaluate as measure_all
from crosslens.queries.evaluate.tune import Tuned
from crosslens.queries.evaluate.tune import tune as choose
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer
from crosslens.queries.search.searcher import HybridSearcher

FORMER_NORMALIZER: Normalizer = "theoretical-min-max"
_TUNABLE: tuple[Normalizer, ...] = (DEFAULT_NORMALIZER, FORMER_NORMALIZER, "min-max", "rank", "standardise")
_LOG = logging.getLogger("crosslens")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """A search measured on judged queries.

    ``rows`` are each leg alone and, last, the fused search by ``normalizer``; ``best_leg`` is the best of the legs, and
    ``p`` the two-sided probability of a difference from it as large as this by chance. ``compared`` is another default
    for comparison, by the normalizer ``other``, with its own ``p_compared``. ``collected`` are the raw scores.
    """

    normalizer: Normalizer
    rows: list[Measured]
    best_leg: Measured
    p: float
    other: Normalizer
    compared: Measured
    p_compared: float
    collected: list[Collected] = field(repr=False)

    @property
    def fused(self) -> Measured:
        """Return the fused search."""
        return self.rows[-1]


def read_judged(
    path: Path, *, topics: Path | None = None, clicks: bool = False
) -> tuple[list[Judged], ClickReport | None]:
    """Return the judged queries of a file: JSON Lines; TREC qrels with their ``topics``; or, with ``clicks``, a log.

    The report covers the log and is None for judgements. Raises `QueryError` for a missing file, and naming an
    unreadable line.
    """
    if clicks and topics is not None:
        raise QueryError("a log of clicks has no topics", hint="give one of them", parameter="topics")
    for each in (path, topics):
        if each is not None and not each.is_file():
            raise QueryError(f"{each} is not a file" if each.exists() else f"{each} doesn't exist")
    try:
        if clicks:
            judged, report = read_clicks(path)
            return judged, report
        return (read_jsonl(path) if topics is None else read_trec(path, topics)), None
    except UnicodeDecodeError as error:
        raise QueryError(f"{path if topics is None else f'{path} or {topics}'} is not UTF-8 text") from error
    except OSError as error:
        raise QueryError(f"{error.filename or path} can't be read ({error.strerror or error})") from error


def evaluate(
    searcher: HybridSearcher,
    judged: Sequence[Judged],
    *,
    weights: Mapping[str, float] | None = None,
    normalizer: Normalizer | None = None,
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Measure ``searcher`` on judged queries: nDCG@10, recall@10 and reciprocal rank, with 95 % bootstrap intervals.

    ``weights`` and ``normalizer`` default to the index's own. Raises `QueryError` for a query that
    can't be searched for, and `NotCalibratedError` where "standardise" lacks corpus statistics.
    """
    settings = searcher.settings
    used: Normalizer = normalizer or settings.get("normalizer") or DEFAULT_NORMALIZER
    collected = collect(searcher, judged, standardise=used == "standardise", progress=progress)
    # Weights are tuned for one normalizer, and are meaningless with another.
    tuned = settings.get("weights") if used == settings.get("normalizer") else None
    rows = measure_all(collected, weights or tuned or {}, used)
    single, fused = best_single(rows), rows[-1]
    other = FORMER_NORMALIZER if used == DEFAULT_NORMALIZER else DEFAULT_NORMALIZER
    compared = measure(f"untuned: {other}", ranked(collected, {}, other), [each.judged for each in collected])
    key = MEASURES[0]
    return Evaluation(
        used,
        rows,
        single,
        paired_p(fused.values[key], single.values[key]),
        other,
        compared,
        paired_p(fused.values[key], compared.values[key]),
        collected,
    )


def tune(
    searcher: HybridSearcher,
    judged: Sequence[Judged],
    *,
    searching: Progress = lambda *_: None,
    choosing: Progress = lambda *_: None,
) -> tuple[Tuned, list[Collected]]:
    """Choose weights and a normalizer for ``searcher``'s index by cross-validation on at least 20 judged queries.

    Nothing is recorded in the index: `crosslens.Index.tune` does that. "standardise" is left out, with a warning in the
    log, where corpus statistics are missing. Raises `QueryError` for fewer queries.
    """
    normalizers = list(_TUNABLE)
    try:
        collected = collect(searcher, judged, standardise=True, progress=searching)
    except NotCalibratedError as error:
        _LOG.warning("standardise is left out: %s", error)
        normalizers.remove("standardise")
        collected = collect(searcher, judged, standardise=False, progress=searching)
    return choose(collected, normalizers, progress=choosing), collected
