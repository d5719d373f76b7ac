"""Thumbs up and down, written down as `crosslens tune` reads them."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crosslens.errors import QueryError
from crosslens.serving.asked import Asked

# Larger files take long to read, and so many thumbs say no more.
_MOST_BYTES = 100_000_000


@dataclass(frozen=True)
class Thumb:
    """What somebody thinks of a document as an answer to a search: "up" or "down"."""

    asked: Asked
    document: str
    way: Literal["up", "down"]

    def line(self) -> dict[str, Any]:
        """The line of `crosslens.queries.evaluate.clicks` that says so.

        Raises `QueryError` for a search that isn't `judgeable`.
        """
        if not judgeable(self.asked):
            raise QueryError("thumbs judge searches for a text alone")
        return {"text": self.asked.text.strip(), "up": [], "down": [], self.way: [self.document]}


def judgeable(asked: Asked) -> bool:
    """Return whether a line can say what was asked: a text alone, as given pictures are gone some day."""
    return bool(asked.text.strip()) and not (asked.pictures or asked.like or asked.less)


class ThumbsFile:
    """A file of JSON Lines that thumbs are added to, one write a line, so that several processes may add to it."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()

    def add(self, thumb: Thumb) -> None:
        """Add a line, which is on the disk afterwards. Raises `QueryError` where the file can't take it."""
        line = json.dumps(thumb.line(), ensure_ascii=True).encode() + b"\n"
        with self._lock:
            try:
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    if os.fstat(handle).st_size + len(line) > _MOST_BYTES:
                        raise QueryError(f"{self.path} holds {_MOST_BYTES:,} bytes of thumbs; no more are added")
                    os.write(handle, line)
                    os.fsync(handle)
                finally:
                    os.close(handle)
            except OSError as error:
                raise QueryError(f"{self.path} can't be written ({error.strerror})") from error
