"""Items made on threads while earlier ones are used, and taken in portions."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from crosslens import stopping

_A = TypeVar("_A")
_B = TypeVar("_B")
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


def weighing(items: Iterator[_A], weight: Callable[[_A], int], most: int) -> Iterator[_A]:
    """The next items, until together they weigh ``most`` or more."""
    total = 0
    for item in items:
        yield item
        total += weight(item)
        if total >= most:
            return


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[_A], _B], items: Iterable[_A], ahead: int
) -> Generator[_B, None, None]:
    """Results in order, computed on the pool at most ``ahead`` items before they are asked for."""
    waiting: deque[Future[_B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield stopping.result_of(waiting.popleft())
        while waiting:
            yield stopping.result_of(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()
