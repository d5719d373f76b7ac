"""Corpus statistics of vectors that come a few at a time, as encoders give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.contract.statistics import CorpusStatistics
from crosslens.ingest.model.transform import Float32Array

# A product of matrices of so many rows costs what its numbers cost, and no longer what the d x d results do.
_ROWS = 1024


class Gathering:
    """Sums of vectors of ``dims`` numbers and of their products, about the mean of the first ones.

    So far from the origin, the difference between mean square and squared mean would lose the digits that float32 has;
    about a point near the mean it doesn't (Chan, Golub, LeVeque 1983, Algorithms for Computing the Sample Variance,
    "shifted data"). Products of a block are summed in float32, blocks in float64.
    """

    def __init__(self, dims: int):
        # No more than wait, since an index pattern may stand for hundreds of indices.
        self._waiting: list[Float32Array] = []
        self._rows = self._count = 0
        self._origin: Float32Array | None = None
        self._sum: NDArray[np.float64] = np.zeros(dims)
        self._products: NDArray[np.float64] = np.zeros((dims, dims))

    def add(self, vectors: Float32Array) -> None:
        """Take in vectors [n, dims], which are made unit first."""
        for start in range(0, len(vectors), _ROWS):
            part = np.array(vectors[start : start + _ROWS], dtype=np.float32)
            self._waiting.append(part)
            self._rows += len(part)
            if self._rows >= _ROWS:
                self._take()

    def statistics(self) -> CorpusStatistics:
        """Return the statistics of all vectors so far."""
        self._take()
        if self._origin is None:
            return CorpusStatistics.none(len(self._sum))
        apart = self._sum / self._count
        return CorpusStatistics(
            self._count, self._origin + apart, self._products / self._count - np.outer(apart, apart)
        )

    def _take(self) -> None:
        """Sum the vectors that wait."""
        if not self._rows:
            return
        rows = np.concatenate(self._waiting)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        if self._origin is None:
            self._origin = rows.mean(axis=0)
        rows -= self._origin
        self._sum += rows.sum(axis=0, dtype=np.float64)
        self._products += rows.T @ rows
        self._count += self._rows
        self._waiting, self._rows = [], 0
