"""Cutting a file into moments: where the content of its pictures changes, or by steps of equal length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.sources.decoding.container import Opened, Source
from crosslens.ingest.sources.decoding.pictures import clocked
from crosslens.ingest.sources.decoding.shapes import Cutting, MediaInfo, Moment

# Pictures are compared this often (s), reduced to as many pixels.
_EVERY_S = 0.125
_WIDTH, _HEIGHT = 64, 36
_LEVELS = 4
# A cut is a change of this much of the histogram (0..1) that is also so many times the median of those around it.
_LEAST, _TIMES, _AROUND = 0.30, 3.0, 12


def moments_of(source: Source, info: MediaInfo, cutting: Cutting) -> list[Moment]:
    """Return the file's moments, as `Cutting` says."""
    total = round(info.seconds * 1000)
    if total <= 0:
        return []
    most = max(1, min(cutting.most, source.limits.moments))
    if not cutting.shots or not info.video:
        return _steps(0, total, max(round(cutting.step_s * 1000), -(-total // most)))
    cuts = _kept(_changes(source), total, cutting, most)
    longest = round(cutting.longest_s * 1000)
    bounds = [0, *cuts, total]
    while True:
        found = [
            moment
            for start, end in itertools.pairwise(bounds)
            for moment in _evenly(start, end, -(-(end - start) // longest))
        ]
        if len(found) <= most:
            return found
        longest = longest * 3 // 2


def _steps(start: int, end: int, step: int) -> list[Moment]:
    """Divide into steps; a rest of less than half a step belongs to the last."""
    starts = list(range(start, end, max(1, step)))
    if len(starts) > 1 and end - starts[-1] < step / 2:
        starts.pop()
    return [Moment(a, b) for a, b in zip(starts, [*starts[1:], end], strict=True)]


def _evenly(start: int, end: int, parts: int) -> list[Moment]:
    bounds = [start + (end - start) * n // parts for n in range(parts + 1)]
    return [Moment(a, b) for a, b in itertools.pairwise(bounds)]


def _kept(changes: list[tuple[int, float]], total: int, cutting: Cutting, most: int) -> list[int]:
    """Return the strongest cuts (ms, ascending) that leave no shot too short and make no more than ``most`` shots."""
    shortest = max(1, round(cutting.shortest_s * 1000))
    kept: list[int] = []
    for at, _ in sorted(changes, key=lambda change: -change[1]):
        if len(kept) + 1 >= most:
            break
        if shortest <= at <= total - shortest and all(abs(at - other) >= shortest for other in kept):
            kept.append(at)
    return sorted(kept)


def _changes(source: Source) -> list[tuple[int, float]]:
    """Return the times (ms) where the content changes, each with how much of the histogram does (0..1)."""
    opened = source.open()
    try:
        opened.only(opened.video)
        times, histograms = [], []
        for time, picture in _samples(opened):
            times.append(time)
            histograms.append(_histogram(picture))
    finally:
        opened.close()
    if len(times) < 2:
        return []
    differences = np.abs(np.diff(np.stack(histograms), axis=0)).sum(axis=1) / 2
    found = []
    for place, difference in enumerate(differences):
        around = differences[max(0, place - _AROUND) : place + _AROUND + 1]
        if difference >= max(_LEAST, _TIMES * float(np.median(around))):
            found.append((round(times[place + 1] * 1000), float(difference)))
    return found


def _samples(opened: Opened) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield small pictures uint8 [h, w, 3] with their times (s), at most one in `_EVERY_S`."""
    due = -1.0
    # Frames that no other refers to needn't be decoded to see a cut.
    for time, frame in clocked(opened, skip="NONREF"):
        if time < due and time > due - 2 * _EVERY_S:
            continue
        due = time + _EVERY_S * 0.99
        yield time, frame.reformat(_WIDTH, _HEIGHT, "rgb24", interpolation="AREA").to_ndarray()


def _histogram(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the shares of 64 colours in each half of a picture, float32 [128], which sum to 1."""
    levels = (picture.astype(np.int64) * _LEVELS) >> 8
    colours = (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]
    halves = [np.bincount(half.ravel(), minlength=_LEVELS**3) for half in np.array_split(colours, 2, axis=0)]
    found: NDArray[np.float32] = (np.concatenate(halves) / colours.size).astype(np.float32)
    return found
