"""Corpus statistics while writing: gathered in blocks, against merging those of each batch in float64."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import reduce

import numpy as np

from crosslens.ingest.contract.gathering import Gathering
from crosslens.ingest.contract.statistics import CorpusStatistics
from crosslens.ingest.model.transform import Float32Array
from tests.bench.common import show

_VECTORS = 20_000
_DIMS = 512
_ROUNDS = 3


def main() -> None:
    """Prints processor seconds for batches of pictures and of texts; the best of three rounds counts for each side."""
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(_VECTORS, _DIMS)) + rng.normal(size=_DIMS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    for what, size in (("pictures, 32", 32), ("texts, 256", 256)):
        batches = [vectors[start : start + size] for start in range(0, _VECTORS, size)]
        ours = min(_seconds(_gathered, batches) for _ in range(_ROUNDS))
        merged = min(_seconds(_merged, batches) for _ in range(_ROUNDS))
        rows.append([f"{what} at a time", f"{ours:.2f} s", f"{merged:.2f} s", f"{ours / merged:.2f}x"])
    title = f"Corpus statistics of {_VECTORS:,} vectors of {_DIMS} dims, processor time"
    show(title, ["", "in blocks", "each batch, merged", "ratio"], rows)


def _gathered(batches: list[Float32Array]) -> CorpusStatistics:
    gathering = Gathering(_DIMS)
    for batch in batches:
        gathering.add(batch)
    return gathering.statistics()


def _merged(batches: list[Float32Array]) -> CorpusStatistics:
    return reduce(CorpusStatistics.merged, map(CorpusStatistics.of, batches))


def _seconds(work: Callable[[list[Float32Array]], object], batches: list[Float32Array]) -> float:
    began = time.process_time()
    work(batches)
    return time.process_time() - began


if __name__ == "__main__":
    main()
