"""What is still to be read of an index's shards: ranges of sequence numbers, each read upwards from a place of its own.

A document that is written gets a new number at the end. So whatever changes while a range is read leaves it, and shows
up in a later one: there is no snapshot to hold, and none to lose with a node.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Segment:
    """The numbers above ``after`` up to ``until`` in a shard; ``as_of`` is when the look before was, by its clock."""

    shard: int
    after: int
    until: int
    as_of: float = 0.0

    @property
    def length(self) -> int:
        """How many operations it holds at most."""
        return self.until - self.after


@dataclass
class Segments:
    """Segments to read, of documents that meet ``query`` (None: all).

    Each begins at a random place and ends where it began, and so do those of other followers of the index: they meet
    late, and then find done what the other has done.
    """

    query: dict[str, Any] | None = None
    waiting: deque[Segment] = field(default_factory=deque)

    def add(self, shard: int, after: int, until: int, *, as_of: float = 0.0) -> None:
        """Take up the numbers above ``after`` up to ``until``."""
        if until <= after:
            return
        middle = random.randint(after, until - 1)
        self.waiting += [
            segment
            for segment in (Segment(shard, middle, until, as_of), Segment(shard, after, middle, as_of))
            if segment.length
        ]

    def add_all(self, checkpoints: Mapping[int, int]) -> None:
        """Take up all of each shard up to its checkpoint, the shards in random order."""
        for shard in random.sample(sorted(checkpoints), len(checkpoints)):
            self.add(shard, -1, checkpoints[shard])

    @property
    def length(self) -> int:
        """How many operations are still to be looked at, at most."""
        return sum(segment.length for segment in self.waiting)

    def read_up_to(self, number: int | None) -> None:
        """Note that the first segment was read up to a number (None: to its end)."""
        if number is None or number >= self.waiting[0].until:
            self.waiting.popleft()
        else:
            self.waiting[0].after = number

    def forget(self, shard: int) -> None:
        """Leave out what was to be read of a shard."""
        self.waiting = deque(segment for segment in self.waiting if segment.shard != shard)
