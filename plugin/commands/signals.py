"""Signals that end a run: SIGINT (Ctrl-C), SIGTERM and SIGHUP, here and in the worker processes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]


def _ending() -> list[signal.Signals]:
    """Those that this process heeds: one ignored from the start, as SIGHUP under nohup, stays ignored."""
    named = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [each for each in named if each is not None and signal.getsignal(each) is not signal.SIG_IGN]


def interrupt() -> None:
    """Let each of them raise KeyboardInterrupt, as Ctrl-C does.

    A terminal that closes sends SIGHUP more than once, and service managers SIGTERM to each process of a group: after
    the first signal only Ctrl-C interrupts once more, so that what was encoded is still written.
    """
    seen = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal seen
        if seen and number != signal.SIGINT:
            return
        seen = True
        raise KeyboardInterrupt

    for each in _ending():
        signal.signal(each, handle)


@contextlib.contextmanager
def handled(handler: _Handler) -> Iterator[None]:
    """Call ``handler`` for each of them meanwhile, instead of raising anything."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, handler) for each in _ending()}
    try:
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keep them waiting meanwhile; a process that is started in between has them held, until its `Service`."""
    held_before = signal.pthread_sigmask(signal.SIG_BLOCK, _ending())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_before)


class Service:
    """The signals of a worker: those of the terminal are the parent's; its SIGTERM, or its death, ends the work."""

    def __init__(self) -> None:
        """Raise KeyboardInterrupt in the main thread from now on, once, and for what came while the process started."""
        self._interrupted = self._deferring = self._waiting = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._handle)
        threading.Thread(target=_watch_parent, daemon=True, name="crosslens-parent").start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

    def _handle(self, *_: object) -> None:
        if self._deferring:
            self._waiting = True
        elif not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise nothing meanwhile, but at the end: half a message would make all that follow it unreadable."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._waiting:
            self._waiting = False
            self._handle()


def _watch_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
