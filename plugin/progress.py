"""Progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crosslens.ingest.run.report import Report


@contextlib.contextmanager
def encoding_bar(console: Console) -> Iterator[Callable[[Report], None]]:
    """Show a bar on ``console`` until the end; yield a ``progress`` callback for `add_vectors` and the like."""
    with counting_bar(console, "encoding") as advance:
        # Documents that changed meanwhile are encoded again, so the count can exceed the estimate.
        yield lambda report: advance(min(report.documents, report.todo), report.todo)


@contextlib.contextmanager
def counting_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on ``console`` until the end; yield a callback that takes (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
