"""Progress of long work: a bar on a terminal, now and then a line in the log elsewhere."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crosslens.ingest.run.report import Report

_LOG = logging.getLogger("crosslens")
EVERY_S = 30.0
"""How often work that no terminal shows is mentioned in the log."""


@contextlib.contextmanager
def encoding_bar(console: Console, what: str = "encoding") -> Iterator[Callable[[Report], None]]:
    """Show a bar on ``console``, gone at the end; yields what `add_vectors` and the like take as ``progress``.

    Where ``console`` isn't a terminal, ``what`` is logged at the start, every half a minute, and at the end.
    """
    latest: Report | None = None
    started = time.monotonic()
    if not console.is_interactive:
        _LOG.info("%s: started", what)
    with counting_bar(console, what) as advance:

        def listen(report: Report) -> None:
            nonlocal latest
            latest = report
            # Documents that changed meanwhile are encoded again, so there can be more than there were to do.
            advance(min(report.documents, report.todo), report.todo, _moments(report))

        yield listen
    if not console.is_interactive:
        _log_end(what, latest, time.monotonic() - started)


def _moments(report: Report) -> str:
    """How many moments of sound and footage are encoded: one document of footage may take an hour."""
    return f" ({sum(report.moments.values()):,} moments)" if report.moments else ""


class Advance(Protocol):
    """What shows progress."""

    def __call__(self, done: int, total: int, more: str = "") -> None:
        """Take how many of how many are done, and what else there is to say of it."""


@contextlib.contextmanager
def counting_bar(console: Console, what: str) -> Iterator[Advance]:
    """Show a bar on ``console``, gone at the end; yields what takes how many of how many are done.

    Where ``console`` isn't a terminal, work that lasts is logged every half a minute.
    """
    if not console.is_interactive:
        with _logged(what) as advance:
            yield advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def advance(done: int, total: int, more: str = "") -> None:
            bar.update(task, completed=done, total=total, description=f"{what}{more}")

        yield advance


@contextlib.contextmanager
def waiting(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Say on ``console`` what is waited for; yields what takes the next step's name."""
    if console.is_interactive:
        with console.status(what) as status:
            yield lambda step: status.update(step)
        return
    _LOG.info("%s", what)
    yield lambda step: _LOG.info("%s", step)


@dataclass
class _Counts:
    """How far the work is, for the thread that logs it."""

    what: str
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int | None = None
    more: str = ""

    def log(self) -> None:
        rate = self.done / max(time.monotonic() - self.started, 1e-9)
        fields = {"what": self.what, "done": self.done, "total": self.total, "per_second": round(rate, 1)}
        of = "" if self.total is None else f" of {self.total}"
        left = ""
        if self.total and rate > 0:
            seconds = (self.total - self.done) / rate
            fields["seconds_left"] = round(seconds)
            left = f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"
        _LOG.info(
            "%s: %d%s done%s, %.1f/s%s", self.what, self.done, of, self.more, rate, left, extra={"fields": fields}
        )


@contextlib.contextmanager
def _logged(what: str) -> Iterator[Advance]:
    counts, over = _Counts(what), threading.Event()

    def watch() -> None:
        # A thread, since work that stands still is what one looks into a log for.
        while not over.wait(EVERY_S):
            counts.log()

    def advance(done: int, total: int, more: str = "") -> None:
        counts.done, counts.total, counts.more = done, total, more

    watching = threading.Thread(target=watch, daemon=True, name="crosslens-progress")
    watching.start()
    try:
        yield advance
    finally:
        over.set()
        watching.join()


def _log_end(what: str, report: Report | None, seconds: float) -> None:
    if report is None:
        _LOG.info("%s: ended, nothing was to be done", what, extra={"fields": {"what": what, "done": 0}})
        return
    rate = report.documents / max(seconds, 1e-9)
    written, failed = sum(report.written.values()), sum(report.failed.values())
    fields = {
        "what": what,
        "done": report.documents,
        "total": report.todo,
        "written": written,
        "failed": failed,
        "interrupted": report.interrupted,
        "seconds": round(seconds, 1),
        "per_second": round(rate, 1),
    }
    ended = "interrupted" if report.interrupted else "ended"
    _LOG.info(
        "%s: %s after %.1f s; %d documents, %d vectors written, %d failed, %.1f/s",
        *(what, ended, seconds, report.documents, written, failed, rate),
        extra={"fields": fields},
    )
