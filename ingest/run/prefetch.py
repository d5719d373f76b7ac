"""Fetching items on a thread while earlier ones are used."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from crosslens import stopping

_A = TypeVar("_A")
_LOOK_S = 0.1


def prefetched(items: Iterator[_A], size: int = 2) -> Iterator[_A]:
    """The same items, ``size`` of them fetched by a thread while earlier ones are used.

    `stoppable` work can be stopped before each of them.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=size)
    stop = threading.Event()

    def offer(entry: tuple[str, Any]) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(entry, timeout=0.1)
                return True
        return False

    def fetch() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:  # noqa: BLE001 - raised again on the thread that uses the items
            offer(("error", error))
        finally:
            # A generator that holds a point in time closes it here, on the thread that ran it.
            close = getattr(items, "close", None)
            if close is not None:
                close()

    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(fetch), name="crosslens-reader", daemon=True)
    thread.start()
    try:
        while True:
            stopping.check()
            try:
                kind, value = ready.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()
