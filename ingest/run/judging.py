"""Thresholds set by examples, and precision and recall on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosslens.ingest.contract.examples import (
    LEAST,
    Counts,
    Example,
    best_threshold,
    check_examples,
    counted,
    cross_validated,
)
from crosslens.ingest.contract.label_set import LabelSet
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.run.interval import interval
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.run import Run

_IDS = 1_000
Range = tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """How a label does on its ``examples``, of which so many say ``yes``.

    ``learned`` says whether its threshold was set by them (by five of each answer or more); precision and recall are
    then cross-validated, so that no example is judged by a threshold it helped to set. ``precision`` (None where
    nothing is given) and ``recall`` come with 95 % intervals. ``missing`` examples have no document with a vector.
    """

    label: str
    examples: int
    yes: int
    learned: bool
    precision: float | None
    precision_range: Range
    recall: float | None
    recall_range: Range
    missing: int = 0


def judged(
    run: Run, holders: Mapping[str, VectorField], labels: LabelSet, examples: Sequence[Example], *, keep: bool = False
) -> tuple[LabelSet, list[Verdict]]:
    """The label set with thresholds that examples set, where there are enough of them, and what they say of each label.

    ``holders`` are the vector field of each index; thresholds that an earlier run set by the same examples are kept
    (``keep``). Raises `LabelError` for an example of another label.
    """
    places = {label.name: i for i, label in enumerate(labels.labels)}
    check_examples(examples, places)
    scores = _scores(run, holders, labels, examples)
    thresholds, verdicts = labels.thresholds.copy(), []
    by_label: dict[str, list[Example]] = {}
    for each in examples:
        by_label.setdefault(each.label, []).append(each)
    for name, own in by_label.items():
        there = [each for each in own if each in scores]
        reached, yes = [scores[each] for each in there], [each.yes for each in there]
        learned = min(sum(yes), len(yes) - sum(yes)) >= LEAST
        if learned and not keep:
            thresholds[places[name]] = best_threshold(reached, yes)
        counts = cross_validated(reached, yes) if learned else counted(reached, yes, thresholds[places[name]])
        verdicts.append(_verdict(name, counts, len(own), learned, len(own) - len(there)))
    return replace(labels, thresholds=thresholds), verdicts


def _verdict(label: str, counts: Counts, examples: int, learned: bool, missing: int) -> Verdict:
    def share(of: int) -> float | None:
        return counts.right / of if of else None

    precision, recall = share(counts.given), share(counts.deserve)
    return Verdict(
        label,
        examples,
        counts.deserve,
        learned,
        precision,
        interval(precision or 0.0, counts.given),
        recall,
        interval(recall or 0.0, counts.deserve),
        missing,
    )


def _scores(
    run: Run, holders: Mapping[str, VectorField], labels: LabelSet, examples: Sequence[Example]
) -> dict[Example, float]:
    """What each example's document scores for its label; those without a vector are left out."""
    places = {label.name: i for i, label in enumerate(labels.labels)}
    asked: dict[str, list[Example]] = {}
    for example in examples:
        asked.setdefault(example.document, []).append(example)
    ids, found = list(asked), dict[Example, float]()
    for index, each in holders.items():
        reader = Reader(run.client, index, [each.path], vectors=True)
        for start in range(0, len(ids), _IDS):
            for page in prefetched(reader.pages({"ids": {"values": ids[start : start + _IDS]}})):
                vectors = {document.id: vectors_of(document.source, each) for document in page}
                some = {id: np.asarray(rows, dtype=np.float32) for id, rows in vectors.items() if rows}
                best = labels.best(list(some.values())) if some else ()
                for id, scores in zip(some, best, strict=True):
                    found |= {example: float(scores[places[example.label]]) for example in asked[id]}
    return found
