"""Stopping work at its safe points, by real signals at any moment."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from crosslens import stopping
from crosslens.ingest.run.prefetch import prefetched
from crosslens.stopping import StoppedError, stoppable


@pytest.fixture(autouse=True)
def _heeding() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(after_s: float = 0.0) -> threading.Thread:
    """Press Ctrl-C, some time from now."""

    def kill() -> None:
        time.sleep(after_s)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition; fails where it doesn't come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_call_is_as_without_it() -> None:
    @stoppable
    def divided(a: int, *, by: int) -> float:
        """Divide."""
        return a / by

    assert divided(3, by=2) == 1.5
    assert divided.__doc__ == "Divide."
    with pytest.raises(ZeroDivisionError):
        divided(3, by=0)


def test_work_sees_the_callers_context() -> None:
    name = contextvars.ContextVar("name", default="nobody")
    name.set("somebody")
    assert stoppable(name.get)() == "somebody"


def test_ctrl_c_asks_work_to_stop_and_waits_until_it_has() -> None:
    steps: list[str] = []

    @stoppable
    def work() -> str:
        press()
        until(stopping.asked)
        steps.append("asked")
        try:
            stopping.check()
        except StoppedError:
            steps.append("stopped")
        return "done"

    assert work() == "done"
    assert steps == ["asked", "stopped"]


def test_work_that_lets_itself_be_stopped_is_a_keyboard_interrupt_to_its_caller() -> None:
    @stoppable
    def work() -> None:
        press()
        stopping.pause(600)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_a_second_ctrl_c_leaves_work_to_itself() -> None:
    begun, over = threading.Event(), threading.Event()

    @stoppable
    def work() -> None:
        press()
        until(stopping.asked)
        press()
        begun.set()
        over.wait(30)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert begun.is_set()
    over.set()


def test_parts_stop_with_the_whole_and_on_its_thread() -> None:
    @stoppable
    def part() -> int:
        return threading.get_ident()

    @stoppable
    def whole() -> tuple[int, int]:
        return threading.get_ident(), part()

    mine, inner = whole()
    assert mine == inner != threading.get_ident()


def test_on_another_thread_nothing_interrupts_anyway() -> None:
    with ThreadPoolExecutor(1) as pool:
        here, there = pool.submit(lambda: (threading.get_ident(), stoppable(threading.get_ident)())).result()
    assert here == there


def test_what_must_be_done_is_done_though_work_was_asked_to_stop() -> None:
    @stoppable
    def work() -> list[bool]:
        press()
        until(stopping.asked)
        with stopping.shielded():
            stopping.check()
            inside = stopping.asked()
        return [inside, stopping.asked()]

    assert work() == [False, True]


def test_outside_of_stoppable_work_nothing_is_ever_asked() -> None:
    assert not stopping.asked()
    stopping.check()
    stopping.pause(0.001)


def test_a_future_is_waited_for_until_work_is_asked_to_stop() -> None:
    never: Future[int] = Future()

    @stoppable
    def work() -> int:
        press()
        return stopping.result_of(never)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_a_futures_own_timeout_is_its_result() -> None:
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("the picture's server"))
    with pytest.raises(TimeoutError, match="the picture's server"):
        stopping.result_of(failed)


def test_pages_that_do_not_come_are_not_waited_for() -> None:
    released = threading.Event()

    def pages() -> Iterator[int]:
        yield 1
        released.wait(30)

    @stoppable
    def work() -> list[int]:
        seen = []
        for page in prefetched(pages()):
            seen.append(page)
            press()
            until(stopping.asked)
            # The thread that fetches is waited for.
            released.set()
        return seen

    with pytest.raises(KeyboardInterrupt):
        work()


def test_ctrl_c_at_any_moment_ends_work_that_shares_locks_with_threads() -> None:
    """Each time anew, at another moment: while threads start, take locks, hand results over, and end."""

    @stoppable
    def work(after_s: float) -> None:
        press(after_s)
        with ThreadPoolExecutor(2) as pool:
            for page in prefetched(iter(lambda: [1] * 8, None)):
                for future in [pool.submit(sum, [i]) for i in page]:
                    stopping.result_of(future)

    for i in range(60):
        with pytest.raises(KeyboardInterrupt):
            work(i * 0.0003)
