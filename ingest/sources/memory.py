"""The memory budget for decoding pictures, which all threads of a process share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

# A quarter of the machine's memory, but enough for one picture of the most pixels.
_SHARE = 4
_LEAST = 1 << 30
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class MemoryBudget:
    """A limit on the bytes in use at once. A request beyond it waits its turn until others release theirs."""

    def __init__(self, limit: int):
        self._limit = limit
        self._used = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Return the bytes that may be in use at once."""
        return self._limit

    @property
    def used(self) -> int:
        """Return the bytes in use."""
        return self._used

    def resize(self, limit: int) -> None:
        """Change the limit; bytes already in use are unaffected."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    @contextlib.contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Hold ``amount`` bytes. An amount above the whole limit is granted when nobody else holds any.

        Don't ask for more while holding some: two threads that do would deadlock.
        """
        # First come, first served, so that small pictures can't starve a large one.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + amount <= self._limit)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


def machine_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's."""
    amounts = []
    for name in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            amounts.append(int(Path(name).read_text()))
    with contextlib.suppress(AttributeError, ValueError, OSError):
        amounts.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    # Where the system doesn't say (Windows), assume a small machine.
    return min(amounts, default=8 << 30)


PICTURES = MemoryBudget(max(_LEAST, machine_memory() // _SHARE))
