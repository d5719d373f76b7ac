"""The numbers by which labels are given: each label's vector, what its cosine is by chance, and how far to stand out.

The rule, for a document with unit vectors x1..xm in the field (one, or one for each value) and a label with the vector
t, centre c, spread s and threshold h, all sums in float64:

    score = max_i (t . xi - c) / s          the label is given where score >= h

Its parents are given with it, with the greatest score of their children that are given, or their own. A boolean is
whether the score of its only label reaches h. Of captions, the one with the greatest score is given, if that reaches h.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.contract.labels import Label, ancestors
from crosslens.ingest.model.transform import Float32Array

Kind = Literal["keyword", "boolean", "caption"]
Doubles = NDArray[np.float64]
Found = list[tuple[str, float]]
"""What a document is given, with scores: labels in their order, a boolean as "true" or "false", captions best first."""
# What a matrix of scores may take: 32 MB.
_CELLS = 1 << 22
_PART = 1_000
# Of normal deviates, 1.4826 times their median absolute deviation is the standard deviation: Hampel (1974), The
# Influence Curve and Its Role in Robust Estimation, doi 10.1080/01621459.1974.10482962.
_MAD = 1 / NormalDist().inv_cdf(0.75)


@dataclass(frozen=True)
class Noise:
    """What cosines with n labels are by chance: each one's ``centre`` and ``spread`` among ``measured`` vectors."""

    centre: Doubles
    spread: Doubles
    measured: int


@dataclass(frozen=True)
class LabelSet:
    """n labels, or captions, that documents are given by the vectors in ``field``; ``vectors`` is [n, dims].

    ``definition`` identifies what was asked for, ``fingerprint`` also the numbers that came of it.
    """

    field: str
    kind: Kind
    labels: tuple[Label, ...]
    vectors: Float32Array
    noise: Noise
    thresholds: Doubles
    false_alarms: float
    definition: str

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: documents that record them were given these labels, by these numbers."""
        numbers = (self.noise.centre, self.noise.spread, self.thresholds)
        parts = [self.definition.encode(), *(np.asarray(each, dtype="<f8").tobytes() for each in numbers)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

    @cached_property
    def _transposed(self) -> Doubles:
        return np.ascontiguousarray(self.vectors.T, dtype=np.float64)

    @cached_property
    def _above(self) -> dict[str, list[str]]:
        return ancestors(self.labels)

    def scores(self, vectors: Float32Array) -> Doubles:
        """Standardised cosines [m, n] of vectors [m, dims], which are made unit."""
        rows = np.asarray(vectors, dtype=np.float64)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray((rows @ self._transposed - self.noise.centre) / self.noise.spread)

    def best(self, documents: Sequence[Float32Array]) -> Doubles:
        """The greatest score of any of each document's vectors, [documents, n]; each has at least one."""
        best = np.full((len(documents), len(self.labels)), -math.inf)
        of = np.repeat(np.arange(len(documents)), [len(each) for each in documents])
        rows = np.concatenate(documents)
        step = max(1, _CELLS // len(self.labels))
        for start in range(0, len(rows), step):
            scores, here = self.scores(rows[start : start + step]), of[start : start + step]
            first = np.flatnonzero(np.diff(here, prepend=-1))
            best[here[first]] = np.maximum(best[here[first]], np.maximum.reduceat(scores, first, axis=0))
        return best

    def found(self, documents: Sequence[Float32Array], *, most: int = 1) -> Iterator[Found]:
        """What each document, given by its vectors, gets; of captions up to ``most``, best first."""
        step = max(1, _CELLS // len(self.labels))
        for start in range(0, len(documents), step):
            for scores in self.best(documents[start : start + step]):
                yield self._decided(scores, most)

    def _decided(self, scores: Doubles, most: int) -> Found:
        if self.kind == "caption":
            return self._nearest(scores, most)
        if self.kind == "boolean":
            return [("true" if scores[0] >= self.thresholds[0] else "false", float(scores[0]))]
        return self._given(scores)

    def _nearest(self, scores: Doubles, most: int) -> Found:
        few = np.argpartition(-scores, min(most, len(scores)) - 1)[:most]
        order = few[np.argsort(-scores[few], kind="stable")]
        return [(self.labels[i].name, float(scores[i])) for i in order if scores[i] >= self.thresholds[i]]

    def _given(self, scores: Doubles) -> Found:
        given: dict[str, float] = {}
        for i in np.flatnonzero(scores >= self.thresholds):
            name, score = self.labels[i].name, float(scores[i])
            for each in (name, *self._above[name]):
                given[each] = max(score, given.get(each, -math.inf))
        return list(given.items())

    def as_sources(self) -> list[dict[str, Any]]:
        """What is stored, in parts of 1,000 labels: float64 for the numbers, float32 for vectors, little-endian base64.

        Captions can be many and are the user's own: of them only the numbers are stored.
        """
        parts = math.ceil(len(self.labels) / _PART)
        shared = {
            "field": self.field,
            "kind": self.kind,
            "false_alarms": self.false_alarms,
            "definition": self.definition,
            "fingerprint": self.fingerprint,
            "measured": self.noise.measured,
            "parts": parts,
        }
        return [{**shared, "part": part, **self._part(part)} for part in range(parts)]

    def _part(self, part: int) -> dict[str, Any]:
        here = slice(part * _PART, (part + 1) * _PART)
        numbers = {
            "centre": _packed(self.noise.centre[here], "<f8"),
            "spread": _packed(self.noise.spread[here], "<f8"),
            "thresholds": _packed(self.thresholds[here], "<f8"),
        }
        if self.kind == "caption":
            return numbers
        named = {
            "labels": [label.name for label in self.labels[here]],
            "parents": [label.parent for label in self.labels[here]],
        }
        return {**named, "vectors": _packed(self.vectors[here], "<f4"), **numbers}


def stored_numbers(sources: Sequence[Mapping[str, Any]], definition: str) -> tuple[Noise, Doubles] | None:
    """The noise and thresholds that `LabelSet.as_sources` stored for a definition; None unless every part is there."""
    parts = {source["part"]: source for source in sources if source.get("definition") == definition}
    if not parts or sorted(parts) != list(range(next(iter(parts.values()))["parts"])):
        return None
    if len({source["fingerprint"] for source in parts.values()}) > 1:
        return None
    centre, spread, thresholds = (
        np.concatenate([_unpacked(parts[i][name]) for i in range(len(parts))])
        for name in ("centre", "spread", "thresholds")
    )
    return Noise(centre, spread, int(parts[0]["measured"])), thresholds


def noise_of(labels: Float32Array, sample: Float32Array) -> Noise:
    """The noise of each of ``labels`` [n, dims] among ``sample`` [m, dims], both unit: the median of the cosines, and
    1.4826 times their median absolute deviation.

    Mean and deviation would count the vectors that the label is true of as noise, and ask of them to stand out of
    themselves; the median hardly moves while few documents deserve the label. That the middle of the scores shows the
    null distribution is from Efron (2004), Large-Scale Simultaneous Hypothesis Testing: The Choice of a Null
    Hypothesis, doi 10.1198/016214504000000089.
    """
    rows = np.asarray(sample, dtype=np.float64)
    centre, spread = np.empty(len(labels)), np.empty(len(labels))
    step = max(1, _CELLS // len(rows))
    for start in range(0, len(labels), step):
        cosines = rows @ np.asarray(labels[start : start + step], dtype=np.float64).T
        here = slice(start, start + step)
        centre[here] = np.median(cosines, axis=0)
        spread[here] = _MAD * np.median(np.abs(cosines - centre[here]), axis=0)
    # Where most vectors are the same one, nothing but another stands out.
    return Noise(centre, np.maximum(spread, 1e-6), len(rows))


def threshold(false_alarms: float, chances: int = 1) -> float:
    """The standardised score that chance reaches with the probability ``false_alarms`` (0 to 1) in any of so many
    ``chances``: the normal quantile of (1 - false_alarms)^(1/chances)."""
    # log1p and expm1 keep the digits that a root close to 1 would lose.
    return -NormalDist().inv_cdf(-math.expm1(math.log1p(-false_alarms) / chances))


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()


def _unpacked(text: str) -> Doubles:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)
