"""Values kept while there is room: those used last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict


class Kept:
    """Bytes by key. Those not used for longest go when all are more than ``most_bytes``. For several threads."""

    def __init__(self, most_bytes: int):
        self._most = most_bytes
        self._bytes = 0
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return the value, which counts as used now; None where it isn't kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Keep a value; one larger than all the room isn't kept."""
        if len(value) > self._most:
            return
        with self._lock:
            self._bytes += len(value) - len(self._values.pop(key, b""))
            self._values[key] = value
            while self._bytes > self._most:
                _, gone = self._values.popitem(last=False)
                self._bytes -= len(gone)
