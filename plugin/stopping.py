"""Stopping work at safe points: Ctrl-C may come between any two instructions, also just after a lock was taken.

A KeyboardInterrupt raised there leaves the lock taken for good, and whoever waits for it next, waits for ever. So work
that shares locks with threads runs on a thread of its own, which no signal interrupts, and looks at safe points whether
it shall stop, as cancellation in structured concurrency does.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")
_LOOK_S = 0.1


class StoppedError(KeyboardInterrupt):
    """Raised by `check` on the thread of work that was asked to stop."""


class _Request:
    """Whether work has been asked to stop: a plain attribute, since an event has a lock."""

    asked = False


_REQUEST: contextvars.ContextVar[_Request] = contextvars.ContextVar("crosslens_stop")


def asked() -> bool:
    """Return whether the `stoppable` work that this thread does has been asked to stop; False outside of any."""
    request = _REQUEST.get(None)
    return request is not None and request.asked


def check() -> None:
    """Raise `StoppedError` if the work that this thread does has been asked to stop."""
    if asked():
        raise StoppedError


def pause(seconds: float) -> None:
    """Sleep, but no longer than until the work is asked to stop; raises `StoppedError` then."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, _LOOK_S))


def result_of(future: Future[_T]) -> _T:
    """Return a future's result, or raise its exception; raises `StoppedError` while it isn't there yet."""
    while True:
        check()
        try:
            return future.result(timeout=_LOOK_S)
        except TimeoutError:
            if future.done():
                return future.result()


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Let work that was asked to stop do meanwhile what must be done nevertheless."""
    token = _REQUEST.set(_Request())
    try:
        yield
    finally:
        _REQUEST.reset(token)


def stoppable(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let Ctrl-C stop ``function`` at its safe points only: where it calls `check`, `pause` or `result_of`.

    It runs on a thread of its own. A KeyboardInterrupt meanwhile is a request to stop; the function then returns, or
    raises `StoppedError`. A second one is raised at once, and the thread is left to itself. Callbacks that the function
    is given are called on that thread.
    """

    @functools.wraps(function)
    def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
        # Work that is a part of other work stops with it; where no signal is handled, none can interrupt.
        if _REQUEST.get(None) is not None or threading.current_thread() is not threading.main_thread():
            return function(*arguments, **named)
        return _on_a_thread(lambda: function(*arguments, **named))

    return call


def _on_a_thread(work: Callable[[], _T]) -> _T:
    running = _Running(work)
    try:
        running.start()
        running.wait()
    except KeyboardInterrupt:
        running.request.asked = True
        if not running.began():
            raise
        running.wait()
    if running.error is not None:
        raise running.error
    return cast(_T, running.value)


class _Running:
    """Work on a thread, waited for without `Thread.join`: one that is interrupted takes a living thread for ended.

    What the two threads share is plain attributes and one lock that nothing depends on: it only shortens the wait.
    """

    def __init__(self, work: Callable[[], object]):
        self.request = _Request()
        self.value: object = None
        self.error: BaseException | None = None
        self._work, self._begun, self._ended = work, False, False
        self._turn = threading.Lock()
        self._context = contextvars.copy_context()
        self._context.run(_REQUEST.set, self.request)

    def start(self) -> None:
        self._turn.acquire()
        threading.Thread(target=self._run, name="crosslens-work", daemon=True).start()

    def _run(self) -> None:
        self._begun = True
        try:
            self._context.run(check)
            self.value = self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            self.error = error
        self._ended = True
        self._turn.release()

    def began(self) -> bool:
        """Return whether the work has begun; work whose start was interrupted, and begins later, ends at once."""
        end = time.monotonic() + 1
        while not self._begun and time.monotonic() < end:
            time.sleep(_LOOK_S / 10)
        return self._begun

    def wait(self) -> None:
        # With a timeout, since on Windows nothing interrupts a wait without one.
        while not self._ended:
            self._turn.acquire(timeout=_LOOK_S)
