"""Progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crosslens.ingest.run.report import Report


@contextlib.contextmanager
def encoding_bar(console: Console) -> Iterator[Callable[[Report], None]]:
    """Shows a bar on ``console``, gone at the end; yields what `add_vectors` and the like take as ``progress``."""
    with counting_bar(console, "encoding") as advance:
        # Documents that changed meanwhile are encoded again, so there can be more than there were to do.
        yield lambda report: advance(min(report.documents, report.todo), report.todo)


@contextlib.contextmanager
def counting_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on ``console``, gone at the end; yields what takes how many of how many are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
