"""Locks between processes, which the system releases when their holder ends, however that happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from crosslens.local import without_extra


class HeldError(Exception):
    """Another process or thread holds the lock."""


@contextlib.contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock that the file ``path`` stands for, which may stay behind.

    Raises `HeldError` where another holds it, unless told to ``wait``, and `NodeError` without the extra "node".
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise without_extra() from error
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise HeldError(str(path)) from error
    try:
        yield
    finally:
        lock.release()
