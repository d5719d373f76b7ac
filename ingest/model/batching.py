"""How many inputs one run of a graph takes: as many as are fastest, and no more than there is memory for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ModelError
from crosslens.ingest.model.devices import is_out_of_memory

_LOG = logging.getLogger("crosslens")
Inputs = dict[str, NDArray[Any]]
Runner = Callable[[Inputs], NDArray[Any]]

_SMALLEST = 8
_TRIES = 3
# Of sizes that are about as fast as the fastest, the smallest takes the least memory.
_ABOUT = 1.03
# Memory that was short for a moment may be there again.
_RUNS_UNTIL_MORE = 100


class Batches:
    """Splits inputs into runs of a graph, and remembers what was fast and what there was memory for.

    Sizes are compared by the runs that are needed anyway: with ``measured``, those of 8, 16, 32 and so on up to
    ``most`` take turns until each was timed three times, and the smallest of about the least time an input stays.
    Otherwise as many as are given run at once, up to ``most``. A run that fails for lack of memory is repeated in
    halves, and later ones are no larger until a hundred have gone well. May be used from several threads.
    """

    def __init__(
        self,
        path: Path,
        most: int,
        *,
        least: int = 1,
        measured: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ):
        """``path`` is the graph's, for messages; ``most`` inputs run at once, and never fewer than ``least`` where
        more are given, for graphs that take no fewer."""
        self._path, self._most, self._least, self._clock = path, max(most, least), least, clock
        sizes = [_SMALLEST << i for i in range(16) if _SMALLEST << i <= most] if measured else []
        self._times: dict[int, list[float]] = {size: [] for size in sizes}
        self._fastest: int | None = None
        # Numbers in the first input, since a text's memory grows with its length.
        self._room: int | None = None
        self._went_well = 0
        self._lock = threading.Lock()

    def run(self, run: Runner, inputs: Inputs) -> NDArray[Any]:
        """Return the outputs of all rows of ``inputs``. Raises `ModelError` where the graph can't be run."""
        rows = len(_first(inputs))
        parts: list[NDArray[Any]] = []
        done = 0
        while done < rows or not parts:
            part = {name: values[done : done + self._size(inputs, rows - done)] for name, values in inputs.items()}
            made = self._tried(run, part)
            if made is not None:
                parts.append(made)
                done += len(_first(part))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _tried(self, run: Runner, part: Inputs) -> NDArray[Any] | None:
        """Return the outputs of one run; None where it took more memory than there is, and fewer inputs may succeed."""
        began = self._clock()
        try:
            made = run(part)
        except Exception as error:
            if len(_first(part)) <= self._least or not is_out_of_memory(error):
                raise ModelError(f"{self._path} can't be run ({error})") from error
        else:
            self._note(part, self._clock() - began)
            return made
        # Outside of the handler, which would keep the failed run's memory.
        rows = len(_first(part))
        _LOG.info("%s had too little memory for %d inputs at once, and takes half", self._path, rows)
        with self._lock:
            self._room = _first(part)[: max(rows // 2, self._least)].size
            self._went_well = 0
        return None

    def _size(self, inputs: Inputs, rows: int) -> int:
        """Return how many of the ``rows`` left are run next."""
        with self._lock:
            size = min(rows, self._most)
            if self._fastest is not None:
                size = min(size, self._fastest)
            elif untimed := [each for each, times in self._times.items() if each <= size and len(times) < _TRIES]:
                size = min(untimed, key=lambda each: (len(self._times[each]), -each))
            if self._room is not None:
                size = min(size, self._room // max(_first(inputs)[:1].size, 1))
            return max(size, self._least)

    def _note(self, part: Inputs, took: float) -> None:
        rows = len(_first(part))
        with self._lock:
            self._went_well += 1
            if self._room is not None and self._went_well >= _RUNS_UNTIL_MORE:
                self._room, self._went_well = 2 * self._room, 0
            if self._fastest is not None or rows not in self._times:
                return
            self._times[rows].append(took / rows)
            if all(len(times) >= _TRIES for times in self._times.values()):
                least = {size: min(times) for size, times in self._times.items()}
                self._fastest = min(size for size in least if least[size] <= _ABOUT * min(least.values()))
                _LOG.debug("%s is fastest with %d inputs at once", self._path, self._fastest)


def in_batches(run: Runner, inputs: Inputs, size: int | None) -> NDArray[Any]:
    """Run all rows of ``inputs``, at once or, for a graph of a fixed batch, ``size`` at a time, the last batch filled
    up with its last row."""
    rows = len(_first(inputs))
    if size is None or rows == size:
        return run(inputs)
    parts = []
    for start in range(0, rows, size):
        part = {name: values[start : start + size] for name, values in inputs.items()}
        lacking = size - min(size, rows - start)
        filled = {name: np.concatenate([v, np.repeat(v[-1:], lacking, axis=0)]) for name, v in part.items()}
        parts.append(run(filled)[: size - lacking])
    return np.concatenate(parts)


def _first(inputs: Inputs) -> NDArray[Any]:
    return next(iter(inputs.values()))
