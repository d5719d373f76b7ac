"""Doing a thing again until there is nothing left to do, while others go on writing to the same index."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from crosslens import stopping
from crosslens.ingest.run.reading import Reader


class End(Enum):
    """How rounds ended: nothing was left (``QUIET``), little was (``SHORT``), or there was still something."""

    QUIET = "quiet"
    SHORT = "short"
    CHANGING = "changing"


def repeat(
    once: Callable[[], bool], most: int, *, short_s: float = 0.0, clock: Callable[[], float] = time.monotonic
) -> End:
    """Calls ``once`` until it says that it found nothing to do, or took less than ``short_s`` seconds.

    Each round takes up what came in during the one before, so rounds get shorter unless others write faster than they
    are followed: after ``most`` rounds the end is `End.CHANGING`, and what that means is the caller's to say.
    """
    for _ in range(most):
        stopping.check()
        started = clock()
        if not once():
            return End.QUIET
        if clock() - started < short_s:
            return End.SHORT
    return End.CHANGING


class Changes:
    """What is written to an index while a run reads it, by the shards' sequence numbers.

    Make it before the refresh that precedes the first read: what that read doesn't see yet then counts as a change.
    """

    def __init__(self, reader: Reader):
        self._reader, self._marks = reader, reader.marks()

    def untouched(self) -> dict[str, Any]:
        """Every document not written since the last look, and some that were."""
        return self._marks.untouched_since()

    def look(self, *, own: int = 0, unfinished: bool = False) -> dict[str, Any] | None:
        """The query for what was written since the last look, visible to searches from now on.

        None where nothing was written but the run's ``own`` operations, unless something is ``unfinished`` anyway.
        """
        before, self._marks = self._marks, self._reader.marks()
        if self._marks.advanced_by(before) == own and not unfinished:
            return None
        self._reader.refresh()
        return before.changed_since()
