"""Rates that users set, portions that take seconds, and pauses that grow."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass

_LEAST, _MOST = 16, 512
_SHORT_S, _LONG_S = 1.0, 3.0
_KEPT = 100_000
_SAVED_S = 60.0

Key = tuple[str, str | None]
"""A document's id and routing."""


class Bucket:
    """A token bucket: ``rate`` things a second on average (0: none), ``portion`` at a time, or what a minute allows."""

    def __init__(self, rate: float, portion: int):
        self.rate, self._most = rate, max(rate * _SAVED_S, 1.0)
        self._portion = min(portion, int(self._most))
        self._saved, self._since = 0.0, 0.0

    def allowed(self, now: float) -> int:
        """How many may be done now, by a clock that doesn't go back: a portion at least, or none."""
        since, self._since = self._since or now, now
        self._saved = min(self._most, self._saved + (now - since) * self.rate)
        return int(self._saved) if self._saved >= self._portion else 0

    def spend(self, count: int) -> None:
        """Take note of ``count`` that were done; more than were allowed are paid for by waiting."""
        self._saved -= count

    def wait_s(self) -> float:
        """Seconds until a portion may be done."""
        return max(0.0, (self._portion - self._saved) / self.rate) if self.rate else float("inf")


@dataclass
class Portion:
    """How many documents are read at a time: as many as take a second or a few, between which changes are noticed."""

    size: int = 64

    def took(self, count: int, seconds: float) -> None:
        """Take note of how long ``count`` documents took."""
        if seconds > _LONG_S:
            self.size = max(_LEAST, self.size // 2)
        elif seconds < _SHORT_S and count >= self.size:
            self.size = min(_MOST, self.size * 2)


class Retries:
    """Documents that failed, and when each is tried again: after ``first_s`` seconds, then twice as late each time.

    The longest pause is ``most_s``. Only 100,000 are kept; where there are more, it has ``overflowed``.
    """

    def __init__(self, first_s: float, most_s: float):
        self.first_s, self.most_s, self.overflowed = first_s, most_s, False
        self._planned: dict[Key, tuple[float, float]] = {}
        # Times and keys; what isn't planned for that time any more is left out as it comes up.
        self._queue: list[tuple[float, int, Key]] = []
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._planned)

    def failed(self, key: Key, now: float) -> None:
        """Plan the first attempt at a document, unless one is planned already."""
        if key in self._planned:
            return
        if len(self._planned) >= _KEPT:
            self.overflowed = True
            return
        self._plan(key, now, self.first_s)

    def mended(self, key: Key) -> None:
        """Forget a document that is done, or gone."""
        self._planned.pop(key, None)

    def due(self, now: float, most: int) -> list[Key]:
        """At most so many documents whose turn has come; the next attempt at each is planned at once."""
        found: list[Key] = []
        while self._queue and self._queue[0][0] <= now and len(found) < most:
            at, _, key = heapq.heappop(self._queue)
            pause, planned = self._planned.get(key, (0.0, -1.0))
            if planned == at:
                found.append(key)
                self._plan(key, now, min(pause * 2, self.most_s))
        return found

    def wait_s(self, now: float) -> float:
        """Seconds until one may be due."""
        return max(0.0, self._queue[0][0] - now) if self._queue else float("inf")

    def _plan(self, key: Key, now: float, pause: float) -> None:
        # So that followers that saw a failure together don't try again together.
        at = now + pause * random.uniform(0.8, 1.2)
        self._planned[key] = pause, at
        heapq.heappush(self._queue, (at, next(self._count), key))
